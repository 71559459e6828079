"""The best of K by a reward model, as a proposer: the policy that a search of width 1 follows."""

from __future__ import annotations

import numpy as np

from stepward.core.batch import Batch, repeat
from stepward.core.cost import Combinator, metered_proposer, metered_reward
from stepward.core.interfaces import Domain, Proposer, RewardModel
from stepward.core.seeding import Rng


class Greedy(Combinator):
    """Proposes K candidates for every child it is asked for, and hands on the one of highest score.

    For rollouts that follow a guide, such as those whose states are labelled for the next round of training.

    Args:
        proposer: makes the candidates. reward: scores them.
        domain: what both are metered in.
        num_candidates: K >= 2.
    """

    nfe = 0

    def __init__(self, proposer: Proposer, reward: RewardModel, domain: Domain, num_candidates: int) -> None:
        if num_candidates < 2:
            raise ValueError(f"num_candidates: expected 2 candidates or more to choose from, got {num_candidates}.")
        self._proposer, self._reward = metered_proposer(proposer, domain), metered_reward(reward, domain)
        self._k = num_candidates

    def propose(self, states: Batch, *, num_candidates: int, rng: Rng) -> Batch:
        """`num_candidates` children of every state, each the best of K candidates of its own."""
        parents = repeat(states, num_candidates)
        streams = rng.fork(rng.counter).repeat(num_candidates)
        rng.counter += 1
        candidates = self._proposer.propose(parents, num_candidates=self._k, rng=streams)
        scores = self._reward.score(repeat(parents, self._k), candidates).reshape(-1, self._k)
        return candidates.take(np.arange(len(parents)) * self._k + scores.argmax(axis=1))
