"""Reward models that need no training: exact values, distance, and random numbers."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from stepward.core.config import Config
from stepward.core.interfaces import Domain
from stepward.core.seeding import mix_keys
from stepward.core.wing import Scale
from stepward.domains.walk.exact import ExactValues
from stepward.domains.walk.states import WalkStates


class ExactReward(Config):
    """V* of the child under the softmax walker: the upper bound for any reward model trained on its continuations."""

    kind: Literal["exact"] = "exact"
    SCALE: ClassVar[Scale] = "probability"
    temperature: float = Field(1.0, gt=0, description="temperature of the softmax walker whose values these are")

    def build(self, domain: Domain) -> _Exact:
        return _Exact(self.temperature)


class DistanceReward(Config):
    """−|current − target|: the heuristic anybody would try first."""

    kind: Literal["distance"] = "distance"

    def build(self, domain: Domain) -> _Distance:
        return _Distance()


class RandomReward(Config):
    """A uniform random number that belongs to the state: unguided search."""

    kind: Literal["random"] = "random"
    seed: int = Field(0, ge=0, description="another seed gives another random order")

    def build(self, domain: Domain) -> _Random:
        return _Random(domain, self.seed)


class _Exact:
    num_parameters = 0

    def __init__(self, temperature: float) -> None:
        self.temperature = temperature

    def score(self, parents: WalkStates, children: WalkStates) -> Float[np.ndarray, " n"]:
        if not len(children):
            return np.zeros(0)
        max_abs, max_steps = int(np.abs(children.target).max()), int(children.steps_left.max())
        tens = 10 * max(1, -(-max_steps // 10))  # few tables: one of a longer budget holds the values of shorter ones
        values = exact_values(max(50, max_abs), tens, self.temperature)
        return values.value(children.current, children.target, children.steps_left)


class _Distance:
    num_parameters = 0

    def score(self, parents: WalkStates, children: WalkStates) -> Float[np.ndarray, " n"]:
        return -np.abs(children.current - children.target).astype(np.float64)


class _Random:
    num_parameters = 0

    def __init__(self, domain: Domain, seed: int) -> None:
        self.domain, self.seed = domain, seed

    def score(self, parents: WalkStates, children: WalkStates) -> Float[np.ndarray, " n"]:
        problem = mix_keys(children.start * 4096 + children.target, self.seed)
        with np.errstate(over="ignore"):
            return mix_keys(self.domain.keys(children) ^ problem, self.seed) / 2.0**64


@lru_cache(maxsize=4)
def exact_values(max_abs: int, max_steps: int, temperature: float) -> ExactValues:
    """The tables of V*, made once a process for each setting."""
    return ExactValues(max_abs, max_steps, temperature)


def exact_value(states: WalkStates) -> Float[np.ndarray, " n"]:
    """V* of states under the softmax walker of temperature 1."""
    return _Exact(1.0).score(states, states)
