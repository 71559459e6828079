"""How well guides order the candidates of held-out states.

The label stage made K candidates of every state and kept the errors of all of them. They are made again here, from the
same streams, so that guides are judged on all K and not on those few whose fields were kept.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float

from stepward.core.batch import repeat
from stepward.core.interfaces import Proposer, RewardModel
from stepward.core.seeding import Rng
from stepward.core.storage import Folder
from stepward.core.tensors import tensor_of
from stepward.core.wing import Wing
from stepward.evaluate.settings import EvaluateSettings
from stepward.evaluate.tables import Row
from stepward.statistics.bootstrap import Estimate, bootstrap_mean
from stepward.statistics.candidates import ranking_metrics

KEPT = frozenset({"deterministic", "candidates", "kept_errors", "patch_errors", "horizon_errors"})  # not of the state
FIGURES = ("pairs", "triplet", "spearman", "regret")
IN_FLIGHT = 2048  # candidates in memory at once


def held_out_rankings(labels: Folder, split: str, max_states: int, seed: int) -> pa.Table:
    """At most `max_states` labelled states of a split, drawn by (seed, id), ordered by id; those with a candidate that
    blew up are left out.

    Raises:
        ValueError: there is none.
    """
    names = [name for name in labels.files("labels") if PurePosixPath(name).name.startswith(f"{split}-")]
    columns = [name for name in labels.columns("labels") if name not in KEPT]
    tables = [labels.read_table(name, columns) for name in names]
    table = pa.concat_tables(tables).sort_by("id").combine_chunks() if tables else None
    if table is not None and len(table):
        table = table.take(np.flatnonzero(np.isfinite(tensor_of(table, "errors")).all(axis=1)))
    if table is None or not len(table):
        raise ValueError(f"{labels.url}: expected rankings of split {split!r}, found none. Label that split first.")
    points = Rng.from_ids(seed, table["id"].to_pylist(), "held out").uniform(1)[:, 0]
    return table.take(np.sort(np.argsort(points, kind="stable")[:max_states]))


def ranking_table(rankings: pa.Table, guide: RewardModel, *, proposer: Proposer, seed: int, wing: Wing) -> pa.Table:
    """One row a state: id, problem_id, the figures of `ranking_metrics`, and lists of all scores and errors.

    Args:
        proposer, seed: that the labels were made with.
    """
    errors = tensor_of(rankings, "errors").astype(np.float64)
    scores = score_all(rankings, guide, proposer=proposer, seed=seed, wing=wing)
    figures = ranking_metrics(scores, errors)
    columns: dict[str, Any] = {"id": rankings["id"], "problem_id": rankings["problem_id"]}
    columns |= {name: pa.array(figures[name], pa.float64()) for name in FIGURES}
    columns |= {
        name: pa.array(list(values), pa.list_(pa.float64()))
        for name, values in (("scores", scores), ("errors", errors))
    }
    return pa.table(columns)


def score_all(
    rankings: pa.Table, guide: RewardModel, *, proposer: Proposer, seed: int, wing: Wing
) -> Float[np.ndarray, "n k"]:
    """Scores of all candidates, in the order in which they were proposed, some states at a time."""
    num_candidates = tensor_of(rankings, "errors").shape[1]
    size, parts = max(1, IN_FLIGHT // num_candidates), []
    for first in range(0, len(rankings), size):
        piece = rankings.slice(first, size).combine_chunks()
        states = wing.states(piece)
        rng = Rng.from_ids(seed, piece["id"].to_pylist(), "candidates")
        children = proposer.propose(states, num_candidates=num_candidates, rng=rng)
        scores = guide.score(repeat(states, num_candidates), children)
        parts.append(scores.reshape(len(piece), num_candidates))
    return np.concatenate(parts).astype(np.float64)


def ranking_rows(rankings: pa.Table, settings: EvaluateSettings) -> list[Row]:
    """One row a guide: how it orders candidates, with intervals, and its lead over the reference guide, paired.

    States of one problem are not independent, so intervals are over problems.
    """
    reference = settings.rankings.reference if settings.rankings else None
    tables = {guide: rankings.filter(pc.equal(rankings["guide"], guide)) for guide in settings.ranking_guides()}
    means, rows = {guide: _by_problem(table) for guide, table in tables.items()}, []

    def estimate(values: Float[np.ndarray, " p"]) -> Estimate:
        return bootstrap_mean(values, rng=settings.resampling(), **settings.statistics)

    for guide, figures in means.items():
        row: dict[str, Any] = {"guide": guide, "num_states": len(tables[guide])}
        for name in FIGURES:
            found = estimate(figures[name])
            row |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
            row["num_problems"] = found.num_units
        if reference in means and guide != reference:
            lead = estimate(figures["pairs"] - means[reference]["pairs"])
            row |= {"pairs_lead": lead.value, "pairs_lead_low": lead.low, "pairs_lead_high": lead.high}
        rows.append(row)
    return rows


def _by_problem(rows: pa.Table) -> dict[str, Float[np.ndarray, " p"]]:
    """Mean of every figure over the states of each problem, problems in the order of their ids."""
    problem = np.unique(rows["problem_id"].to_numpy(zero_copy_only=False), return_inverse=True)[1].reshape(-1)
    counts = np.bincount(problem)
    return {name: np.bincount(problem, rows[name].to_numpy()) / counts for name in FIGURES}
