"""Reading what the label stage left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, Int, Real

from stepward.core.storage import Folder
from stepward.core.wing import Wing

REQUIRED = ("id", "problem_id", "split", "successes", "num_rollouts")


@dataclass(frozen=True)
class LabelledStates:
    """n labelled states of one split.

    Attributes:
        states: the wing's own batch.
        successes, num_rollouts: S and M.
        exact: true value, where the label artifact has the column; else None.
        table: all columns, row by row.
    """

    states: Any
    successes: Float[np.ndarray, " n"]
    num_rollouts: Float[np.ndarray, " n"]
    exact: Float[np.ndarray, " n"] | None
    table: pa.Table

    def __len__(self) -> int:
        return len(self.table)

    def column_codes(self, name: str) -> Int[np.ndarray, " n"]:
        """Values of a column as integers, equal where the values are.

        Raises:
            ValueError: there is no such column.
        """
        return np.unique(self._column(name).to_numpy(zero_copy_only=False), return_inverse=True)[1].reshape(-1)

    def column_numbers(self, name: str) -> Real[np.ndarray, " n"]:
        """Values of a column of numbers.

        Raises:
            ValueError: there is no such column, or it holds no numbers.
        """
        kind = self._column(name).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            raise ValueError(f"labels: expected a column of numbers, but {name!r} holds {kind}. Name another column.")
        return self._column(name).to_numpy()

    def _column(self, name: str) -> pa.ChunkedArray:
        if name not in self.table.column_names:
            raise ValueError(f"labels: expected a column {name!r}, got {self.table.column_names}. Name another column.")
        return self.table[name]


def split_rows(folder: Folder, split: str, required: Sequence[str]) -> pa.Table:
    """Rows of one split of a label artifact, in the order of their ids.

    Raises:
        ValueError: one of the `required` columns is missing, or the split has no row.
    """
    table = folder.read_table("labels")
    missing = [name for name in required if name not in table.column_names]
    if missing:
        raise ValueError(
            f"{folder.url}/labels: expected the columns {list(required)}, but {missing} is missing among "
            f"{table.column_names}. Make the labels again with jobs/label.py."
        )
    table = table.filter(pc.equal(table["split"], split)).sort_by("id")
    if not len(table):
        raise ValueError(
            f"{folder.url}/labels: expected rows of the split {split!r}, got none. Label problems of that split too."
        )
    return table


def read_labels(folder: Folder, wing: Wing, split: str) -> LabelledStates:
    """Rows of one split of a label artifact, in the order of their ids, however the labelling was batched.

    Raises:
        ValueError: a column is missing, or the split has no row.
    """
    table = split_rows(folder, split, REQUIRED)
    return LabelledStates(
        states=wing.states(table),
        successes=table["successes"].to_numpy().astype(np.float64),
        num_rollouts=table["num_rollouts"].to_numpy().astype(np.float64),
        exact=table["exact"].to_numpy().astype(np.float64) if "exact" in table.column_names else None,
        table=table,
    )
