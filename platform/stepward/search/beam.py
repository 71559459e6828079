"""Beam search: keep the best few states of each depth."""

from __future__ import annotations

from typing import Literal, Unpack

import numpy as np
from jaxtyping import Bool, Int
from pydantic import Field

from stepward.core.batch import Batch
from stepward.core.config import Config
from stepward.search.loop import Parts, SearchResult, rank_within, run_search
from stepward.search.scoring import Scoring
from stepward.search.tree import Tree


class Beam(Config):
    """Expand the whole beam, then keep the `width` open children of highest value of each problem.

    Complete children are set aside as solutions and leave their place in the beam to others.
    """

    kind: Literal["beam"] = "beam"
    width: int = Field(8, ge=1, description="states kept at each depth")
    num_candidates: int = Field(3, ge=1, description="children proposed of each state of the beam")
    num_solutions: int = Field(1, ge=1, description="complete states after which a problem is finished")
    deduplicate: bool = Field(True, description="drop children whose state was already reached in the same problem")
    scoring: Scoring = Scoring()

    def __call__(self, problems: Batch, **parts: Unpack[Parts]) -> SearchResult:
        """Searches all problems at once: a level a round."""
        return run_search(
            problems,
            rule=lambda tree, rng: BeamRule(tree, self.width, self.num_candidates),
            scoring=self.scoring,
            num_solutions=self.num_solutions,
            deduplicate=self.deduplicate,
            **parts,
        )


class BeamRule:
    """Selects the beam: the `width` open children of highest value of each problem's last expansion."""

    def __init__(self, tree: Tree, width: int, num_candidates: int) -> None:
        self._width, self._k = width, num_candidates
        self._beam = tree.open(np.arange(tree.num_problems))

    def select(self, tree: Tree, active: Bool[np.ndarray, " p"]) -> Int[np.ndarray, " n"]:
        """The beams of the problems that still search."""
        return self._beam[active[tree.problem[self._beam]]]

    def num_candidates(self, tree: Tree) -> int:
        """Children of each node of a beam."""
        return self._k

    def update(self, tree: Tree, nodes: Int[np.ndarray, " m"], origin: Int[np.ndarray, " m"]) -> Int[np.ndarray, " m"]:
        """Makes the best open children the next beam; all complete ones count as solutions."""
        open_ = tree.open(nodes)
        self._beam = top_per_group(open_, tree.problem[open_], tree.value[open_], self._width)
        return nodes


def top_per_group(nodes: np.ndarray, group: np.ndarray, value: np.ndarray, num: int) -> Int[np.ndarray, " m"]:
    """The `num` nodes of highest value in every group, grouped, best first; the older node first among equals."""
    order = np.lexsort((nodes, -value, group))
    return nodes[order][rank_within(group[order]) < num]
