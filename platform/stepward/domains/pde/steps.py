"""Steps from a table: what a reward model of this domain scores."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from stepward.domains.pde.states import PDEStates, advance, roots

COLUMNS = ("fields", "deterministic", "candidate")


def pde_steps(table: pa.Table) -> tuple[PDEStates, PDEStates]:
    """Parents and children of the steps in a table, row by row.

    Args:
        table: fields before the step, the surrogate's own answer and the candidate, each a tensor or nested lists
            [C, H, W] a row.

    Raises:
        ValueError: a column is missing.
    """
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise ValueError(f"Steps: expected the columns {list(COLUMNS)}, but {missing} is missing.")
    fields, deterministic, candidate = (_array(table[name]) for name in COLUMNS)
    zeros = np.zeros(len(fields), np.int64)
    parents = roots(fields, [""] * len(fields), zeros, zeros + 1)
    return parents, advance(parents, candidate, deterministic, np.arange(len(fields), dtype=np.uint64))


def steps_of(
    state: Float[np.ndarray, "n c h w"],
    deterministic: Float[np.ndarray, "n c h w"],
    candidates: Float[np.ndarray, "n k c h w"],
) -> tuple[PDEStates, PDEStates]:
    """The steps from each state to its candidates, as parents and children, [n · k] each, row-major."""
    n, k = candidates.shape[:2]
    rows, zeros = np.repeat(np.arange(n), k), np.zeros(n * k, np.int64)
    parents = roots(state[rows], [""] * (n * k), zeros, zeros + 1, problem=rows)
    fields = np.ascontiguousarray(candidates.reshape(n * k, *candidates.shape[2:]))
    return parents, advance(parents, fields, deterministic[rows], np.tile(np.arange(k, dtype=np.uint64), n))


def _array(column: pa.ChunkedArray) -> np.ndarray:
    if isinstance(column.type, pa.FixedShapeTensorType):
        joined = column.combine_chunks()
        joined = joined.chunk(0) if isinstance(joined, pa.ChunkedArray) else joined
        return np.asarray(joined.to_numpy_ndarray(), np.float32)
    return np.asarray(column.to_pylist(), np.float32)
