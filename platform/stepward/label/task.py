"""One worker's task: a table of partial solutions in, a table of labels and the rows that could not be labelled out."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pyarrow as pa

from stepward.core.seeding import Rng
from stepward.core.wing import Rejected
from stepward.label.continuations import IN_FLIGHT, count_successes
from stepward.label.settings import LabelSettings

R = TypeVar("R")
LABEL_FIELDS = (("successes", pa.int32()), ("num_rollouts", pa.int32()))


class LabelTask:
    """Labels rows of one split at a time.

    Args:
        settings: of the label stage; the proposer and the verifier are built here, once a worker.
        in_flight: rollouts that advance together; it changes speed and memory, never a label.
    """

    def __init__(self, settings: LabelSettings, in_flight: int = IN_FLIGHT) -> None:
        self.settings, self.in_flight = settings, in_flight
        self.wing = settings.wing
        self.proposer = settings.proposer.build()
        self.verifier = self.wing.verifier()
        self.exact = self.wing.exact if settings.default_proposer else None

    def __call__(self, rows: pa.Table) -> tuple[pa.Table, list[Rejected]]:
        """Labels of the rows that can be labelled, in order, and the others with what went wrong.

        Labels add the columns successes, num_rollouts, exact (where the domain knows V* of this proposer) and status.
        """
        labels, rejected = salvage(self.label, rows)
        return pa.concat_tables([self.no_labels(rows), *labels]), rejected

    def label(self, rows: pa.Table) -> pa.Table:
        """Labels of rows of one split; raises what the proposer, the verifier or the domain raise."""
        splits = rows["split"].unique().to_pylist()
        assert len(splits) == 1, f"rows of one split a batch, got {splits}"
        num_rollouts = self.settings.labels.num_rollouts(splits[0])
        states = self.wing.states(rows)
        successes = count_successes(
            states,
            domain=self.wing.domain,
            proposer=self.proposer,
            verifier=self.verifier,
            num_rollouts=num_rollouts,
            rng=Rng.from_ids(self.settings.seed, rows["id"].to_pylist(), "label"),
            in_flight=self.in_flight,
        )
        exact = [] if self.exact is None else [self.exact(states)]
        return self._add(rows, successes, np.full(len(rows), num_rollouts), *exact)

    def no_labels(self, rows: pa.Table) -> pa.Table:
        """A table without rows, of the columns that `label` gives."""
        return self._add(rows.slice(0, 0), *(np.zeros(0, np.int64) for _ in range(2 + (self.exact is not None))))

    def _add(self, rows: pa.Table, successes: np.ndarray, num_rollouts: np.ndarray, *exact: np.ndarray) -> pa.Table:
        for (name, kind), column in zip(LABEL_FIELDS, (successes, num_rollouts), strict=True):
            rows = rows.append_column(name, pa.array(column, kind))
        for column in exact:
            rows = rows.append_column("exact", pa.array(column, pa.float64()))
        return rows.append_column("status", pa.array(["ok"] * len(rows), pa.string()))


def salvage(work: Callable[[pa.Table], R], rows: pa.Table) -> tuple[list[R], list[Rejected]]:
    """Results of `work` on as large pieces of a table as go through; rows on which it raises, alone, are rejected.

    A piece that fails is halved: one bad row among n costs about 2 log₂ n calls.
    """
    if not len(rows):
        return [], []
    try:
        return [work(rows)], []
    except Exception as error:
        if len(rows) == 1:
            return [], [reject(rows, 0, f"{type(error).__name__}: {error}")]
    half = len(rows) // 2
    (first, bad), (second, worse) = salvage(work, rows.slice(0, half)), salvage(work, rows.slice(half))
    return first + second, bad + worse


def reject(rows: pa.Table, index: int, error: str) -> Rejected:
    """Dead letter of one row."""
    row = rows.slice(index, 1).to_pylist()[0]
    return Rejected(id=str(row["id"]), error=error, content=json.dumps(row, default=str))
