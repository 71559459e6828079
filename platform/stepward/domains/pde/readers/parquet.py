"""Trajectories as Parquet with an Arrow fixed-shape tensor column, written and read block by block.

Columns: ``id`` (string, ``source:index``), ``fields`` (``fixed_shape_tensor`` [frames, channel, *grid]). The
:class:`Grid` is JSON in the schema's metadata under ``stepward.grid``. One block is one row group, so reading needs
one block of memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stepward.domains.pde.readers.record import FieldBlock, Grid

__all__ = ["read_parquet", "write_parquet"]

_GRID_KEY = b"stepward.grid"


def write_parquet(blocks: Iterable[FieldBlock], path: str | Path) -> int:
    """Stream ``blocks`` of one file into ``path``; returns the number of trajectories.

    The file appears under its name only when complete: a run that dies leaves ``path`` as it was.

    Raises:
        ValueError: no blocks, or blocks whose grid, shape or precision differ from the first.
    """
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    num_rows, schema, writer, kind = 0, None, None, None
    try:
        for block in blocks:
            if writer is None:
                kind = (block.fields.shape[1:], block.fields.dtype, block.grid)
                schema = _schema(block)
                writer = pq.ParquetWriter(partial, schema, compression="zstd")
            if (block.fields.shape[1:], block.fields.dtype, block.grid) != kind:
                raise ValueError(
                    f"expected every block like the first, {kind}; got {block.fields.shape[1:]}, {block.fields.dtype}, "
                    f"{block.grid}. Write one Parquet file a source."
                )
            writer.write_table(_table(block, schema), row_group_size=len(block))
            num_rows += len(block)
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        raise ValueError(f"expected one block or more to write to {path}; got none. The source has no trajectories.")
    partial.replace(path)
    return num_rows


def read_parquet(path: str | Path) -> Iterator[FieldBlock]:
    """Yield the row groups of a file written by :func:`write_parquet`."""
    with pq.ParquetFile(path) as file:
        metadata = file.schema_arrow.metadata or {}
        if _GRID_KEY not in metadata:
            raise ValueError(
                f"expected a grid in the metadata of {path} under {_GRID_KEY.decode()!r}; got keys {sorted(metadata)}. "
                "Write the file with write_parquet."
            )
        grid = _grid(json.loads(metadata[_GRID_KEY]))
        start = 0
        for group in range(file.num_row_groups):
            column = file.read_row_group(group, columns=["fields"])["fields"].combine_chunks()
            column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
            fields = column.to_numpy_ndarray()
            yield FieldBlock(start=start, fields=fields, grid=grid)
            start += len(fields)


def _grid(values: dict[str, Any]) -> Grid:
    arguments: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in values.items()}
    return Grid(**arguments)


def _schema(block: FieldBlock) -> pa.Schema:
    tensor = pa.fixed_shape_tensor(pa.from_numpy_dtype(block.fields.dtype), block.fields.shape[1:])
    metadata = {_GRID_KEY: json.dumps(asdict(block.grid)).encode()}
    return pa.schema([("id", pa.string()), ("fields", tensor)], metadata=metadata)


def _table(block: FieldBlock, schema: pa.Schema) -> pa.Table:
    tensor = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(block.fields))
    return pa.table([pa.array(block.row_ids), tensor], schema=schema)
