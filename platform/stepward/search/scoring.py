"""From the raw scores of new children to the values a search compares: normalise, aggregate, gate."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import Field

from stepward.core.config import Config
from stepward.rewards.aggregation import aggregation_named, gate_decrease, gate_threshold, sibling_z_score
from stepward.search.tree import Tree


class Scoring(Config):
    """How step scores become the value of a path."""

    aggregation: str = Field(
        "last", description="path value from step scores: product, log_product, min, mean, last or sum"
    )
    normalise_siblings: bool = Field(False, description="z-score the scores of children of one parent first")
    min_score: float | None = Field(None, description="gate: drop children that score below this (τ_min); none: keep")
    require_improvement: bool = Field(False, description="gate: drop children that score below their parent (Δp < 0)")

    def model_post_init(self, _: object) -> None:
        """Refuses an aggregation that does not exist."""
        aggregation_named(self.aggregation)


def passes_gates(
    tree: Tree, parents: Int[np.ndarray, " n"], scores: Float[np.ndarray, " n"], scoring: Scoring
) -> Bool[np.ndarray, " n"]:
    """Which children may be kept, by their raw scores. Children of a root have no parent score to fall below."""
    keep = np.ones(len(scores), bool)
    if scoring.min_score is not None:
        keep &= gate_threshold(scores, scoring.min_score)
    if scoring.require_improvement:
        keep &= gate_decrease(scores, np.where(tree.parent[parents] < 0, -np.inf, tree.score[parents]))
    return keep


def path_values(
    tree: Tree,
    parents: Int[np.ndarray, " n"],
    siblings: Int[np.ndarray, " n"],
    scores: Float[np.ndarray, " n"],
    scoring: Scoring,
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n w"]]:
    """Value and path state of children with raw `scores`. `siblings` numbers the sibling sets."""
    aggregation = aggregation_named(scoring.aggregation)
    steps = sibling_z_score(scores, siblings) if scoring.normalise_siblings else scores
    path_state = aggregation.extend(tree.path_state[parents], steps)
    return aggregation.value(path_state), path_state


def initial_path_state(scoring: Scoring, num_roots: int) -> Float[np.ndarray, "p w"]:
    """Path state of roots: no step taken yet."""
    return aggregation_named(scoring.aggregation).start(num_roots)
