"""The softmax walker's policy, and a table of it where walks spend their time: close to the target."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from stepward.domains.walk.states import NUM_ACTIONS, successors

REACH = 512  # offsets current − target that the table covers are those in [−REACH, REACH)
MAX_TARGET = 1024  # largest absolute target that it covers; it grows with the targets seen, 40 KB each


class SoftmaxPolicy:
    """π(a | current, target) = softmax over actions of gain in absolute distance / temperature, drawn by inversion.

    The table holds for each (target, offset) the five inner edges of the cumulated distribution, so that a draw is five
    look-ups and comparisons; it gives the same actions as the formula, which serves the states outside.
    """

    def __init__(self, temperature: float) -> None:
        self.temperature = temperature
        self._first, self._last = 0, -1  # targets in the table
        self._edges = np.empty((NUM_ACTIONS - 1, 0))

    def probabilities(self, current: Int[np.ndarray, " n"], target: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n 6"]:
        """π of each of the six actions."""
        gain = np.abs(current - target)[:, None] - np.abs(successors(current) - target[:, None])
        weights = np.exp((gain - gain.max(axis=1, keepdims=True)) / self.temperature)
        return weights / weights.sum(axis=1, keepdims=True)

    def actions(
        self, current: Int[np.ndarray, " n"], target: Int[np.ndarray, " n"], uniform: Float[np.ndarray, " n"]
    ) -> Int[np.ndarray, " n"]:
        """The action in whose part of the cumulated distribution each number in (0, 1) falls."""
        if not len(current):
            return np.zeros(0, np.int8)
        low, high = int(target.min()), int(target.max())
        self._cover(low, high)
        offset = current - target + REACH
        within = (offset >= 0) & (offset < 2 * REACH)
        if low < self._first or high > self._last:
            within &= (target >= self._first) & (target <= self._last)
        if within.all():
            return self._look_up(target, offset, uniform)
        chosen = np.empty(len(current), np.int8)
        there, away = np.flatnonzero(within), np.flatnonzero(~within)
        chosen[there] = self._look_up(target[there], offset[there], uniform[there])
        chosen[away] = (uniform[away] > self._cumulated(current[away], target[away])).sum(axis=0)
        return chosen

    def _look_up(self, target: np.ndarray, offset: np.ndarray, uniform: np.ndarray) -> Int[np.ndarray, " n"]:
        cell = (target - self._first) * (2 * REACH) + offset
        chosen = np.zeros(len(cell), np.int8)
        for edges in self._edges:
            chosen += uniform > edges[cell]
        return chosen

    def _cumulated(self, current: np.ndarray, target: np.ndarray) -> Float[np.ndarray, "5 n"]:
        return np.cumsum(self.probabilities(current, target), axis=1).T[:-1]

    def _cover(self, low: int, high: int) -> None:
        """Let the table hold all targets from `low` to `high`, as far as they are within MAX_TARGET."""
        low, high = max(low, -MAX_TARGET), min(high, MAX_TARGET)
        if low > high or (self._first <= low and high <= self._last):
            return
        if self._first <= self._last:
            low, high = min(low, self._first), max(high, self._last)
        targets = np.repeat(np.arange(low, high + 1), 2 * REACH)
        offsets = np.tile(np.arange(-REACH, REACH), high - low + 1)
        self._edges = np.ascontiguousarray(self._cumulated(targets + offsets, targets))
        self._first, self._last = low, high
