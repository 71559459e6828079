"""A generator whose candidates are guesses of a constant that nobody is told: a viscosity, a ratio of specific heats.

Here a choice has something to verify that the generator cannot know, and the last frames show it.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from stepward.domains.pde.generators.base import Generator, GeneratorSettings
from stepward.domains.pde.references import constant_of
from stepward.domains.pde.states import PDEStates
from stepward.domains.pde.surrogates import Draws, RowNoise, Surrogate


class GuessSettings(GeneratorSettings):
    """Candidate k of K takes the k-th of K values for true, evenly placed over those that the surrogate knows."""

    kind: Literal["guess"] = "guess"
    keeps: bool = Field(False, description="after the first step go on with the guess that led there, as it is")
    value: float | None = Field(None, description="always this value: a constant, for comparison; none: K guesses")
    is_told: bool = Field(False, description="is told the truth: a bound for comparison, no method")

    def build(self) -> GuessGenerator:
        """The generator; a ValueError says which settings contradict one another."""
        if self.is_told and self.value is not None:
            raise ValueError(f"value: expected none with is_told, got {self.value:g}")
        if self.include_deterministic:
            raise ValueError("include_deterministic: expected false, because every candidate is a guess")
        return GuessGenerator(self.load(), self)


class GuessGenerator(Generator):
    """The surrogate under K values of its constant; its deterministic output is that of the middle value."""

    NEEDS = "guess"

    def __init__(self, surrogate: Surrogate, settings: GuessSettings) -> None:
        super().__init__(surrogate, include_deterministic=settings.include_deterministic)
        self.settings = settings

    def candidates(
        self,
        fields: Float[Tensor, "n fc h w"],
        plain: Float[Tensor, "n c h w"],
        states: PDEStates,
        noise: RowNoise,
        k: int,
    ) -> Float[Tensor, "m c h w"]:
        """The surrogate's answer under each guess."""
        guesses = torch.from_numpy(self.guesses(states, k)).to(fields.device)
        return self.forward(fields.repeat_interleave(k, dim=0), Draws.told(guesses))

    def guesses(self, states: PDEStates, k: int) -> Float[np.ndarray, " m"]:
        """One value a candidate, [n * k]."""
        known, how = np.asarray(self.surrogate.constants), self.settings
        places = np.linspace(0, len(known) - 1, k) if k > 1 else np.array([(len(known) - 1) / 2])
        values = np.tile(np.interp(places, np.arange(len(known)), known), (len(states), 1))
        if how.is_told:
            values[:] = np.array([constant_of(name) for name in states.reference.tolist()])[:, None]
        elif how.value is not None:
            values[:] = how.value
        elif how.keeps:
            kept = np.isfinite(states.guess)
            values[kept] = states.guess[kept, None]
        return values.ravel()

    def rollout_policy(self) -> GuessGenerator:
        """The same that keeps the guess of a state: how a candidate goes on."""
        return GuessGenerator(self.surrogate, self.settings.model_copy(update={"keeps": True}))

    def charged_passes(self, num_candidates: int) -> float:
        """One pass a candidate, and one for the middle value."""
        return (num_candidates + 1.0) / num_candidates
