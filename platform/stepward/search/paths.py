"""What a search found for each problem, step by step: the path from the problem to its answer."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from stepward.core.interfaces import Status
from stepward.search.loop import SearchResult
from stepward.search.tree import Tree


def best_paths(result: SearchResult) -> Int[np.ndarray, "p steps"]:
    """Tree nodes from each problem to its best solution; without one, to the longest path that is not dead, of highest
    value. The first column holds the problems themselves; −1 where a path has ended.

    Raises:
        ValueError: the search did not keep its tree.
    """
    tree = result.tree
    if tree is None:
        raise ValueError("best_paths: expected a search with keep_tree=True; there is no tree to read.")
    found = [tree.path(_end(tree, problem)) for problem in range(tree.num_problems)]
    nodes = np.full((len(found), max(map(len, found), default=1)), -1, np.int64)
    for problem, path in enumerate(found):
        nodes[problem, : len(path)] = path
    return nodes


def _end(tree: Tree, problem: int) -> int:
    nodes = np.flatnonzero((tree.problem == problem) & (tree.status != Status.DEAD))
    if not len(nodes):
        return problem
    complete = tree.status[nodes] == Status.COMPLETE
    order = np.lexsort((-nodes, tree.value[nodes], tree.depth[nodes], complete))
    return int(nodes[order[-1]])
