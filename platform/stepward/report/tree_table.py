"""The search tree of one problem as a plain table, small enough to draw."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from stepward.core.batch import Batch
from stepward.core.interfaces import Status
from stepward.search.loop import SearchResult

MAX_NODES = 80


def tree_table(
    result: SearchResult,
    texts: Callable[[Batch], list[str]],
    problem_id: str,
    *,
    words: Callable[[Batch], list[str]] | None = None,
    outcome: Callable[[Batch], np.ndarray] | None = None,
) -> pa.Table:
    """Nodes of a search over one problem that kept its tree, parents before children.

    Args:
        result: of a search with ``keep_tree=True``.
        texts: states -> a short text of each.
        problem_id: of the problem.
        words: states -> the last step of each in full; none: the short text.
        outcome: complete states -> what the verifier says of each; none: not said.

    Returns:
        problem_id, node, parent (-1 at the root), depth, score, text, words, expanded (order of expansion, -1 for
        never), solution (on the way to the best solution), outcome (null where a state is not complete).
    """
    tree = result.tree
    assert tree is not None and tree.num_problems == 1, "a search over one problem, with keep_tree=True"
    nodes = np.arange(len(tree))
    short, complete = texts(tree.states(nodes)), np.flatnonzero(tree.status == Status.COMPLETE)
    judged: list[float | None] = [None] * len(nodes)
    if outcome is not None and len(complete):
        for node, value in zip(complete.tolist(), outcome(tree.states(complete)).tolist(), strict=True):
            judged[node] = value
    solution = np.zeros(len(nodes), bool)
    if result.best[0] >= 0:
        solution[tree.path(_node_of(result))] = True
    return pa.table(
        {
            "problem_id": pa.array([problem_id] * len(nodes), pa.string()),
            "node": nodes,
            "parent": np.array(tree.parent),
            "depth": np.array(tree.depth, np.int64),
            "score": np.array(tree.score),
            "text": pa.array(short, pa.string()),
            "words": pa.array(words(tree.states(nodes)) if words else short, pa.string()),
            "outcome": pa.array(judged, pa.float64()),
            "expanded": expansion_order(np.array(tree.parent)),
            "solution": solution,
        }
    )


def expansion_order(parent: np.ndarray) -> np.ndarray:
    """Order in which nodes were expanded, from the order in which children were made; -1 for those without children.

    A node whose children were all reached before, and dropped, counts as not expanded.
    """
    order = np.full(len(parent), -1, np.int64)
    expanded = list(dict.fromkeys(parent[parent >= 0].tolist()))
    order[expanded] = np.arange(len(expanded))
    return order


def _node_of(result: SearchResult) -> int:
    """Tree node of the best solution: the first complete node of its value."""
    tree, best = result.tree, result.best[0]
    assert tree is not None
    complete = np.flatnonzero((tree.status == 1) & (tree.value == result.value[best]))
    return int(complete[0])
