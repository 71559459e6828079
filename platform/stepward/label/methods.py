"""Ways to count successes: a fixed number of rollouts, as many as a row needs, a search for the first error, or none.

Every way gives each row its counts (successes, rollouts). A row's own rollouts depend on its stream alone, so the
ways agree on rows that they give equally many.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import Field

from stepward.core.config import Config

__all__ = ["Adaptive", "Counts", "FirstError", "Fixed", "Method", "Outcome", "RollOut", "Samples"]

RollOut: TypeAlias = Callable[[Int[np.ndarray, " r"], int, int], Int[np.ndarray, " r"]]
"""``roll_out(rows, num, part)``: successes of `num` rollouts of some rows. `part` counts from 0 the times that a row is
rolled out; every part has random numbers of its own."""

ORIGINS = ("rollouts", "samples", "inferred")


@dataclass(frozen=True)
class Counts:
    """Labels of n rows.

    Attributes:
        successes, num_rollouts: S and M of each row.
        origin: where they come from: "rollouts" of the row; "samples" that begin with it; or "inferred" from a longer
            or shorter beginning of the same solution, which counts as one. None where all are rollouts.
    """

    successes: Int[np.ndarray, " n"]
    num_rollouts: Int[np.ndarray, " n"]
    origin: Sequence[str] | None = None


@dataclass(frozen=True)
class Samples:
    """The solutions that rows are beginnings of.

    Attributes:
        paths: of each finished row, the rows it went through, the shortest first, itself last.
        solved: whether each of them is right.
        times: how many samples each of them stands for.
    """

    paths: Sequence[Int[np.ndarray, " _"]]
    solved: Bool[np.ndarray, " f"]
    times: Int[np.ndarray, " f"]

    def counts(self, num_rows: int) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
        """(samples that are right, samples) that begin with each row."""
        right, all_ = np.zeros(num_rows, np.int64), np.zeros(num_rows, np.int64)
        for path, solved, times in zip(self.paths, self.solved, self.times, strict=True):
            right[path] += times * int(solved)
            all_[path] += times
        return right, all_


class Fixed(Config):
    """M rollouts of every row."""

    NEEDS_SAMPLES: ClassVar[bool] = False

    kind: Literal["fixed"] = "fixed"

    def count(self, num_rows: int, limit: int, roll_out: RollOut, samples: Samples | None) -> Counts:
        """Counts of all rows, of `limit` rollouts each."""
        return Counts(roll_out(np.arange(num_rows), limit, 0), np.full(num_rows, limit))


class Adaptive(Config):
    """Rollouts of a row until its success rate is known well enough, at most M.

    The interval is Jeffreys': quantiles of Beta(S + ½, M − S + ½). Rows near 0 and 1 stop early. Stopping by what was
    seen biases S / M, so learn from the counts (objective "binomial") or from the mean of the posterior.

    **Good values.** Width .2 with M = 32: 18 rollouts a row on average, where equal error takes 24 of fixed number.
    """

    NEEDS_SAMPLES: ClassVar[bool] = False

    kind: Literal["adaptive"] = "adaptive"
    width: float = Field(0.2, gt=0, lt=1, description="width of the interval at which a row has enough rollouts")
    level: float = Field(0.9, gt=0, lt=1, description="probability that the interval holds")
    step: int = Field(4, ge=1, description="rollouts between two looks")

    def count(self, num_rows: int, limit: int, roll_out: RollOut, samples: Samples | None) -> Counts:
        """Counts of all rows, `step` rollouts after `step`, the last one cut at `limit`."""
        successes, num_rollouts = np.zeros(num_rows, np.int64), np.zeros(num_rows, np.int64)
        rows, part = np.arange(num_rows), 0
        while len(rows):
            num = min(self.step, limit - part * self.step)
            successes[rows] += roll_out(rows, num, part)
            num_rollouts[rows] += num
            width = jeffreys_width(int(num_rollouts[rows[0]]), self.level)[successes[rows]]
            part += 1
            rows = rows[(width > self.width) & (num_rollouts[rows] < limit)]
        return Counts(successes, num_rollouts)


class FirstError(Config):
    """M rollouts of a few beginnings of each wrong solution, by binary search for the first from which none succeeds.

    Source: Luo et al. 2024, "Improve mathematical reasoning in language models by automated process supervision"
    (OmegaPRM), section 3.2. Rows that were tried have their own counts, beginnings of right solutions those of the
    samples. The other rows of a wrong solution are inferred: 1 of 1 before the last beginning that succeeded, 0 of 1
    after the first that failed. They are labels for "any success" (objective "threshold" at 0), not rates.
    """

    NEEDS_SAMPLES: ClassVar[bool] = True

    kind: Literal["first_error"] = "first_error"

    def count(self, num_rows: int, limit: int, roll_out: RollOut, samples: Samples | None) -> Counts:
        """Counts of all rows; all solutions are searched in lockstep, a row that several share is rolled out once."""
        right, all_ = _counts(samples, num_rows)
        assert samples is not None
        rolled = np.full(num_rows, -1)  # successes of rows that were rolled out
        wrong = [path for path, solved in zip(samples.paths, samples.solved, strict=True) if not solved]
        good = np.array([_last(right[path] > 0) for path in wrong], np.int64)  # place in the path: known to succeed
        bad = np.array([len(path) - 1 for path in wrong], np.int64)  # the finished solution is wrong
        while (searched := np.flatnonzero(bad - good > 1)).size:
            middle = (good[searched] + bad[searched]) // 2
            rows = np.array([wrong[i][at] for i, at in zip(searched, middle, strict=True)])
            new = np.unique(rows[rolled[rows] < 0])
            if len(new):
                rolled[new] = roll_out(new, limit, 0)
            succeeds = rolled[rows] > 0
            good[searched[succeeds]] = middle[succeeds]
            bad[searched[~succeeds]] = middle[~succeeds]
        inferred = np.zeros(num_rows, np.int64)
        for path, last in zip(wrong, good, strict=True):
            inferred[path[: last + 1]] = 1  # a success proves its beginnings; a failure is only evidence against others
        own, seen = rolled >= 0, right > 0
        seen[[path[-1] for path in samples.paths]] = True  # what is finished is not guessed
        successes = np.where(own, rolled, np.where(seen, right, inferred))
        num_rollouts = np.where(own, limit, np.where(seen, all_, 1))
        return Counts(successes, num_rollouts, np.array(ORIGINS)[np.where(own, 0, np.where(seen, 1, 2))].tolist())


class Outcome(Config):
    """No rollouts: a beginning has the outcomes of the sampled solutions that it is the beginning of.

    Cheap, and poor to learn from: most rows have one sample. It is the baseline that rollouts have to beat.
    """

    NEEDS_SAMPLES: ClassVar[bool] = True

    kind: Literal["outcome"] = "outcome"

    def count(self, num_rows: int, limit: int, roll_out: RollOut, samples: Samples | None) -> Counts:
        """Right samples and samples of all rows."""
        right, all_ = _counts(samples, num_rows)
        return Counts(right, all_, ["samples"] * num_rows)


Method: TypeAlias = Fixed | Adaptive | FirstError | Outcome


@lru_cache(maxsize=512)
def jeffreys_width(num: int, level: float) -> Float[np.ndarray, " s"]:
    """Width of the Jeffreys interval after 0, 1, … `num` successes in `num` rollouts; it ends at 0 and 1 there.

    Source: Brown, Cai and DasGupta 2001, "Interval estimation for a binomial proportion", section 3.1.
    """
    from scipy.special import betaincinv

    successes = np.arange(num + 1)
    low = betaincinv(successes + 0.5, num - successes + 0.5, (1 - level) / 2)
    high = betaincinv(successes + 0.5, num - successes + 0.5, (1 + level) / 2)
    low[0], high[-1] = 0.0, 1.0
    return np.asarray(high - low, np.float64)


def _counts(samples: Samples | None, num_rows: int) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    assert samples is not None, "asked for by NEEDS_SAMPLES"
    right, all_ = samples.counts(num_rows)
    if not all_.all():
        raise ValueError(
            f"expected a finished solution for every beginning that is labelled, but {int((all_ == 0).sum())} of "
            f"{num_rows} rows have none; keep the finished ones when mining"
        )
    return right, all_


def _last(found: Bool[np.ndarray, " _"]) -> int:
    """Place of the last True, −1 where there is none."""
    return int(np.flatnonzero(found).max(initial=-1))
