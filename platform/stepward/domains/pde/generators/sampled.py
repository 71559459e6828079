"""Generators that switch on chance inside the network: τ, MC dropout, latent noise, a random code."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from stepward.domains.pde.generators.base import GeneratorSettings, SampledGenerator
from stepward.domains.pde.surrogates import Draws, RowNoise, Surrogate


class TauSettings(GeneratorSettings):
    """The residual corrector at τ ~ U(low, high). Source's ranges: .3 to .7, and .15 to .85."""

    kind: Literal["tau"] = "tau"
    low: float = Field(0.15, ge=0, le=1, description="smallest τ; 0 is the full correction")
    high: float = Field(0.85, ge=0, le=1, description="largest τ; 1 is none")
    sigma: float = Field(0.0, ge=0, description="noise on the latent that is decoded, in its standard deviations")

    @model_validator(mode="after")
    def _ordered(self) -> TauSettings:
        if not self.low <= self.high:
            raise ValueError(f"expected low <= high, got {self.low} and {self.high}")
        return self

    def build(self) -> TauGenerator:
        """The generator, with its surrogate loaded; needs one with a residual corrector."""
        return TauGenerator(self.load(), self)


class TauGenerator(SampledGenerator):
    """Candidates that differ in how much of the correction is believed."""

    NEEDS = "tau"

    def __init__(self, surrogate: Surrogate, settings: TauSettings) -> None:
        super().__init__(surrogate, include_deterministic=settings.include_deterministic)
        self._range, self._sigma = (settings.low, settings.high), settings.sigma

    def draws(self, noise: RowNoise) -> Draws:
        """One τ a candidate, and noise on the corrector's output where asked for."""
        return Draws(noise, tau_range=self._range, output_sigma=self._sigma)


class DropoutSettings(GeneratorSettings):
    """MC dropout: dropout stays on. Source: Gal and Ghahramani 2016; the generator of arXiv:2509.02846."""

    kind: Literal["dropout"] = "dropout"

    def build(self) -> DropoutGenerator:
        """The generator, with its surrogate loaded; needs one with dropout."""
        return DropoutGenerator(self.load(), include_deterministic=self.include_deterministic)


class DropoutGenerator(SampledGenerator):
    """One dropout mask a candidate."""

    NEEDS = "dropout"

    def draws(self, noise: RowNoise) -> Draws:
        """Masks that belong to the row's stream."""
        return Draws(noise, dropout=True)


class LatentSettings(GeneratorSettings):
    """Noise in every hidden layer: one number a channel, relative to the layer's size in that row."""

    kind: Literal["latent"] = "latent"
    sigma: float = Field(0.05, gt=0, description="σ in units of the layer's root mean square")

    def build(self) -> LatentGenerator:
        """The generator, with its surrogate loaded."""
        return LatentGenerator(self.load(), self)


class LatentGenerator(SampledGenerator):
    """Perturbed hidden layers."""

    NEEDS = "latent"

    def __init__(self, surrogate: Surrogate, settings: LatentSettings) -> None:
        super().__init__(surrogate, include_deterministic=settings.include_deterministic)
        self._sigma = settings.sigma

    def draws(self, noise: RowNoise) -> Draws:
        """Relative noise of size σ in every hidden layer."""
        return Draws(noise, latent_sigma=self._sigma)


class CodeSettings(GeneratorSettings):
    """The random code of a network that was trained with the CRPS."""

    kind: Literal["code"] = "code"

    def build(self) -> CodeGenerator:
        """The generator, with its surrogate loaded; needs one trained with a code."""
        return CodeGenerator(self.load(), include_deterministic=self.include_deterministic)


class CodeGenerator(SampledGenerator):
    """One code a candidate; the deterministic output is that of the code 0."""

    NEEDS = "code"

    def draws(self, noise: RowNoise) -> Draws:
        """A standard normal code a candidate."""
        return Draws(noise, code=True)
