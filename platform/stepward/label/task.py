"""One worker's task: a table of partial solutions in, a table of labels and the rows that could not be labelled out."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from stepward.core.batch import Batch
from stepward.core.interfaces import UnavailableError
from stepward.core.labels import LabelStage
from stepward.core.seeding import Rng
from stepward.core.wing import Rejected
from stepward.label.continuations import IN_FLIGHT, count_successes, shifted
from stepward.label.methods import Counts, Samples
from stepward.label.rollout_log import COLUMN, RolloutLog
from stepward.label.work import unit_starts

R = TypeVar("R")
PARTS = 2**32  # tag of the random numbers of a row's second rollouts and later ones
LABEL_FIELDS = (("successes", pa.int32()), ("num_rollouts", pa.int32()))


class CountTask:
    """Counts successes of rows of one split at a time; a `LabelTask`.

    Args:
        settings: of the label stage; the proposer and the verifier are built here, once a worker.
        in_flight: rollouts that advance together; it changes speed and memory, never a label.
    """

    def __init__(self, settings: LabelStage, in_flight: int = IN_FLIGHT) -> None:
        self.settings, self.in_flight = settings, in_flight
        self.wing = settings.wing
        self.proposer = settings.here(settings.proposer).build()
        self.verifier = self.wing.verifier()
        self.exact = self.wing.known.exact if self.wing.known and settings.default_proposer else None
        self.whole: str | None = "problem_id" if settings.labels.whole_problems else None

    def __call__(self, rows: pa.Table) -> tuple[pa.Table, list[Rejected]]:
        """Labels of the rows that can be labelled, in order, and the others with what went wrong.

        Labels add the columns successes, num_rollouts, origin (of methods that do not roll out every row), rollouts
        (the log, where it is kept), exact (where the domain knows V^π of this proposer) and status.
        """
        labels, rejected = salvage(self.label, rows, self.whole)
        return pa.concat_tables([self.no_labels(rows), *labels]), rejected

    def label(self, rows: pa.Table) -> pa.Table:
        """Labels of rows of one split; raises what the method, the proposer, the verifier or the domain raise."""
        splits = rows["split"].unique().to_pylist()
        assert len(splits) == 1, f"rows of one split a batch, got {splits}"
        states, labels = self.wing.states(rows), self.settings.labels
        rng = Rng.from_ids(self.settings.seed, rows["id"].to_pylist(), "label")
        log = RolloutLog(states) if labels.log_rollouts else None

        def roll_out(which: Int[np.ndarray, " r"], num: int, part: int) -> Int[np.ndarray, " r"]:
            return count_successes(
                states.take(which),
                domain=self.wing.domain,
                proposer=self.proposer,
                verifier=self.verifier,
                num_rollouts=num,
                rng=(rng.fork(PARTS + part) if part else rng).take(which),
                in_flight=self.in_flight,
                record=None if log is None else shifted(log.add, which),
            )

        samples = self._samples(rows, states) if labels.method.NEEDS_SAMPLES else None
        counts = labels.method.count(len(rows), labels.num_rollouts(splits[0]), roll_out, samples)
        return self._add(rows, counts, states, log)

    def no_labels(self, rows: pa.Table) -> pa.Table:
        """A table without rows, of the columns that `label` gives."""
        none, states = rows.slice(0, 0), self.wing.states(rows.slice(0, 0))
        origin: list[str] | None = [] if self.settings.labels.method.NEEDS_SAMPLES else None
        counts = Counts(np.zeros(0, np.int64), np.zeros(0, np.int64), origin)
        return self._add(none, counts, states, RolloutLog(states) if self.settings.labels.log_rollouts else None)

    def _samples(self, rows: pa.Table, states: Any) -> Samples:
        """The solutions that rows are beginnings of, each judged once."""
        paths = states.paths()
        ends = np.array([path[-1] for path in paths], np.int64)
        times = rows["multiplicity"].to_numpy() if "multiplicity" in rows.column_names else np.ones(len(rows), np.int64)
        return Samples(paths, self.verifier.outcome(states.take(ends)) == 1.0, times[ends].astype(np.int64))

    def _add(self, rows: pa.Table, counts: Counts, states: Batch, log: RolloutLog | None) -> pa.Table:
        for (name, kind), column in zip(LABEL_FIELDS, (counts.successes, counts.num_rollouts), strict=True):
            rows = rows.append_column(name, pa.array(column, kind))
        if counts.origin is not None:
            rows = rows.append_column("origin", pa.array(counts.origin, pa.string()))
        if self.exact is not None:
            rows = rows.append_column("exact", pa.array(self.exact(states), pa.float64()))
        if log is not None:
            rows = rows.append_column(COLUMN, log.column())
        return rows.append_column("status", pa.array(["ok"] * len(rows), pa.string()))


def salvage(work: Callable[[pa.Table], R], rows: pa.Table, whole: str | None = None) -> tuple[list[R], list[Rejected]]:
    """Results of `work` on as large pieces of a table as go through; rows on which it raises, alone, are rejected.

    A piece that fails is halved: one bad row among n costs about 2 log₂ n calls. What is `UnavailableError` is raised.

    Args:
        whole: a column; neighbours of equal value stay together, and are rejected together.
    """
    if not len(rows):
        return [], []
    starts = unit_starts(rows, whole)
    try:
        return [work(rows)], []
    except UnavailableError:
        raise
    except Exception as error:
        if len(starts) == 1:
            return [], [reject(rows, i, f"{type(error).__name__}: {error}") for i in range(len(rows))]
    half = starts[len(starts) // 2]
    parts = [salvage(work, part, whole) for part in (rows.slice(0, half), rows.slice(half))]
    (first, bad), (second, worse) = parts
    return first + second, bad + worse


def reject(rows: pa.Table, index: int, error: str) -> Rejected:
    """Dead letter of one row."""
    row = rows.slice(index, 1).to_pylist()[0]
    return Rejected(id=str(row["id"]), error=error, content=json.dumps(row, default=str))
