"""How well guides order the candidates of held-out states.

The label stage made K candidates of every state and kept the errors of all of them. They are made again here, from the
same streams, so that guides are judged on all K and not on those few whose fields were kept.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float

from stepward.core.batch import repeat
from stepward.core.interfaces import Proposer, RewardModel
from stepward.core.seeding import Rng
from stepward.core.storage import Folder
from stepward.domains.pde.data import fields_of, pde_states
from stepward.domains.pde.rewards.objectives import ranking_metrics

COLUMNS = ["id", "problem_id", "reference", "frame", "steps", "horizon", "fields", "errors"]
FIGURES = ("pairs", "triplet", "spearman", "regret")
IN_FLIGHT = 2048  # candidates in memory at once


def held_out_rankings(labels: Folder, split: str, max_states: int, seed: int) -> pa.Table:
    """At most `max_states` labelled states of a split, drawn by (seed, id), ordered by id; those with a candidate that
    blew up are left out.

    Raises:
        ValueError: there is none.
    """
    names = [name for name in labels.files("labels") if PurePosixPath(name).name.startswith(f"{split}-")]
    tables = [labels.read_table(name, COLUMNS) for name in names]
    table = pa.concat_tables(tables).sort_by("id").combine_chunks() if tables else None
    if table is not None and len(table):
        table = table.take(np.flatnonzero(np.isfinite(fields_of(table, "errors")).all(axis=1)))
    if table is None or not len(table):
        raise ValueError(f"{labels.url}: expected rankings of split {split!r}, found none. Label that split first.")
    points = Rng.from_ids(seed, table["id"].to_pylist(), "held out").uniform(1)[:, 0]
    return table.take(np.sort(np.argsort(points, kind="stable")[:max_states]))


def ranking_table(rankings: pa.Table, guide: RewardModel, *, proposer: Proposer, seed: int) -> pa.Table:
    """One row a state: id, problem_id, the figures of `ranking_metrics`, and lists of all scores and errors.

    Args:
        proposer, seed: that the labels were made with.
    """
    errors = fields_of(rankings, "errors").astype(np.float64)
    scores = score_all(rankings, guide, proposer=proposer, seed=seed)
    figures = ranking_metrics(torch.from_numpy(scores), torch.from_numpy(errors))
    columns: dict[str, Any] = {"id": rankings["id"], "problem_id": rankings["problem_id"]}
    columns |= {name: pa.array(figures[name].numpy(), pa.float64()) for name in FIGURES}
    columns |= {
        name: pa.array(list(values), pa.list_(pa.float64()))
        for name, values in (("scores", scores), ("errors", errors))
    }
    return pa.table(columns)


def score_all(rankings: pa.Table, guide: RewardModel, *, proposer: Proposer, seed: int) -> Float[np.ndarray, "n k"]:
    """Scores of all candidates, in the order in which they were proposed, some states at a time."""
    num_candidates = fields_of(rankings, "errors").shape[1]
    size, parts = max(1, IN_FLIGHT // num_candidates), []
    for first in range(0, len(rankings), size):
        piece = rankings.slice(first, size).combine_chunks()
        states = pde_states(piece)
        rng = Rng.from_ids(seed, piece["id"].to_pylist(), "candidates")
        children = proposer.propose(states, num_candidates=num_candidates, rng=rng)
        scores = guide.score(repeat(states, num_candidates), children)
        parts.append(scores.reshape(len(piece), num_candidates))
    return np.concatenate(parts).astype(np.float64)
