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
from jaxtyping import Float, Int
from pydantic import Field
from scipy.stats import hypergeom

from stepward.core.config import Config
from stepward.core.seeding import Rng
from stepward.train.labels import LabelledStates


class LabelSubset(Config):
    """Which of the training labels are learned from; validation is always on all of its labels."""

    num_rows: int | None = Field(None, ge=1, description="training rows at most, chosen at random; none: all")
    num_rollouts: int | None = Field(None, ge=1, description="rollouts M of a row, of those recorded; none: all")

    def of(self, labels: LabelledStates, seed: int) -> LabelledStates:
        """These labels of a training split. What a row keeps depends on (seed, its id) alone.

        Raises:
            ValueError: no row has more rollouts than `num_rollouts`, so that it would have no effect.
        """
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
        """Rows left of `num_rows`."""
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
