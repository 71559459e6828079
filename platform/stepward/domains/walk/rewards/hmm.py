"""The hidden-Markov baseline of the number walk: what the actions taken say about success, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from stepward.core.config import Config
from stepward.domains.walk.rewards.terminal import settled, undecided
from stepward.domains.walk.states import NUM_ACTIONS, WalkStates
from stepward.rewards import hmm


class WalkHMM(Config):
    """A categorical hidden Markov model over actions, with a success share for every hidden state.

    It sees neither the number nor the target, so it is a baseline for what step sequences alone can tell.
    """

    kind: Literal["hmm"] = "hmm"
    num_states: int = Field(8, ge=1, description="hidden states K")
    num_iterations: int = Field(20, ge=1, description="iterations of Baum-Welch, at most")
    num_starts: int = Field(4, ge=1, description="random starts of Baum-Welch, of which the likeliest goes on")
    max_sequences: int = Field(1500, ge=1, description="walks used for Baum-Welch, at most; success shares use all")

    def fit(
        self, states: WalkStates, successes: np.ndarray, num_rollouts: np.ndarray, seed: int
    ) -> dict[str, np.ndarray]:
        """Weights start [K], transition [K, K], emission [K, 6] and success [K]."""
        symbols, lengths = states.actions.astype(np.int64), states.depth
        weights = hmm.fit_categorical_hmm(
            symbols,
            lengths,
            num_states=self.num_states,
            num_symbols=NUM_ACTIONS,
            seed=seed,
            num_iterations=self.num_iterations,
            num_starts=self.num_starts,
            max_sequences=self.max_sequences,
        )
        log_emission = hmm.categorical_log_emission(symbols, weights["emission"])
        posterior = hmm.filtered_posterior(log_emission, lengths, weights["start"], weights["transition"])
        # walks whose end arithmetic settles are not the head's to predict, and would drag its shares down
        rows = np.flatnonzero(undecided(states))
        return weights | {"success": hmm.success_head(posterior[rows], successes[rows], num_rollouts[rows])}

    def reward(self, weights: Mapping[str, np.ndarray]) -> HMMReward:
        """The reward model with these weights."""
        return HMMReward(weights)


class HMMReward:
    """Expected success share under the filtered posterior, except where arithmetic settles it: see `settled`."""

    def __init__(self, weights: Mapping[str, np.ndarray]) -> None:
        self.weights = {name: np.asarray(array, np.float64) for name, array in weights.items()}
        self.num_parameters = sum(array.size for array in self.weights.values())

    def score(self, parents: WalkStates, children: WalkStates) -> Float[np.ndarray, " n"]:
        """Probability of success given the actions taken."""
        log_emission = hmm.categorical_log_emission(children.actions.astype(np.int64), self.weights["emission"])
        return settled(children, hmm.expected_success(log_emission, children.depth, self.weights))
