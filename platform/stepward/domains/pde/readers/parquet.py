"""Trajectories as Parquet with an Arrow fixed-shape tensor column, written and read block by block.

Columns: ``id`` (string, ``source:index``), ``fields`` (``fixed_shape_tensor`` [frames, channel, *grid]). The
:class:`Grid` is JSON in the schema's metadata under ``stepward.grid``; trajectories that were left out stand in the
file's metadata under ``stepward.rejected``. One block is one row group, so reading needs one block of memory.
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

from stepward.core.config import Plain
from stepward.core.wing import Rejected
from stepward.domains.pde.readers.record import FieldBlock, Grid

__all__ = ["read_grid", "read_parquet", "read_rejected", "write_parquet"]

_GRID_KEY, _REJECTED_KEY = b"stepward.grid", b"stepward.rejected"


def write_parquet(blocks: Iterable[FieldBlock], path: str | Path) -> int:
    """Stream ``blocks`` of one file into ``path``; returns the number of trajectories.

    The file appears under its name only when complete: a run that dies leaves ``path`` as it was.

    Raises:
        ValueError: no trajectory that can be used, or blocks whose grid, shape or precision differ from the first.
    """
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    num_rows, schema, writer, kind = 0, None, None, None
    rejected: list[Rejected] = []
    try:
        for block in blocks:
            rejected += block.rejected
            if not len(block):
                continue
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
        if writer is not None:
            writer.add_key_value_metadata({_REJECTED_KEY: json.dumps([asdict(row) for row in rejected]).encode()})
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        first = f", first {rejected[0].id}: {rejected[0].error}" if rejected else ""
        raise ValueError(
            f"expected one trajectory or more to write to {path}; got none, {len(rejected)} were rejected{first}."
        )
    partial.replace(path)
    return num_rows


def read_parquet(path: str | Path) -> Iterator[FieldBlock]:
    """Yield the row groups of a file written by :func:`write_parquet`; the first carries what was left out."""
    grid, rejected = read_grid(path), tuple(read_rejected(path))
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group, columns=["id", "fields"])
            column = rows["fields"].combine_chunks()
            column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
            yield FieldBlock(
                tuple(rows["id"].to_pylist()), column.to_numpy_ndarray(), grid, rejected if not group else ()
            )


def read_grid(path: str | Path) -> Grid:
    """What the numbers of a file written by :func:`write_parquet` mean.

    Raises:
        ValueError: the file does not say.
    """
    metadata = pq.read_schema(path).metadata or {}
    if _GRID_KEY not in metadata:
        raise ValueError(
            f"expected a grid in the metadata of {path} under {_GRID_KEY.decode()!r}; got keys {sorted(metadata)}. "
            "Write the file with write_parquet."
        )
    return _grid(json.loads(metadata[_GRID_KEY]))


def read_rejected(path: str | Path) -> list[Rejected]:
    """The trajectories that were left out when the file was written, each with a sentence."""
    metadata = pq.read_metadata(path).metadata or {}
    return [Rejected(**row) for row in json.loads(metadata.get(_REJECTED_KEY, b"[]"))]


def _grid(values: Plain) -> Grid:
    arguments: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in values.items()}
    return Grid(**arguments)


def _schema(block: FieldBlock) -> pa.Schema:
    tensor = pa.fixed_shape_tensor(pa.from_numpy_dtype(block.fields.dtype), block.fields.shape[1:])
    metadata = {_GRID_KEY: json.dumps(asdict(block.grid)).encode()}
    return pa.schema([("id", pa.string()), ("fields", tensor)], metadata=metadata)


def _table(block: FieldBlock, schema: pa.Schema) -> pa.Table:
    tensor = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(block.fields))
    return pa.table([pa.array(block.ids), tensor], schema=schema)
