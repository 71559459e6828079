"""Lookahead: score a step by what may come after it as well.

Wraps any reward model; a search cannot tell the difference, except in its costs, which include the rollouts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from stepward.core.batch import Batch, repeat
from stepward.core.cost import Combinator, metered_proposer, metered_reward
from stepward.core.interfaces import Domain, Proposer, RewardModel
from stepward.core.rollout import forked, rollout
from stepward.core.seeding import Rng, mix_keys
from stepward.rewards.aggregation import sibling_leads, sibling_sets

READINGS = ("sum", "last")


class Lookahead(Combinator):
    """Rolls every child forward and adds up what is met on the way.

    With r_0 the child's own reward and r_1 … r_T the rewards of the steps of a rollout of at most h steps:

        reading "sum":   score = r_0 + mean over rollouts of Σ_{t=1..T} γ^t r_t     for rewards that add up
        reading "last":  score = mean over rollouts of γ^T r_T                      for success probabilities

    Depth 0 is the inner model itself. Every child is rolled forward, not the best few: were only some to collect
    rewards, an argmax over all would prefer those where rewards are positive and avoid them where they are negative.
    A rollout ends at a complete or dead state, and nothing is added after that.

    A child's random stream is made from its state (the domain's key) and `seed`: its score depends neither on the batch
    nor on when it is asked for, and equal states share their rollouts.

    Source: Snell et al. 2024, "Scaling LLM test-time compute optimally", section 5.1 (reading "last", γ = 1, one greedy
    rollout). Good values: depth 1 to 3; what it gains must be compared at equal cost, since it multiplies the cost of a
    child by 1 + depth · num_rollouts.

    Args:
        inner: the reward model to look ahead with.
        proposer: the policy of the rollouts.
        domain: tells open states from others, and meters.
        depth: h >= 0, in steps.
        discount: γ in (0, 1].
        num_rollouts: rollouts a child, >= 1.
        reading: "sum" or "last".
        seed: of the rollouts.
        margin: children of a parent whose best leads the second by so many standard deviations of their scores are not
            rolled forward, none of them; siblings must be scored in one call then. None: all are rolled forward.
    """

    def __init__(
        self,
        inner: RewardModel,
        proposer: Proposer,
        domain: Domain,
        *,
        depth: int,
        discount: float = 1.0,
        num_rollouts: int = 1,
        reading: str = "sum",
        seed: int = 0,
        margin: float | None = None,
    ) -> None:
        if depth < 0 or num_rollouts < 1 or not 0 < discount <= 1:
            raise ValueError(
                "Lookahead: expected depth >= 0, num_rollouts >= 1 and 0 < discount <= 1, got "
                f"{depth}, {num_rollouts} and {discount}."
            )
        if reading not in READINGS:
            raise ValueError(f"Lookahead: expected reading among {list(READINGS)}, got {reading!r}.")
        self._inner, self._proposer = metered_reward(inner, domain), metered_proposer(proposer, domain)
        self._domain, self.depth, self.discount = domain, depth, discount
        self.num_rollouts, self.reading, self.seed, self.margin = num_rollouts, reading, seed, margin

    def score(self, parents: Batch, children: Batch) -> Float[np.ndarray, " n"]:
        """Rewards of the steps from `parents` to `children`, and of the rollouts from there."""
        own = self._inner.score(parents, children)
        if self.depth == 0 or not len(children):
            return own
        unsure = np.arange(len(children))
        if self.margin is not None:
            unsure = np.flatnonzero(sibling_leads(own, sibling_sets(parents, self._domain)) < self.margin)
        found, children = own.copy(), children.take(unsure)
        streams = Rng(mix_keys(self._domain.keys(children), self.seed)).repeat(self.num_rollouts)
        returns = self._roll(repeat(children, self.num_rollouts), np.repeat(own[unsure], self.num_rollouts), streams)
        found[unsure] = returns.reshape(len(unsure), self.num_rollouts).mean(axis=1)
        return found

    def _roll(self, states: Batch, own: Float[np.ndarray, " m"], streams: Rng) -> Float[np.ndarray, " m"]:
        """Return of one rollout from each state; only rows that are still under way take part in a step."""
        returns = own.copy()
        how: dict[str, Any] = {"domain": self._domain, "proposer": self._proposer, "max_steps": self.depth}
        for step in rollout(states, streams=forked(streams, first=1), **how):
            reward = self.discount**step.number * self._inner.score(step.parents, step.children)
            returns[step.rows] = reward + (returns[step.rows] if self.reading == "sum" else 0.0)
        return returns
