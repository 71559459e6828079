"""From the raw scores of new children to the values a search compares: normalise, aggregate, gate."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import Field

from stepward.core.config import Config
from stepward.core.registry import lookup
from stepward.rewards.aggregation import AGGREGATIONS, gate, zscore_siblings
from stepward.search.tree import Tree


class Scoring(Config):
    """How step scores become the value of a path."""

    aggregation: str = Field("last", description="path value from step scores: product, min, mean, last or sum")
    normalise_siblings: bool = Field(False, description="z-score the scores of children of one parent first")
    min_score: float | None = Field(None, description="gate: drop children that score below this (τ_min); none: keep")
    require_improvement: bool = Field(False, description="gate: drop children that score below their parent (Δp < 0)")

    def model_post_init(self, _: Any) -> None:
        lookup(AGGREGATIONS, self.aggregation, kind="aggregation")


def evaluate_children(
    tree: Tree, parents: Int[np.ndarray, " n"], scores: Float[np.ndarray, " n"], scoring: Scoring
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n w"], Bool[np.ndarray, " n"]]:
    """Value, path state and "passes the gates" of children with raw `scores`, given their parent nodes.

    Gates look at raw scores, before siblings are normalised. Children of a root have no parent score to fall below.
    """
    aggregation = AGGREGATIONS[scoring.aggregation]
    is_root = tree.parent[parents] < 0
    above = np.where(is_root, -np.inf, tree.score[parents])
    keep = gate(scores, parent_scores=above, min_score=scoring.min_score, require_improvement=scoring.require_improvement)
    steps = zscore_siblings(scores, parents) if scoring.normalise_siblings else scores
    path_state = aggregation.extend(tree.path_state[parents], steps)
    return aggregation.value(path_state), path_state, keep


def initial_path_state(scoring: Scoring, num_roots: int) -> Float[np.ndarray, "p w"]:
    """Path state of roots: no step taken yet."""
    return AGGREGATIONS[scoring.aggregation].start(num_roots)
