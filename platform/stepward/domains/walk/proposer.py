"""Proposers: the softmax walker, which is the policy that labels are about, the uniform one, and all actions."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from stepward.core.batch import repeat
from stepward.core.seeding import Rng
from stepward.domains.walk.policy import SoftmaxPolicy
from stepward.domains.walk.states import NUM_ACTIONS, WalkStates, advance


class SoftmaxWalker:
    """Policy π(a | current, target) = softmax over actions of (gain in absolute distance / temperature).

    Args:
        temperature: 1 is the source's value; small prefers the largest gain, large is uniform.
    """

    num_parameters = 0
    nfe = 0

    def __init__(self, temperature: float = 1.0) -> None:
        if not temperature > 0:
            raise ValueError(f"temperature: expected a number above 0, got {temperature}.")
        self.temperature = temperature
        self._policy = SoftmaxPolicy(temperature)

    def propose(self, states: WalkStates, *, num_candidates: int, rng: Rng) -> WalkStates:
        """Independent draws, so children may repeat."""
        children = states if num_candidates == 1 else repeat(states, num_candidates)
        uniform = rng.uniform(num_candidates).reshape(-1)
        return advance(children, self._policy.actions(children.current, children.target, uniform))

    def probabilities(self, current: Int[np.ndarray, " n"], target: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n 6"]:
        """π of each of the six actions."""
        return self._policy.probabilities(current, target)


class UniformWalker:
    """Every action with probability 1/6: walks off the softmax walker's path."""

    num_parameters = 0
    nfe = 0

    def propose(self, states: WalkStates, *, num_candidates: int, rng: Rng) -> WalkStates:
        """Independent draws, so children may repeat."""
        actions = rng.integers(0, NUM_ACTIONS, num_candidates).reshape(-1)
        return advance(repeat(states, num_candidates), actions)


class ActionEnumerator:
    """Children by different actions: all six when six candidates are asked for, else a random subset of that size."""

    num_parameters = 0
    nfe = 0

    def propose(self, states: WalkStates, *, num_candidates: int, rng: Rng) -> WalkStates:
        """Different actions for every state, of at most 6."""
        if not 1 <= num_candidates <= NUM_ACTIONS:
            raise ValueError(
                f"num_candidates: expected 1 to {NUM_ACTIONS}, the number of different actions, got {num_candidates}. "
                "Use the softmax proposer for more candidates than actions."
            )
        if num_candidates == NUM_ACTIONS:
            actions = np.tile(np.arange(NUM_ACTIONS), len(states))
        else:
            actions = np.argsort(rng.uniform(NUM_ACTIONS), axis=1)[:, :num_candidates].reshape(-1)
        return advance(repeat(states, num_candidates), actions)
