"""Best-first search: always expand the open node of highest value."""

from __future__ import annotations

from typing import Literal, Unpack

import numpy as np
from jaxtyping import Bool, Int
from pydantic import Field

from stepward.core.batch import Batch
from stepward.core.config import Config
from stepward.core.interfaces import Status
from stepward.search.loop import Parts, SearchResult, rank_within, run_search
from stepward.search.scoring import Scoring
from stepward.search.tree import Tree


class BestFirst(Config):
    """Expand one node a problem and round: the open node of highest value, the first made among equals."""

    kind: Literal["best_first"] = "best_first"
    num_candidates: int = Field(6, ge=1, description="children proposed of an expanded node")
    num_solutions: int = Field(1, ge=1, description="complete states after which a problem is finished")
    deduplicate: bool = Field(True, description="drop children whose state was already reached in the same problem")
    scoring: Scoring = Scoring()

    def __call__(self, problems: Batch, **parts: Unpack[Parts]) -> SearchResult:
        """Searches all problems at once: a node of each a round."""
        return run_search(
            problems,
            rule=lambda tree, rng: _BestFirstRule(tree, self.num_candidates),
            scoring=self.scoring,
            num_solutions=self.num_solutions,
            deduplicate=self.deduplicate,
            **parts,
        )


class _BestFirstRule:
    """The open lists of all problems as one matrix of values, one row a problem under way.

    Slots are filled in the order nodes are made and never reused, so `argmax`, which takes the first of equals,
    breaks ties in favour of the older node. Rows of finished problems are dropped once they are half of all.
    """

    def __init__(self, tree: Tree, num_candidates: int) -> None:
        self._k = num_candidates
        self._rows = np.arange(tree.num_problems)  # row -> problem
        self._row_of = np.arange(tree.num_problems)  # problem -> row
        self._fill = np.ones(tree.num_problems, np.int64)
        self._nodes = np.arange(tree.num_problems)[:, None]
        self._values = np.where(tree.status[: tree.num_problems] == Status.OPEN, 0.0, -np.inf)[:, None]

    def select(self, tree: Tree, active: Bool[np.ndarray, " p"]) -> Int[np.ndarray, " n"]:
        self._drop_finished(active)
        live = np.flatnonzero(active[self._rows])
        used = self._values[:, : self._fill.max(initial=1)]
        slots = used.argmax(axis=1)[live]
        has_open = used[live, slots] > -np.inf
        live, slots = live[has_open], slots[has_open]
        self._values[live, slots] = -np.inf
        return self._nodes[live, slots]

    def num_candidates(self, tree: Tree) -> int:
        return self._k

    def update(self, tree: Tree, nodes: Int[np.ndarray, " m"], origin: Int[np.ndarray, " m"]) -> Int[np.ndarray, " m"]:
        self._push(tree, tree.open(nodes))
        return nodes

    def _push(self, tree: Tree, nodes: Int[np.ndarray, " m"]) -> None:
        rows = self._row_of[tree.problem[nodes]]
        slots = self._fill[rows] + rank_within(rows)
        self._make_room(int(slots.max(initial=-1)) + 1)
        self._nodes[rows, slots] = nodes
        self._values[rows, slots] = tree.value[nodes]
        self._fill += np.bincount(rows, minlength=len(self._fill))

    def _drop_finished(self, active: Bool[np.ndarray, " p"]) -> None:
        live = active[self._rows]
        if live.sum() * 2 > len(live):
            return
        self._rows, self._fill = self._rows[live], self._fill[live]
        self._nodes, self._values = self._nodes[live], self._values[live]
        self._row_of[self._rows] = np.arange(len(self._rows))

    def _make_room(self, width: int) -> None:
        have = self._values.shape[1]
        if width <= have:
            return
        more = max(width, 2 * have) - have
        self._nodes = np.pad(self._nodes, ((0, 0), (0, more)), constant_values=-1)
        self._values = np.pad(self._values, ((0, 0), (0, more)), constant_values=-np.inf)
