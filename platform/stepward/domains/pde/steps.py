"""Steps from a table: what a reward model of this domain scores."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from stepward.domains.pde.rewards import RankedCandidates
from stepward.domains.pde.states import PDEStates, advance, roots

COLUMNS = ("fields", "deterministic", "candidate")


def pde_steps(table: pa.Table) -> tuple[PDEStates, PDEStates]:
    """Parents and children of the steps in a table, row by row.

    Args:
        table: fields before the step, the surrogate's own answer and the candidate, each a tensor or nested lists
            [C, H, W] a row; if there are any, the frames before, [m, C, H, W], as history, and the constant that the
            candidate took for true as guess.

    Raises:
        ValueError: a column is missing.
    """
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise ValueError(f"Steps: expected the columns {list(COLUMNS)}, but {missing} is missing.")
    fields, deterministic, candidate = (_array(table[name]) for name in COLUMNS)
    zeros = np.zeros(len(fields), np.int64)
    history = _array(table["history"]) if "history" in table.column_names else None
    guess = np.asarray(table["guess"].to_pylist(), float) if "guess" in table.column_names else None
    parents = roots(fields, [""] * len(fields), zeros, zeros + 1, history=history)
    return parents, advance(parents, candidate, deterministic, np.arange(len(fields), dtype=np.uint64), guess)


def steps_of(data: RankedCandidates, which: np.ndarray) -> tuple[PDEStates, PDEStates]:
    """The steps from some states to their candidates, as parents and children, [n · k] each, row-major."""
    k = data.errors.shape[1]
    rows, zeros = np.repeat(np.arange(len(which)), k), np.zeros(len(which) * k, np.int64)
    state, plain, candidates = data.state[which], data.deterministic[which], data.candidates[which]
    history = None if data.history is None else data.history[which][rows]
    guess = None if data.guesses is None else data.guesses[which].ravel().astype(np.float64)
    parents = roots(state[rows], [""] * len(rows), zeros, zeros + 1, problem=rows, history=history)
    fields = np.ascontiguousarray(candidates.reshape(len(rows), *candidates.shape[2:]))
    tags = np.tile(np.arange(k, dtype=np.uint64), len(which))
    return parents, advance(parents, fields, plain[rows], tags, guess)


def _array(column: pa.ChunkedArray) -> np.ndarray:
    if isinstance(column.type, pa.FixedShapeTensorType):
        joined = column.combine_chunks()
        joined = joined.chunk(0) if isinstance(joined, pa.ChunkedArray) else joined
        return np.asarray(joined.to_numpy_ndarray(), np.float32)
    return np.asarray(column.to_pylist(), np.float32)
