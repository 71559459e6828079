"""What rollouts said: kept beside the labels on demand, so that they can be read, counted and graded again.

While a batch is labelled, the log is a column `rollouts` of its labels; with the labels it is written, as a part file
of its own that is never changed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from stepward.core.batch import Batch

__all__ = ["COLUMN", "RolloutLog", "rollout_table"]

COLUMN = "rollouts"


class RolloutLog:
    """Rollouts of n states.

    Args:
        states: where they begin. Batches of the domain offer ``rollout_columns(starts)``: columns that tell what was
            added to `starts`, row by row.
    """

    def __init__(self, states: Batch) -> None:
        self._states = states
        self._owner: list[Int[np.ndarray, " m"]] = []
        self._parts: list[dict[str, pa.Array]] = []

    def add(self, rows: Int[np.ndarray, " m"], ends: Any, outcome: Float[np.ndarray, " m"]) -> None:
        """Note rollouts that began at some rows; see `stepward.label.continuations.Record`."""
        columns = ends.rollout_columns(self._states.take(rows))
        self._owner.append(rows)
        self._parts.append({**columns, "correct": pa.array(outcome == 1.0)})

    def column(self) -> pa.Array:
        """One list of rollouts a state, in the order in which they were made."""
        if not self._parts:
            none = self._states.take(slice(0, 0))
            self.add(np.zeros(0, np.int64), none, np.zeros(0))
        owner = np.concatenate(self._owner)
        values = pa.concat_tables([pa.table(part) for part in self._parts]).combine_chunks()
        order = np.argsort(owner, kind="stable")
        struct = values.take(pa.array(order)).to_struct_array().combine_chunks()
        ends = np.bincount(owner, minlength=len(self._states)).cumsum()
        return pa.ListArray.from_arrays(pa.array(np.concatenate([[0], ends]), pa.int32()), struct)


def rollout_table(labels: pa.Table) -> pa.Table:
    """The log of labels that have one: a row a rollout, with the `id` of the row where it began."""
    lists = labels[COLUMN].combine_chunks()
    if isinstance(lists, pa.ChunkedArray):
        lists = pa.concat_arrays(lists.chunks) if lists.num_chunks else pa.array([], lists.type)
    fields = pa.Table.from_struct_array(lists.flatten())
    return fields.add_column(0, "id", labels["id"].combine_chunks().take(lists.value_parent_indices()))
