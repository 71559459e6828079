"""Making tables of rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

Row = dict[str, Any]  # of a table; its columns say the types


def table_of(rows: Iterable[Mapping[str, object]]) -> pa.Table:
    """Rows as a table with the columns of all of them; without any, an empty one that can still be written."""
    rows = list(rows)
    if not rows:
        return pa.table({"empty": pa.array([], pa.null())})
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.Table.from_pylist([{name: row.get(name) for name in names} for row in rows])


def named(table: pa.Table, **names: str) -> pa.Table:
    """A table with columns of one value each in front."""
    for position, (column, value) in enumerate(names.items()):
        table = table.add_column(position, column, pa.array([value] * len(table), pa.string()))
    return table
