"""A surrogate with a small network that corrects its output: what a reward model's weights are worth, spent directly.

The corrector is the trunk of the convolutional reward model with a field for an answer, so both have the same budget.
"""

from __future__ import annotations

import itertools
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import gelu, pixel_shuffle, pixel_unshuffle

from stepward.core.config import Config
from stepward.domains.pde.surrogates.base import Surrogate
from stepward.domains.pde.surrogates.draws import Draws
from stepward.domains.pde.surrogates.latent import LatentSettings
from stepward.domains.pde.surrogates.unet import Padding, UNetSettings
from stepward.domains.pde.surrogates.vit import ViTSettings


class CorrectedSettings(Config):
    """A trained surrogate, kept as it is, and a convolutional correction of its answer."""

    kind: Literal["corrected"] = "corrected"
    base: UNetSettings | ViTSettings | LatentSettings = Field(
        UNetSettings(), discriminator="kind", description="settings of the surrogate that is corrected"
    )
    width: int = Field(32, ge=1, description="channels of a layer of the corrector")
    depth: int = Field(6, ge=2, description="layers of the corrector, the last one included")
    patch: int = Field(2, ge=1, description="cells of a patch along an axis")

    @property
    def num_channels(self) -> int:
        """Channels C of the base."""
        return self.base.num_channels

    def build(self) -> Corrected:
        """The network; the base's weights come with a training or a folder."""
        return Corrected(self)


class Corrected(Surrogate):
    """next = d + step_scale · net(state, d − state), d the base's answer; it starts as the base itself."""

    def __init__(self, settings: CorrectedSettings) -> None:
        base: Surrogate = settings.base.build()
        if base.frames > 1:
            raise ValueError(f"Corrected: expected a surrogate that reads one frame, got one of {base.frames}.")
        super().__init__(base.num_channels, max(base.multiple, settings.patch))
        self.settings, self.base = settings, base.requires_grad_(False)
        self.periodic = base.periodic
        padding: Padding = "circular" if base.periodic else "replicate"
        inner, widths = base.num_channels * settings.patch**2, [settings.width] * (settings.depth - 1)
        sizes = [2 * inner, *widths, inner]
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1, padding_mode=padding) for a, b in itertools.pairwise(sizes)
        )
        for parameter in self.layers[-1].parameters():  # no correction at the start
            nn.init.zeros_(parameter)

    def forward(self, fields: Float[Tensor, "n c h w"], draws: Draws | None = None) -> Float[Tensor, "n c h w"]:
        """Fields one step later."""
        self.check(fields)
        plain = self.base(fields, draws)
        x = torch.cat([(fields - self.mean) / self.scale, (plain - fields) / self.step_scale], dim=1)
        x = pixel_unshuffle(x, self.settings.patch)
        for layer in self.layers[:-1]:
            x = gelu(layer(x))
        return plain + self.step_scale * pixel_shuffle(self.layers[-1](x), self.settings.patch)

    def correcting(self) -> list[nn.Parameter]:
        """What is trained: the corrector alone."""
        return list(self.layers.parameters())

    def ready(self) -> None:
        """Says what the base needs before it can run."""
        self.base.ready()
