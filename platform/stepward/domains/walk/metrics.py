"""What an evaluation asks of number walks: which states are the same question, and the same walk with other budgets."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from stepward.domains.walk.states import WalkStates


def situations(states: WalkStates) -> Int[np.ndarray, " n"]:
    """Equal for states with the same current number, target and steps left, whatever their start: one value V^π."""
    wide = states.current.astype(np.int64) * 2**24 + states.target.astype(np.int64) * 2**8
    return wide + states.steps_left


def rebudget(states: WalkStates, factor: float) -> WalkStates:
    """The walks with `factor` times the steps they have left, rounded down; walks that may still move keep 1 at least.

    The record of actions grows or shrinks at its end so that taken and remaining steps fit exactly.
    """
    left = np.where(states.steps_left > 0, np.maximum(np.floor(states.steps_left * factor), 1), 0).astype(np.int64)
    width = int((states.depth + left).max(initial=0))
    actions = np.full((len(states), width), -1, np.int8)
    kept = min(width, states.actions.shape[1])
    actions[:, :kept] = states.actions[:, :kept]
    return states.replace(steps_left=left, actions=actions)
