"""Tensors as columns of Arrow tables."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def tensor_column(array: np.ndarray) -> pa.Array:
    """Rows of any shape as an Arrow fixed-shape tensor column, float32 for numbers with a fraction."""
    array = np.ascontiguousarray(array, np.float32 if array.dtype.kind == "f" else array.dtype)
    if len(array):
        return pa.FixedShapeTensorArray.from_numpy_ndarray(array)
    kind = pa.fixed_shape_tensor(pa.from_numpy_dtype(array.dtype), array.shape[1:])
    return pa.ExtensionArray.from_storage(kind, pa.array([], kind.storage_type))


def tensor_of(table: pa.Table, name: str) -> np.ndarray:
    """A tensor column as an array [n, …]."""
    column = table[name].combine_chunks()
    column = column.chunk(0) if isinstance(column, pa.ChunkedArray) and column.num_chunks else column
    if not len(column):
        return np.zeros((0, *column.type.shape), np.float32)
    return column.to_numpy_ndarray()
