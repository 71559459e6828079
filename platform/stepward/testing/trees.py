"""A domain whose every tree is written down in tables, so that searches can be checked against brute force."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Int8, UInt64

from stepward.core.batch import ArrayBatch
from stepward.core.seeding import Rng


@dataclass(frozen=True)
class TreeStates(ArrayBatch):
    """States of `TableTree`: `node` indexes its tables."""

    node: Int[np.ndarray, " n"]


@dataclass(frozen=True)
class Tables:
    """A tree in tables.

    Attributes:
        children: node -> its `branching` children, which may be shared between parents; ignored where not open.
        score: reward of the step into each node.
        status: `Status` of each node.
    """

    children: Int[np.ndarray, "nodes branching"]
    score: Float[np.ndarray, " nodes"]
    status: Int8[np.ndarray, " nodes"]


class TableTree:
    """The domain; a state's identity is its node."""

    name = "table_tree"

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def status(self, states: TreeStates) -> Int8[np.ndarray, " n"]:
        """As the table says."""
        return self.tables.status[states.node]

    def keys(self, states: TreeStates) -> UInt64[np.ndarray, " n"]:
        """The number of the node."""
        return states.node.astype(np.uint64)

    def step_tokens(self, states: TreeStates) -> Int[np.ndarray, " n"]:
        """One a step."""
        return np.ones(len(states), np.int64)

    def roots(self, num_problems: int, node: int = 0) -> TreeStates:
        """`num_problems` copies of one root."""
        return TreeStates(problem=np.arange(num_problems), node=np.full(num_problems, node))


class TreeProposer:
    """All children in the order of the table; or random ones with replacement when fewer are asked for."""

    num_parameters = 10
    nfe = 1

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def propose(self, states: TreeStates, *, num_candidates: int, rng: Rng) -> TreeStates:
        """Children by number; without replacement only where all are asked for."""
        if len(rng) != len(states):
            raise ValueError(f"rng: expected one stream a state ({len(states)}), got {len(rng)}.")
        branching = self.tables.children.shape[1]
        if num_candidates == branching:
            picks = np.tile(np.arange(branching), (len(states), 1))
        else:
            picks = rng.integers(0, branching, num_candidates)
        nodes = np.take_along_axis(self.tables.children[states.node], picks, axis=1)
        return TreeStates(problem=np.repeat(states.problem, num_candidates), node=nodes.ravel())


class ReadScore:
    """The score in the table."""

    num_parameters = 5

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def score(self, parents: TreeStates, children: TreeStates) -> Float[np.ndarray, " n"]:
        """The table's score of every child, whatever its parent."""
        if len(parents) != len(children):
            raise ValueError(f"score: expected a parent for every child ({len(children)}), got {len(parents)}.")
        return self.tables.score[children.node]
