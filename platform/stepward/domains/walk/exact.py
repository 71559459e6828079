"""Exact values of the number walk by dynamic programming.

V*(current, target, b) = Σ_a π(a | current, target) · V*(a(current), target, b − 1), with V* = 1 on the target and
V*(·, ·, 0) = 0 elsewhere: the probability that the softmax walker reaches the target within b steps.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from stepward.domains.walk.proposer import SoftmaxWalker
from stepward.domains.walk.states import successors


class ExactValues:
    """Tables of V* and of solvability for every target, number and number of steps left.

    Args:
        max_abs: largest absolute start and target.
        max_steps: step budget of a problem.
        temperature: of the softmax walker.

    The tables hold numbers up to R = (max_abs + 6) · 2^⌈max_steps/2⌉. A walk that leaves this range after d steps has
    at most max_steps − d < ⌈max_steps/2⌉ steps left, and one step at best halves the distance to zero: its value is
    exactly 0. So values are exact for every state that a problem can reach. From R = 1500 T + 4 max_abs + 100 on, the
    walker halves with a probability that is 1 in floating point, and never comes from below: long budgets need no
    larger tables, and larger numbers are read after halving.
    """

    def __init__(self, max_abs: int = 50, max_steps: int = 10, temperature: float = 1.0) -> None:
        self.max_abs, self.max_steps = max_abs, max_steps
        self.radius = min((max_abs + 6) * 2 ** -(-max_steps // 2), int(1500 * temperature) + 4 * max_abs + 100)
        self.targets = np.arange(-max_abs, max_abs + 1)
        self._numbers = np.arange(-self.radius, self.radius + 1)
        after = successors(self._numbers)
        self._inside = np.abs(after) <= self.radius
        self._index = np.where(self._inside, after + self.radius, 0)
        walker = SoftmaxWalker(temperature)
        policy = np.stack([walker.probabilities(self._numbers, np.full_like(self._numbers, t)) for t in self.targets])
        self._values = self._recurse(lambda nxt: (policy * nxt).sum(axis=2))
        self._solvable = self._recurse(lambda nxt: nxt.max(axis=2))

    def value(
        self, current: Int[np.ndarray, " n"], target: Int[np.ndarray, " n"], steps_left: Int[np.ndarray, " n"]
    ) -> Float[np.ndarray, " n"]:
        """V* of each state."""
        return self._read(self._values, current, target, steps_left)

    def solvable(
        self, current: Int[np.ndarray, " n"], target: Int[np.ndarray, " n"], steps_left: Int[np.ndarray, " n"]
    ) -> Bool[np.ndarray, " n"]:
        """Whether any sequence of actions reaches the target within the steps left."""
        return self._read(self._solvable, current, target, steps_left) > 0

    def _recurse(self, step: object) -> Float[np.ndarray, "budgets targets numbers"]:
        on_target = self._numbers[None, :] == self.targets[:, None]
        layers = [on_target.astype(np.float64)]
        for _ in range(self.max_steps):
            reached = np.where(self._inside, layers[-1][:, self._index], 0.0)
            layers.append(np.where(on_target, 1.0, step(reached)))  # type: ignore[operator]
        return np.stack(layers)

    def _read(self, table: np.ndarray, current: np.ndarray, target: np.ndarray, steps_left: np.ndarray) -> np.ndarray:
        if len(target) and (np.abs(target).max() > self.max_abs or steps_left.max() > self.max_steps):
            raise ValueError(
                f"Exact values: expected |target| <= {self.max_abs} and steps left <= {self.max_steps}, got "
                f"{np.abs(target).max()} and {steps_left.max()}. Build ExactValues with larger limits."
            )
        far = np.abs(current) > self.radius
        while far.any() and (steps_left[far] > 0).any():
            current, steps_left = np.where(far, current // 2, current), steps_left - far
            far = np.abs(current) > self.radius
        inside = ~far & (steps_left >= 0)
        rows = table[np.maximum(steps_left, 0), target + self.max_abs, np.where(inside, current, 0) + self.radius]
        return np.where(inside, rows, 0.0)
