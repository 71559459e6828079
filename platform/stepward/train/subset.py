"""Learning from less: fewer rows, or fewer of the rollouts that were recorded for each row.

A label row holds counts only: S successes among M rollouts. Which of the rollouts succeeded is unknown, and does not
matter: they are exchangeable, so the successes among any m of them given (S, M) follow the hypergeometric law

    P(s | S, M, m) = C(S, s) C(M − S, m − s) / C(M, m),

and a draw from it is in law what labelling with m rollouts would have given: one label artifact serves a sweep over M.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int
from pydantic import Field, field_validator
from scipy.stats import hypergeom

from stepward.core.config import Config
from stepward.core.seeding import Rng
from stepward.train.labels import LabelledStates


class LabelSubset(Config):
    """Which of the training labels are learned from; validation is always on all of its labels."""

    num_rows: int | None = Field(None, ge=1, description="training rows at most, chosen at random; none: all")
    num_rollouts: int | None = Field(None, ge=1, description="rollouts M of a row, of those recorded; none: all")
    min_decision: float = Field(
        0.0, ge=0, le=0.5, description="filter: rows whose success share is nearer to ½ than this are left out"
    )
    solve_range: tuple[float, float] = Field(
        (0.0, 1.0), description="filter: problems whose rows' mean success share is not within are left out"
    )

    @field_validator("solve_range")
    @classmethod
    def _within_one(cls, ends: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= ends[0] < ends[1] <= 1:
            raise ValueError(f"expected 0 <= low < high <= 1, got {list(ends)}")
        return ends

    @property
    def filters(self) -> bool:
        """Whether rows are left out for what their labels say."""
        return self.min_decision > 0 or self.solve_range != (0.0, 1.0)

    def of(self, labels: LabelledStates, seed: int) -> LabelledStates:
        """These labels of a training split. What a row keeps depends on (seed, its id) alone.

        Filters see the counts that are learned from, after `num_rows` and `num_rollouts`.

        Raises:
            ValueError: no row has as many rollouts as `num_rollouts`, or no row passes the filters.
        """
        kept = self._thinned(labels, seed)
        if not self.filters:
            return kept
        passed = self._passes(kept)
        if not passed.any():
            raise ValueError(
                f"subset: expected some rows to pass min_decision={self.min_decision} and solve_range="
                f"{list(self.solve_range)}, but all {len(kept)} are left out. Loosen the filters."
            )
        return _take(kept, np.flatnonzero(passed))

    def _passes(self, labels: LabelledStates) -> Bool[np.ndarray, " n"]:
        share = labels.successes / labels.num_rollouts
        problem = labels.column_codes("problem_id")
        mean = np.bincount(problem, share) / np.bincount(problem)
        low, high = self.solve_range
        decided: np.ndarray = np.abs(share - 0.5) >= self.min_decision - 1e-12
        return decided & ((mean >= low) & (mean <= high))[problem]

    def _thinned(self, labels: LabelledStates, seed: int) -> LabelledStates:
        if self.num_rows is not None and self.num_rows < len(labels):
            labels = _take(labels, choose_rows(_ids(labels), self.num_rows, seed))
        if self.num_rollouts is None:
            return labels
        most = int(labels.num_rollouts.max())
        if self.num_rollouts > most:
            raise ValueError(
                f"subset.num_rollouts: expected at most {most}, the rollouts recorded for a training row, got "
                f"{self.num_rollouts}. Leave it out to use all, or label with more."
            )
        kept = np.minimum(self.num_rollouts, labels.num_rollouts)
        return _with_counts(
            labels, thin(labels.successes, labels.num_rollouts, kept, Rng.from_ids(seed, _ids(labels), "thin")), kept
        )

    def num_kept(self, num_rows: int) -> int:
        """Rows left of `num_rows`, before filters."""
        return num_rows if self.num_rows is None else min(self.num_rows, num_rows)


def choose_rows(ids: list[str], num_rows: int, seed: int) -> Int[np.ndarray, " k"]:
    """Positions of `num_rows` random rows, in order. A smaller choice of the same seed is part of a larger one."""
    points = Rng.from_ids(seed, ids, "subset").uniform(1)[:, 0]
    return np.sort(np.argsort(points, kind="stable")[:num_rows])


def thin(
    successes: Float[np.ndarray, " n"],
    num_rollouts: Float[np.ndarray, " n"],
    kept: Float[np.ndarray, " n"],
    rng: Rng,
) -> Float[np.ndarray, " n"]:
    """Successes among `kept` of the rollouts of each row: hypergeometric draws by inversion.

    One number a row is drawn, whatever `kept`: the counts for m = 4 and m = 16 of one row rise and fall together, which
    takes noise out of comparisons between values of M.
    """
    points = rng.uniform(1)[:, 0]
    thinned = np.empty(len(points))
    laws, row = np.unique(
        np.stack([successes, num_rollouts, kept], axis=1).astype(np.int64), axis=0, return_inverse=True
    )
    order, ends = (
        np.argsort(row.reshape(-1), kind="stable"),
        np.cumsum(np.bincount(row.reshape(-1), minlength=len(laws))),
    )
    for (good, total, sample), rows in zip(laws, np.split(order, ends[:-1]), strict=True):
        cumulative = hypergeom.cdf(np.arange(sample), total, good, sample)
        thinned[rows] = np.searchsorted(cumulative, points[rows])
    return thinned


def _ids(labels: LabelledStates) -> list[str]:
    return labels.table["id"].to_pylist()


def _take(labels: LabelledStates, rows: Int[np.ndarray, " k"]) -> LabelledStates:
    return LabelledStates(
        states=labels.states.take(rows),
        successes=labels.successes[rows],
        num_rollouts=labels.num_rollouts[rows],
        exact=None if labels.exact is None else labels.exact[rows],
        table=labels.table.take(pa.array(rows)),
    )


def _with_counts(
    labels: LabelledStates, successes: Float[np.ndarray, " n"], num_rollouts: Float[np.ndarray, " n"]
) -> LabelledStates:
    table = labels.table
    for name, counts in (("successes", successes), ("num_rollouts", num_rollouts)):
        table = table.set_column(table.column_names.index(name), name, pa.array(counts.astype(np.int64)))
    return replace(labels, successes=successes, num_rollouts=num_rollouts, table=table)
