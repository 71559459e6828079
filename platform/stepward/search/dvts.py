"""Diverse verifier tree search: independent greedy trees; with one candidate a step it is best-of-N."""

from __future__ import annotations

from typing import Literal, Unpack

import numpy as np
from jaxtyping import Bool, Int
from pydantic import Field

from stepward.core.batch import Batch
from stepward.core.config import Config
from stepward.search.beam import top_per_group
from stepward.search.loop import Parts, SearchResult, run_search
from stepward.search.scoring import Scoring
from stepward.search.tree import Tree


class DVTS(Config):
    """`num_trees` trees a problem that do not compete: each keeps the best of its own candidates at every step.

    Source: Beeching, Tunstall, Rush 2024, "Scaling test-time compute with open models".
    """

    kind: Literal["dvts"] = "dvts"
    num_trees: int = Field(4, ge=1, description="independent trees a problem, each of which gives one solution")
    num_candidates: int = Field(4, ge=1, description="children proposed of a tree's current state")
    scoring: Scoring = Scoring()

    def __call__(self, problems: Batch, **parts: Unpack[Parts]) -> SearchResult:
        """Searches all problems at once; trees of a problem share no node."""
        return _run(problems, self.num_trees, self.num_candidates, self.scoring, parts)


class BestOfN(Config):
    """`num_samples` whole solutions a problem, sampled without looking at scores; the best by value is chosen."""

    kind: Literal["best_of_n"] = "best_of_n"
    num_samples: int = Field(8, ge=1, description="solutions sampled a problem (N)")
    scoring: Scoring = Scoring()

    def __call__(self, problems: Batch, **parts: Unpack[Parts]) -> SearchResult:
        """Samples N solutions of every problem; the reward chooses among them at the end."""
        return _run(problems, self.num_samples, 1, self.scoring, parts)


def _run(problems: Batch, num_trees: int, k: int, scoring: Scoring, parts: Parts) -> SearchResult:
    return run_search(
        problems,
        rule=lambda tree, rng: _TreesRule(tree, num_trees, k),
        scoring=scoring,
        num_solutions=num_trees,
        **parts,
    )


class _TreesRule:
    """The current node of every tree. All trees of a problem begin at its root, which is therefore listed often."""

    def __init__(self, tree: Tree, num_trees: int, num_candidates: int) -> None:
        self._k = num_candidates
        self._nodes = np.repeat(tree.open(np.arange(tree.num_problems)), num_trees)

    def select(self, tree: Tree, active: Bool[np.ndarray, " p"]) -> Int[np.ndarray, " n"]:
        return self._nodes[active[tree.problem[self._nodes]]]

    def num_candidates(self, tree: Tree) -> int:
        return self._k

    def update(self, tree: Tree, nodes: Int[np.ndarray, " m"], origin: Int[np.ndarray, " m"]) -> Int[np.ndarray, " s"]:
        best = top_per_group(nodes, origin, tree.value[nodes], 1)
        self._nodes = tree.open(best)
        return best
