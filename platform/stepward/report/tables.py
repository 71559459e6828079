"""Small tools on plain tables (pyarrow): what figures and sections share."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from stepward.core.config import Plain


def by(table: pa.Table, column: str) -> dict[str, pa.Table]:
    """Rows of each value of a column, values in the order in which they first appear."""
    return {value: table.filter(pc.equal(table[column], value)) for value in distinct(table, column)}


def by_arm(table: pa.Table) -> dict[str, pa.Table]:
    """Rows of each arm."""
    return by(table, "arm")


def distinct(table: pa.Table, column: str) -> list:
    """Values of a column, without repetition, in order of first appearance; nulls left out."""
    return [value for value in pc.unique(table[column]).to_pylist() if value is not None]


def where(table: pa.Table, **equal: object) -> pa.Table:
    """Rows whose columns have these values."""
    for column, value in equal.items():
        table = table.filter(pc.equal(table[column], value))
    return table


def require(table: pa.Table, columns: Iterable[str], name: str) -> pa.Table:
    """The table, if it has these columns.

    Raises:
        ValueError: it lacks some; the message names them.
    """
    missing = [column for column in columns if column not in table.column_names]
    if missing:
        raise ValueError(f"{name}: expected columns {missing} too, got {table.column_names}.")
    return table


def tensor_rows(table: pa.Table) -> list[Plain]:
    """Rows as dictionaries, tensors as arrays."""
    names = [name for name in table.column_names if isinstance(table[name].type, pa.FixedShapeTensorType)]
    plain = table.drop_columns(names).to_pylist()
    for name in names:
        column = table[name].combine_chunks()
        array = (column.chunk(0) if isinstance(column, pa.ChunkedArray) else column).to_numpy_ndarray()
        for row, value in zip(plain, array, strict=True):
            row[name] = value
    return plain
