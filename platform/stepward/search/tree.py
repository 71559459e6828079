"""The search tree of many problems at once, as a struct of growing arrays."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, Int8

from stepward.core.batch import Batch
from stepward.core.interfaces import Status


class Tree:
    """Nodes of P problems; node p < P is the root of problem p.

    Attributes (arrays [num_nodes], valid up to `len(tree)`):
        problem: problem of the node.
        parent: node it was proposed from; -1 for roots.
        depth: steps from the root.
        score: reward of the step that made it; 0 for roots.
        value: aggregated score of the path, which searches compare; 0 for roots.
        status: `Status` of the state.
    """

    def __init__(self, roots: Batch, status: Int8[np.ndarray, " p"], path_state: Float[np.ndarray, "p w"]) -> None:
        num = len(roots)
        self._store = _StateStore(roots)
        self._columns: dict[str, _Column] = {
            "problem": _Column(np.asarray(roots.problem, np.int64)),
            "parent": _Column(np.full(num, -1, np.int64)),
            "depth": _Column(np.zeros(num, np.int32)),
            "score": _Column(np.zeros(num)),
            "value": _Column(np.zeros(num)),
            "status": _Column(status),
            "path_state": _Column(path_state),
        }
        self.num_problems = num

    def __len__(self) -> int:
        return len(self._columns["problem"])

    def __getattr__(self, name: str) -> np.ndarray:
        columns = self.__dict__.get("_columns", {})
        if name not in columns:
            raise AttributeError(name)
        return columns[name].view()

    def states(self, nodes: Int[np.ndarray, " n"]) -> Batch:
        """The states of nodes, in that order."""
        return self._store.take(nodes)

    def append(self, states: Batch, parent: Int[np.ndarray, " n"], **columns: np.ndarray) -> Int[np.ndarray, " n"]:
        """Add children of `parent`; returns their node numbers."""
        first = len(self)
        self._store.append(states)
        columns |= {"parent": parent, "problem": self.problem[parent], "depth": self.depth[parent] + 1}
        for name, values in columns.items():
            self._columns[name].append(values)
        return np.arange(first, len(self))

    def open(self, nodes: Int[np.ndarray, " n"]) -> Int[np.ndarray, " m"]:
        """Those of `nodes` that can be expanded."""
        return nodes[self.status[nodes] == Status.OPEN]

    def path(self, node: int) -> list[int]:
        """Nodes from the root to `node`."""
        nodes = [node]
        while (above := int(self.parent[nodes[-1]])) >= 0:
            nodes.append(above)
        return nodes[::-1]


class _Column:
    """An array that grows at its end, doubling its memory when full."""

    def __init__(self, values: np.ndarray) -> None:
        self._data, self._size = np.array(values), len(values)

    def __len__(self) -> int:
        return self._size

    def view(self) -> np.ndarray:
        return self._data[: self._size]

    def append(self, values: np.ndarray) -> None:
        size = self._size + len(values)
        if size > len(self._data):
            grown = np.empty((max(size, 2 * len(self._data)), *self._data.shape[1:]), self._data.dtype)
            grown[: self._size] = self._data[: self._size]
            self._data = grown
        self._data[self._size : size] = values
        self._size = size


class _StateStore:
    """Appended batches with random access, using only what every `Batch` offers: `take` and `concat`.

    The last two pieces are merged while the later has a quarter of the size of the earlier, so there are O(log n)
    pieces and every state is copied O(log n) times.
    """

    def __init__(self, first: Batch) -> None:
        self._pieces = [first]

    def append(self, states: Batch) -> None:
        if not len(states):
            return
        self._pieces.append(states)
        while len(self._pieces) > 1 and 4 * len(self._pieces[-1]) >= len(self._pieces[-2]):
            last = self._pieces.pop()
            self._pieces[-1] = type(last).concat([self._pieces[-1], last])

    def take(self, nodes: Int[np.ndarray, " n"]) -> Batch:
        ends = np.cumsum([len(piece) for piece in self._pieces])
        which = np.searchsorted(ends, nodes, side="right")
        used = np.unique(which)
        parts, rows = [], []
        for index in used:
            here = np.flatnonzero(which == index)
            parts.append(self._pieces[index].take(nodes[here] - (ends[index] - len(self._pieces[index]))))
            rows.append(here)
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return self._pieces[0].take(nodes)
        order = np.empty(len(nodes), np.int64)
        order[np.concatenate(rows)] = np.arange(len(nodes))
        return type(parts[0]).concat(parts).take(order)
