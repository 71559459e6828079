"""What anybody can see of a walk without a model: some are over, and some can no longer arrive."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from stepward.domains.walk.rewards.features import reachable
from stepward.domains.walk.states import WalkStates


def settled(states: WalkStates, probability: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """`probability`, but exactly 1 on the target, and exactly 0 where the target is out of reach.

    Both are arithmetic, not knowledge of the truth: a walk on its target is complete, one without steps has nothing to
    come, and an interval bounds every number within the steps left. Two fifths of all children in a search have value
    0; that they tie at 0 instead of being ordered by the network's noise is worth .02 of sibling rank correlation.
    """
    possible = np.where(reachable(states), probability, 0.0)
    return np.where(states.current == states.target, 1.0, possible)


def finished(states: WalkStates, probability: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """`probability`, but 1 on the target and 0 where no step is left: what the status of a walk says."""
    going = np.where(states.steps_left > 0, probability, 0.0)
    return np.where(states.current == states.target, 1.0, going)


def undecided(states: WalkStates) -> Bool[np.ndarray, " n"]:
    """True where `settled` leaves the probability as it is."""
    return reachable(states) & (states.current != states.target)
