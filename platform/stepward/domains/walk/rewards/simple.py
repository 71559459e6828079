"""Reward models that need no training: exact values, the optimum, distance, the greedy path, and random numbers."""

from __future__ import annotations

import math
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
from stepward.domains.walk.optimum import optimal_steps
from stepward.domains.walk.states import WalkStates, successors


class ExactReward(Config):
    """V^π of the child under the softmax walker: what a reward model trained on its continuations estimates. It is no
    bound on what a guide can solve: that is `OptimalReward`.
    """

    kind: Literal["exact"] = "exact"
    SCALE: ClassVar[Scale] = "probability"
    temperature: float = Field(1.0, gt=0, description="temperature of the softmax walker whose values these are")

    def build(self, domain: Domain) -> _Exact:
        """The reward model for this temperature; values are solved when first asked for."""
        return _Exact(self.temperature)


class OptimalReward(Config):
    """Minus the least steps to the target: the true optimum, which no guide can beat."""

    kind: Literal["optimal"] = "optimal"
    BOUND: ClassVar[bool] = True

    def build(self, domain: Domain) -> _Optimal:
        """The reward model."""
        return _Optimal()


class DistanceReward(Config):
    """−|current − target|: the heuristic anybody would try first."""

    kind: Literal["distance"] = "distance"

    def build(self, domain: Domain) -> _Distance:
        """The reward model; it has no settings."""
        return _Distance()


class GreedyPathReward(Config):
    """Minus the steps until the path arrives that always moves as close to the target as it can: arithmetic that the
    trained model sees as features.
    """

    kind: Literal["greedy_path"] = "greedy_path"

    def build(self, domain: Domain) -> _GreedyPath:
        """The rule."""
        return _GreedyPath()


class RandomReward(Config):
    """A uniform random number that belongs to the state: unguided search."""

    kind: Literal["random"] = "random"
    seed: int = Field(0, ge=0, description="another seed gives another random order")

    def build(self, domain: Domain) -> _Random:
        """The reward model; equal states get equal numbers."""
        return _Random(domain, self.seed)


class _Exact:
    num_parameters = 0

    def __init__(self, temperature: float) -> None:
        self.temperature = temperature

    def score(self, parents: WalkStates, children: WalkStates) -> Float[np.ndarray, " n"]:
        if not len(children):
            return np.zeros(0)
        most, max_steps = max(np.abs(n).max() for n in (children.start, children.target)), children.steps_left.max()
        values = exact_values(_limit(int(most), 50), _limit(int(max_steps), 10), self.temperature)
        return values.value(children.current, children.target, children.steps_left)


class _Optimal:
    num_parameters = 0

    def score(self, parents: WalkStates, children: WalkStates) -> Float[np.ndarray, " n"]:
        return -optimal_steps(children.current, children.target, children.steps_left).astype(np.float64)


class _Distance:
    num_parameters = 0

    def score(self, parents: WalkStates, children: WalkStates) -> Float[np.ndarray, " n"]:
        return -np.abs(children.current - children.target).astype(np.float64)


class _GreedyPath:
    num_parameters = 0
    LOST = 1000.0  # beyond any number of steps: numbers whose path does not arrive come last, the nearest first

    def score(self, parents: WalkStates, children: WalkStates) -> Float[np.ndarray, " n"]:
        current, target = children.current, children.target
        steps = np.zeros(len(children))
        for left in range(int(children.steps_left.max(initial=0))):
            moving = (current != target) & (children.steps_left > left)
            if not moving.any():
                break
            after = successors(current)
            nearest = after[np.arange(len(after)), np.abs(after - target[:, None]).argmin(axis=1)]
            current, steps = np.where(moving, nearest, current), steps + moving
        return -np.where(current == target, steps, self.LOST + np.abs(children.current - target))


class _Random:
    num_parameters = 0

    def __init__(self, domain: Domain, seed: int) -> None:
        self.domain, self.seed = domain, seed

    def score(self, parents: WalkStates, children: WalkStates) -> Float[np.ndarray, " n"]:
        problem = mix_keys(children.start * 4096 + children.target, self.seed)
        with np.errstate(over="ignore"):
            return mix_keys(self.domain.keys(children) ^ problem, self.seed) / 2.0**64


def _limit(number: int, least: int) -> int:
    """`number` rounded up to `least` times a power of two: few tables, which hold the values of all smaller limits."""
    return least * 2 ** max(0, math.ceil(math.log2(max(number, 1) / least)))


@lru_cache(maxsize=4)
def exact_values(max_abs: int, max_steps: int, temperature: float) -> ExactValues:
    """The tables of V^π, one a process for each setting; those of 64 MiB at most are in memory (`ExactValues`)."""
    return ExactValues(max_abs, max_steps, temperature)


def exact_value(states: WalkStates) -> Float[np.ndarray, " n"]:
    """V^π of states under the softmax walker of temperature 1."""
    return _Exact(1.0).score(states, states)
