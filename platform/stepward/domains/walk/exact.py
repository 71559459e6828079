"""Exact values of the number walk by dynamic programming.

V^π(current, target, b) = Σ_a π(a | current, target) · V^π(a(current), target, b − 1), with V^π = 1 on the target and
V^π(·, ·, 0) = 0 elsewhere: the probability that the softmax walker reaches the target within b steps.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from jaxtyping import Float, Int

from stepward.domains.walk.proposer import SoftmaxWalker
from stepward.domains.walk.states import successors

TABLE_BYTES = 64 * 2**20  # of the tables that are kept; a target takes 0.3 MB with the default limits


class ExactValues:
    """V^π for every target, number and number of steps left; the table of a target is made when it is first asked for.

    Args:
        max_abs: largest absolute start and target.
        max_steps: step budget of a problem.
        temperature: of the softmax walker.
        table_bytes: memory for tables; beyond it, those of targets that did not come with a new one for longest go.

    The tables hold numbers up to R = (max_abs + 6) · 2^⌈max_steps/2⌉. A walk that leaves this range after d steps has
    at most max_steps − d < ⌈max_steps/2⌉ steps left, and one step at best halves the distance to zero: its value is
    exactly 0. So values are exact for every state that a problem can reach. From R = 1500 T + 4 max_abs + 100 on, the
    walker halves with a probability that is 1 in floating point, and never comes from below: long budgets need no
    larger tables, and larger numbers are read after halving.
    """

    def __init__(
        self, max_abs: int = 50, max_steps: int = 10, temperature: float = 1.0, *, table_bytes: int = TABLE_BYTES
    ) -> None:
        self.max_abs, self.max_steps = max_abs, max_steps
        self.radius = min((max_abs + 6) * 2 ** -(-max_steps // 2), int(1500 * temperature) + 4 * max_abs + 100)
        self._numbers = np.arange(-self.radius, self.radius + 1)
        after = successors(self._numbers)
        self._inside = np.abs(after) <= self.radius
        self._index = np.where(self._inside, after + self.radius, 0)
        self._walker = SoftmaxWalker(temperature)
        shape = (max_steps + 1, len(self._numbers))
        self.capacity = max(1, min(2 * max_abs + 1, table_bytes // (8 * shape[0] * shape[1])))
        self._tables = np.empty((self.capacity, *shape))  # memory is taken when a table is written
        self._slots: OrderedDict[int, int] = OrderedDict()  # target -> its table; the first gives way first
        self._slot_of = np.full(2 * max_abs + 1, -1)

    def value(
        self, current: Int[np.ndarray, " n"], target: Int[np.ndarray, " n"], steps_left: Int[np.ndarray, " n"]
    ) -> Float[np.ndarray, " n"]:
        """V^π of each state.

        Raises:
            ValueError: a target or a number of steps beyond the limits.
        """
        if len(target) and (np.abs(target).max() > self.max_abs or steps_left.max() > self.max_steps):
            raise ValueError(
                f"Exact values: expected |target| <= {self.max_abs} and steps left <= {self.max_steps}, got "
                f"{np.abs(target).max()} and {steps_left.max()}. Build ExactValues with larger limits."
            )
        if (self._slot_of[target + self.max_abs] >= 0).all():
            return self._read(current, target, steps_left)
        wanted = np.unique(target)
        if len(wanted) <= self.capacity:
            self._have(wanted)
            return self._read(current, target, steps_left)
        found = np.empty(len(target))
        for first in range(0, len(wanted), self.capacity):
            some = wanted[first : first + self.capacity]
            self._have(some)
            rows = np.flatnonzero((target >= some[0]) & (target <= some[-1]))
            found[rows] = self._read(current[rows], target[rows], steps_left[rows])
        return found

    def _have(self, targets: Int[np.ndarray, " t"]) -> None:
        """Make the tables of some targets that are missing; none of theirs gives way."""
        for target in targets.tolist():
            if target in self._slots:
                self._slots.move_to_end(target)
        for target in targets.tolist():
            if target not in self._slots:
                self._slots[target] = slot = self._free_slot()
                self._slot_of[target + self.max_abs] = slot
                self._fill(self._tables[slot], target)

    def _free_slot(self) -> int:
        if len(self._slots) < self.capacity:
            return len(self._slots)
        old, slot = self._slots.popitem(last=False)
        self._slot_of[old + self.max_abs] = -1
        return slot

    def _fill(self, table: Float[np.ndarray, "budgets numbers"], target: int) -> None:
        policy = self._walker.probabilities(self._numbers, np.full_like(self._numbers, target))
        on_target = self._numbers == target
        table[0] = on_target
        for budget in range(self.max_steps):
            reached = np.where(self._inside, table[budget][self._index], 0.0)
            table[budget + 1] = np.where(on_target, 1.0, (policy * reached).sum(axis=1))

    def _read(
        self, current: Int[np.ndarray, " n"], target: Int[np.ndarray, " n"], steps_left: Int[np.ndarray, " n"]
    ) -> Float[np.ndarray, " n"]:
        far = np.abs(current) > self.radius
        while far.any() and (steps_left[far] > 0).any():
            current, steps_left = np.where(far, current // 2, current), steps_left - far
            far = np.abs(current) > self.radius
        inside = ~far & (steps_left >= 0)
        slots = self._slot_of[target + self.max_abs]
        rows = self._tables[slots, np.maximum(steps_left, 0), np.where(inside, current, 0) + self.radius]
        return np.where(inside, rows, 0.0)
