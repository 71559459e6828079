"""Generators that need one forward pass a state: nothing, noise, and a few directions that make sense."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn.functional import conv2d, pad

from stepward.domains.pde.generators.base import DeterministicGenerator, Generator, GeneratorSettings
from stepward.domains.pde.states import PDEStates
from stepward.domains.pde.surrogates import RowNoise, Surrogate


class DeterministicSettings(GeneratorSettings):
    """No chance: all candidates are the surrogate's own answer."""

    kind: Literal["deterministic"] = "deterministic"

    def build(self) -> DeterministicGenerator:
        """The generator, with its surrogate loaded."""
        return DeterministicGenerator(self.load())


class NoiseSettings(GeneratorSettings):
    """Gaussian noise on the next fields, cell by cell. It cannot help much: the error of all candidates is alike."""

    kind: Literal["noise"] = "noise"
    schedule: tuple[float, ...] = Field(
        (0.08, 0.05, 0.02),
        min_length=1,
        description="σ at the first, second, … step, the last from then on, in units of a step",
    )

    def build(self) -> NoiseGenerator:
        """The generator, with its surrogate loaded."""
        return NoiseGenerator(self.load(), self)


class NoiseGenerator(Generator):
    """d + σ(step) · step_scale · ε."""

    def __init__(self, surrogate: Surrogate, settings: NoiseSettings) -> None:
        super().__init__(surrogate, include_deterministic=settings.include_deterministic)
        self._schedule = np.asarray(settings.schedule)

    def candidates(
        self,
        fields: Float[Tensor, "n fc h w"],
        plain: Float[Tensor, "n c h w"],
        states: PDEStates,
        noise: RowNoise,
        k: int,
    ) -> Float[Tensor, "m c h w"]:
        """The deterministic output plus noise whose σ depends on the step."""
        sigma = self._schedule[np.minimum(states.steps, len(self._schedule) - 1)]
        repeated = plain.repeat_interleave(k, dim=0)
        size = torch.from_numpy(np.repeat(sigma, k)).to(repeated)[:, None, None, None] * self.surrogate.step_scale
        return repeated + size * noise.normal(*plain.shape[1:])


class StructuredSettings(GeneratorSettings):
    """A few numbers a candidate: how much sharper, and how much further than the surrogate's answer."""

    kind: Literal["structured"] = "structured"
    sharpness: float = Field(0.4, ge=0, description="standard deviation of a: sharper (a > 0) or smoother")
    progress: float = Field(0.1, ge=0, description="standard deviation of b: further (b > 0) or less far")
    centre: tuple[float, float] = Field(
        (0.0, 0.0),
        description="(a, b) that candidates lie around, and that is the deterministic output: the best constant of an "
        "evaluation (rivals/constant), so that no constant is left to be gained",
    )
    per_channel: bool = Field(False, description="draw a and b for every channel instead of once")

    def build(self) -> StructuredGenerator:
        """The generator, with its surrogate loaded."""
        return StructuredGenerator(self.load(), self)


class StructuredGenerator(Generator):
    """c = d + a (d − blur d) + b (d − u), a ~ N(0, σ_a), b ~ N(0, σ_b); d: deterministic output, u: fields before.

    Noise of many dimensions gives candidates of nearly one error (its spread goes with √(2 / dimensions)); two or eight
    numbers do not, so a choice is worth something. Sharpening (b = 0) keeps all sums of d. With a `centre`, d is the
    surrogate's answer moved by it.

    Good values: the defaults, chosen by the oracle's gain over ten steps on validation. Wider ones (.8, .25) have a
    larger gain to offer and worse candidates to fall for.
    """

    def __init__(self, surrogate: Surrogate, settings: StructuredSettings) -> None:
        super().__init__(surrogate, include_deterministic=settings.include_deterministic)
        self._sizes, self._per_channel = (settings.sharpness, settings.progress), settings.per_channel
        self._centre, self._settings = settings.centre, settings

    def rollout_policy(self) -> Generator:
        """The deterministic output, the centre of the candidates."""
        still = {"sharpness": 0.0, "progress": 0.0, "include_deterministic": True}
        moved = self._centre != (0.0, 0.0)
        return (
            StructuredGenerator(self.surrogate, self._settings.model_copy(update=still))
            if moved
            else super().rollout_policy()
        )

    def deterministic(self, fields: Float[Tensor, "n fc h w"]) -> Float[Tensor, "n c h w"]:
        """The surrogate's answer, moved to the centre of the candidates."""
        plain = super().deterministic(fields)
        return plain if self._centre == (0.0, 0.0) else self._moved(fields, plain, *self._centre)[:, 0]

    def candidates(
        self,
        fields: Float[Tensor, "n fc h w"],
        plain: Float[Tensor, "n c h w"],
        states: PDEStates,
        noise: RowNoise,
        k: int,
    ) -> Float[Tensor, "m c h w"]:
        """Outputs that are sharper and go further by the drawn amounts a and b."""
        n, channels = plain.shape[:2]
        drawn = noise.normal(2, channels if self._per_channel else 1).reshape(n, k, 2, -1)
        a, b = (size * drawn[:, :, i, :, None, None] for i, size in enumerate(self._sizes))
        return self._moved(fields, plain, a, b).flatten(0, 1)

    def _moved(self, fields: Tensor, plain: Tensor, a: Any, b: Any) -> Float[Tensor, "n k c h w"]:
        sharper = (plain - blur(plain, periodic=self.surrogate.periodic))[:, None]
        further = (plain - fields[:, -plain.shape[1] :])[:, None]
        return plain[:, None] + a * sharper + b * further


def blur(fields: Float[Tensor, "n c h w"], *, periodic: bool = True) -> Float[Tensor, "n c h w"]:
    """Binomial blur, (1, 2, 1) / 4 along each axis, periodic or with the last cell again beyond the ends; it keeps the
    sum of every channel.
    """
    line = fields.new_tensor([0.25, 0.5, 0.25])
    kernel = (line[:, None] * line).expand(fields.shape[1], 1, 3, 3)
    padded = pad(fields, (1, 1, 1, 1), mode="circular" if periodic else "replicate")
    return conv2d(padded, kernel, groups=fields.shape[1])
