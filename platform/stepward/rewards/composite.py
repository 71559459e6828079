"""One reward model from several: named parts with weights, for example .7 of a PRM and .3 of a heuristic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import logit

from stepward.core.batch import Batch
from stepward.core.cost import Combinator, metered_reward
from stepward.core.interfaces import WORST, Domain, RewardModel
from stepward.core.registry import lookup
from stepward.rewards.aggregation import sibling_sets, sibling_z_score

EDGE = 1e-6  # probabilities are kept this far from 0 (and from 1) before their logarithm or logit is taken

SIBLINGS = "siblings"


def _standardised(scores: np.ndarray, siblings: np.ndarray) -> Float[np.ndarray, " n"]:
    usable = scores > WORST
    z = np.full(len(scores), -np.inf)
    z[usable] = sibling_z_score(scores[usable], siblings[usable])
    return z


# Scores, and numbers of the sibling sets they belong to -> scores.
TRANSFORMS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "none": lambda r, _: r,
    # log p: weighted log-probabilities are a product of experts, Π p_i^{w_i}.
    "log": lambda p, _: np.log(np.maximum(p, EDGE)),
    # log p / (1 − p): probabilities on an additive scale, without an edge at 1.
    "logit": lambda p, _: logit(np.clip(p, EDGE, 1 - EDGE)),
    # −log(1 + |r|): puts a cost of large range (a distance, an error) beside probabilities.
    "negative_log_cost": lambda r, _: -np.log1p(np.abs(r)),
    # z among the children of one parent, which must be scored in one call: weights mean what they say, whatever the
    # scales. A child that the part cannot use (`WORST`) is −∞, and has no share in the others' mean.
    SIBLINGS: _standardised,
}


@dataclass(frozen=True)
class Part:
    """One part of a composite.

    Attributes:
        reward: the reward model.
        weight: share, >= 0, relative to the other parts. A part of weight 0 is never evaluated, nor charged.
        transform: a name in `TRANSFORMS`, applied to its scores first.
    """

    reward: RewardModel
    weight: float = 1.0
    transform: str = "none"


class Composite(Combinator):
    """score = Σ_i w̄_i f_i(r_i), with w̄_i = w_i / Σ_j w_j.

    Args:
        parts: name -> part.
        domain: what the parts are metered in.

    Raises:
        ValueError: a weight is negative or not finite, all of them are 0, or a transform does not exist.
    """

    def __init__(self, parts: Mapping[str, Part], domain: Domain) -> None:
        weights = {name: part.weight for name, part in parts.items()}
        total = sum(weights.values())
        if not (all(np.isfinite(w) and w >= 0 for w in weights.values()) and total > 0):
            raise ValueError(f"Composite: expected finite weights >= 0 and one above 0 at least, got {weights}.")
        self._transforms = {n: lookup(TRANSFORMS, part.transform, kind="transform") for n, part in parts.items()}
        self._rewards = {n: metered_reward(part.reward, domain) for n, part in parts.items() if part.weight > 0}
        self.weights = {name: weights[name] / total for name in self._rewards}
        self._domain, self._needs_siblings = domain, any(parts[n].transform == SIBLINGS for n in self._rewards)

    def components(self, parents: Batch, children: Batch) -> dict[str, Float[np.ndarray, " n"]]:
        """Part -> its transformed scores, before the weights; parts of weight 0 are absent."""
        siblings = np.zeros(len(children), np.int64)
        if self._needs_siblings:
            siblings = sibling_sets(parents, self._domain)
        return {
            n: self._transforms[n](reward.score(parents, children), siblings) for n, reward in self._rewards.items()
        }

    def score(self, parents: Batch, children: Batch) -> Float[np.ndarray, " n"]:
        """Weighted sum of the parts' transformed scores; a child that one of the parts cannot use scores `WORST`."""
        found = self.components(parents, children)
        total = np.sum([self.weights[name] * scores for name, scores in found.items()], axis=0)
        return np.where(np.isfinite(total), total, WORST)
