"""Reward models that need no training and no network: random numbers, length, and the proposer's own likelihood."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from stepward.core.config import Config
from stepward.core.interfaces import Domain
from stepward.core.seeding import mix_keys
from stepward.core.wing import Scale
from stepward.domains.math.states import MathStates, prefix_keys

__all__ = ["LengthReward", "LikelihoodReward", "RandomReward"]


class RandomReward(Config):
    """A uniform random number in [0, 1) that belongs to the question and text: unguided search."""

    kind: Literal["random"] = "random"
    seed: int = Field(0, ge=0, description="another seed gives another random order")

    def build(self, domain: Domain) -> _Random:
        """The reward model; equal solutions get equal numbers."""
        return _Random(self.seed)


class LengthReward(Config):
    """Minus the length of the solution so far: the shortest wins. For aggregation ``last``."""

    kind: Literal["length"] = "length"
    unit: Literal["tokens", "steps", "characters"] = Field(
        "tokens", description="what is counted: sampled tokens, steps, or characters of the last step"
    )

    def build(self, domain: Domain) -> _Length:
        """The reward model, in tokens or in characters."""
        return _Length(self.unit)


class LikelihoodReward(Config):
    """Log p under the proposer at temperature 1, in nats: what it believes itself, at no further cost.

    ``step`` is for aggregation ``sum`` (or beside log PRM in a composite: log p + λ log PRM), ``path`` for ``last``.
    """

    kind: Literal["likelihood"] = "likelihood"
    SCALE: ClassVar[Scale] = "log_probability"
    of: Literal["step", "path"] = Field("path", description="log p of the last line, or of the whole solution so far")
    per_token: bool = Field(False, description="divide by the number of tokens, so that long texts do not lose")

    def build(self, domain: Domain) -> _Likelihood:
        """The reward model, which reads what the proposer stored with each step."""
        return _Likelihood(self.of, self.per_token)


class _Random:
    num_parameters = 0

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def score(self, parents: MathStates, children: MathStates) -> Float[np.ndarray, " n"]:
        return (mix_keys(prefix_keys(children), self.seed) >> np.uint64(11)) * 2.0**-53


class _Length:
    num_parameters = 0

    def __init__(self, unit: Literal["tokens", "steps", "characters"]) -> None:
        self.unit = unit

    def score(self, parents: MathStates, children: MathStates) -> Float[np.ndarray, " n"]:
        if self.unit == "characters":
            return -np.array([len(steps[-1].strip()) if steps else 0 for steps in children.steps()], np.float64)
        return -(children.num_tokens if self.unit == "tokens" else children.num_steps).astype(np.float64)


class _Likelihood:
    num_parameters = 0

    def __init__(self, of: Literal["step", "path"], per_token: bool) -> None:
        self.of, self.per_token = of, per_token

    def score(self, parents: MathStates, children: MathStates) -> Float[np.ndarray, " n"]:
        log_prob, tokens = children.log_prob, children.num_tokens
        if self.of == "step":
            log_prob, tokens = log_prob - parents.log_prob, tokens - parents.num_tokens
        return log_prob / np.maximum(tokens, 1) if self.per_token else log_prob.astype(np.float64)
