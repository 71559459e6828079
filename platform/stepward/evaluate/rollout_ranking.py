"""How well guides order the candidates of held-out states, from the rankings of the label stage.

A state's kept candidates are evenly spaced in rank among all K, the best, the median and the worst among them, so the
figures are of pairs that are evenly spread over the ranking.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float

from stepward.core.interfaces import RewardModel
from stepward.core.storage import Folder
from stepward.domains.pde.data import fields_of
from stepward.domains.pde.rewards.objectives import ranking_metrics
from stepward.domains.pde.states import PDEStates, advance, roots

COLUMNS = ["id", "problem_id", "fields", "deterministic", "candidates", "kept_errors"]
FIGURES = ("pairs", "triplet", "spearman", "regret")


def held_out_rankings(labels: Folder, split: str) -> pa.Table:
    """Rankings of a split whose errors are all finite, ordered by id.

    Raises:
        ValueError: there is none.
    """
    names = [name for name in labels.files("labels") if PurePosixPath(name).name.startswith(f"{split}-")]
    tables = [labels.read_table(name, COLUMNS) for name in names]
    table = pa.concat_tables(tables).sort_by("id").combine_chunks() if tables else None
    if table is not None and len(table):
        table = table.take(np.flatnonzero(np.isfinite(fields_of(table, "kept_errors")).all(axis=1)))
    if table is None or not len(table):
        raise ValueError(f"{labels.url}: expected rankings of split {split!r}, found none. Label that split first.")
    return table


def ranking_table(rankings: pa.Table, guide: RewardModel) -> pa.Table:
    """One row a state: id, problem_id, the figures of `ranking_metrics`, and lists of all scores and errors."""
    scores, errors = score_all(rankings, guide), fields_of(rankings, "kept_errors").astype(np.float64)
    figures = ranking_metrics(torch.from_numpy(scores), torch.from_numpy(errors))
    columns: dict[str, Any] = {"id": rankings["id"], "problem_id": rankings["problem_id"]}
    columns |= {name: pa.array(figures[name].numpy(), pa.float64()) for name in FIGURES}
    columns |= {
        name: pa.array(list(values), pa.list_(pa.float64()))
        for name, values in (("scores", scores), ("errors", errors))
    }
    return pa.table(columns)


def score_all(rankings: pa.Table, guide: RewardModel, states: int = 16) -> Float[np.ndarray, "n k"]:
    """Scores of all kept candidates, some states at a time."""
    parts = []
    for first in range(0, len(rankings), states):
        piece = rankings.slice(first, states)
        candidates = fields_of(piece, "candidates")
        parents, children = steps_of(fields_of(piece), fields_of(piece, "deterministic"), candidates)
        parts.append(guide.score(parents, children).reshape(len(piece), candidates.shape[1]))
    return np.concatenate(parts).astype(np.float64)


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
