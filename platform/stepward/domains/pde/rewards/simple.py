"""Rewards without training that every learned one has to beat."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from stepward.core.config import Config
from stepward.core.interfaces import Domain
from stepward.core.seeding import mix_keys
from stepward.domains.pde.rewards.common import finite_scores
from stepward.domains.pde.states import PDEStates, as_numpy, is_finite
from stepward.rewards.aggregation import sibling_sets


class NearDeterministicSettings(Config):
    """−‖candidate − deterministic‖ relative to the step: "do what the surrogate says". A strong baseline of ranking."""

    kind: Literal["near_deterministic"] = "near_deterministic"

    def build(self, domain: Domain) -> NearDeterministic:
        """The reward model; it has no settings."""
        return NearDeterministic()


class NearMeanSettings(Config):
    """−‖candidate − mean of its siblings‖ relative to the step: a choice that needs neither truth nor training."""

    kind: Literal["near_mean"] = "near_mean"

    def build(self, domain: Domain) -> NearMean:
        """The reward model; the domain's keys tell which children are siblings."""
        return NearMean(domain)


class RandomSettings(Config):
    """A uniform random number that belongs to the state: a random candidate."""

    kind: Literal["random"] = "random"
    seed: int = Field(0, ge=0, description="another seed gives another random order")

    def build(self, domain: Domain) -> RandomReward:
        """The reward model; equal states get equal numbers."""
        return RandomReward(domain, self.seed)


class NoRewardSettings(Config):
    """0 for every step: for proposers that choose themselves."""

    kind: Literal["none"] = "none"

    def build(self, domain: Domain) -> NoReward:
        """The reward model; it has no settings."""
        return NoReward()


class NearDeterministic:
    """Minus the distance to the deterministic output, divided by the length of the deterministic step."""

    num_parameters = 0

    def score(self, parents: PDEStates, children: PDEStates) -> Float[np.ndarray, " n"]:
        """0 for the deterministic output itself, −1 for a change as large as the step; `WORST` where not finite."""
        state, plain, candidate = (as_numpy(f) for f in (parents.fields, children.deterministic, children.fields))
        with np.errstate(over="ignore", invalid="ignore"):
            change, step = (
                ((a - b).astype(np.float64) ** 2).sum((1, 2, 3)) for a, b in ((candidate, plain), (plain, state))
            )
            return finite_scores(-np.sqrt(change / (step + 1e-12)))


class NearMean:
    """Minus the distance to the mean of the siblings that are finite, which must be scored in one call."""

    num_parameters = 0
    of_siblings = True  # a score depends on the siblings

    def __init__(self, domain: Domain) -> None:
        self._domain = domain

    def score(self, parents: PDEStates, children: PDEStates) -> Float[np.ndarray, " n"]:
        """0 for the mean itself, −1 at a distance as large as its step; `WORST` for fields not finite."""
        state, candidate = as_numpy(parents.fields), as_numpy(children.fields)
        sets, good = sibling_sets(parents, self._domain), is_finite(candidate)
        counts = np.maximum(np.bincount(sets, good), 1)
        means = np.zeros((len(counts), *candidate.shape[1:]))
        np.add.at(means, sets[good], candidate[good])
        mean = (means / counts[:, None, None, None])[sets]
        with np.errstate(over="ignore", invalid="ignore"):
            distance, step = (
                ((a - b).astype(np.float64) ** 2).sum((1, 2, 3)) for a, b in ((candidate, mean), (mean, state))
            )
            return finite_scores(-np.sqrt(distance / (step + 1e-12)))


class RandomReward:
    """The number is made from the state's key."""

    num_parameters = 0

    def __init__(self, domain: Domain, seed: int) -> None:
        self.domain, self.seed = domain, seed

    def score(self, parents: PDEStates, children: PDEStates) -> Float[np.ndarray, " n"]:
        """Uniform in [0, 1)."""
        return mix_keys(self.domain.keys(children), self.seed) / 2.0**64


class NoReward:
    """See `NoRewardSettings`."""

    num_parameters = 0

    def score(self, parents: PDEStates, children: PDEStates) -> Float[np.ndarray, " n"]:
        """0 for every child."""
        return np.zeros(len(children))
