"""The number walk: from a start to a target by six arithmetic steps, within a step budget.

It is small enough for exact values, so labels, reward models and searches can be checked against the truth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, Int8, UInt64

from stepward.core.batch import ArrayBatch
from stepward.core.interfaces import Status

ACTIONS: tuple[str, ...] = ("+1", "-1", "*2", "/2", "+3", "-3")
NUM_ACTIONS = len(ACTIONS)
_DOUBLED = np.array([0, 0, 1, 0, 0, 0])
_HALVED = np.array([0, 0, 0, 1, 0, 0])
_ADDED = np.array([1, -1, 0, 0, 3, -3])


@dataclass(frozen=True)
class WalkStates(ArrayBatch):
    """n walks under way.

    Attributes:
        start: number the walk began at.
        target: number to reach.
        current: number reached so far.
        steps_left: steps that may still be taken.
        actions: indices into `ACTIONS` of the steps taken, in order; -1 where none was taken yet.
    """

    start: Int[np.ndarray, " n"]
    target: Int[np.ndarray, " n"]
    current: Int[np.ndarray, " n"]
    steps_left: Int[np.ndarray, " n"]
    actions: Int8[np.ndarray, "n max_steps"]

    @property
    def depth(self) -> Int[np.ndarray, " n"]:
        """Steps taken so far."""
        return (self.actions >= 0).sum(axis=1)

    def without_history(self) -> WalkStates:
        """The same walks without the steps taken: neither the walker nor the verifier looks at them."""
        return self.replace(actions=self.actions[:, :0])


class Walk:
    """The domain as a search sees it. Reaching the target is visible to anybody: the target is part of the problem."""

    name = "walk"

    def status(self, states: WalkStates) -> Int8[np.ndarray, " n"]:
        """Complete on the target, dead without steps left elsewhere."""
        reached = states.current == states.target
        spent = states.steps_left <= 0
        return np.where(reached, Status.COMPLETE, np.where(spent, Status.DEAD, Status.OPEN)).astype(np.int8)

    def keys(self, states: WalkStates) -> UInt64[np.ndarray, " n"]:
        """The future depends on the current number and the steps left, not on how the number was reached."""
        return (states.current.astype(np.int64) * 4096 + states.steps_left).astype(np.uint64)

    def step_tokens(self, states: WalkStates) -> Int[np.ndarray, " n"]:
        """A step is no text: it counts as one token."""
        return np.ones(len(states), np.int64)


def roots(start: Int[np.ndarray, " n"], target: Int[np.ndarray, " n"], max_steps: int) -> WalkStates:
    """Walks that have not taken a step yet; problem i is row i."""
    num = len(start)
    return WalkStates(
        problem=np.arange(num),
        start=start.astype(np.int64),
        target=target.astype(np.int64),
        current=start.astype(np.int64),
        steps_left=np.full(num, max_steps),
        actions=np.full((num, max_steps), -1, np.int8),
    )


def act(current: Int[np.ndarray, ...], action: Int[np.ndarray, ...]) -> Int[np.ndarray, ...]:
    """The number after each action; ÷2 rounds down. Arguments broadcast against each other.

    Every action is ((current << doubled) >> halved) + added: table look-ups instead of a choice among six results.
    """
    return (current << _DOUBLED[action] >> _HALVED[action]) + _ADDED[action]


def successors(current: Int[np.ndarray, " n"]) -> Int[np.ndarray, "n 6"]:
    """The number after each of the six actions, in the order of `ACTIONS`."""
    return np.stack([current + 1, current - 1, current * 2, current // 2, current + 3, current - 3], axis=1)


def advance(states: WalkStates, action: Int[np.ndarray, " n"]) -> WalkStates:
    """Every walk after one more step. Walks that are over (target reached or no step left) stay as they are.

    Staying put lets a batch of rollouts of different lengths advance together.
    """
    going: Bool[np.ndarray, " n"] = (states.current != states.target) & (states.steps_left > 0)
    current = act(states.current, action)
    return states.replace(
        current=current if going.all() else np.where(going, current, states.current),
        steps_left=states.steps_left - going,
        actions=_record(states, action, going) if states.actions.shape[1] else states.actions,
    )


def _record(
    states: WalkStates, action: Int[np.ndarray, " n"], going: Bool[np.ndarray, " n"]
) -> Int8[np.ndarray, "n max_steps"]:
    actions = states.actions.copy()
    rows = np.flatnonzero(going)
    actions[rows, states.depth[rows]] = action[rows]
    return actions
