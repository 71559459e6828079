"""The default surrogate: a small U-Net on 2 x 2 patches. It conserves nothing by itself.

With `code_dim` > 0 it is conditioned on a random code by FiLM (Perez et al. 2018), to be trained with the CRPS; with
`constants` on a constant of the trajectory, as a soft one-hot over these values.
Good values: width 32 on 32 x 32 cells (about 280,000 parameters): one-step NRMSE .043 from 160 trajectories.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import gelu, interpolate, pixel_shuffle, pixel_unshuffle

from stepward.core.config import Config
from stepward.domains.pde.surrogates.base import NormalisedSurrogate
from stepward.domains.pde.surrogates.draws import Draws, RowDropout, channel_noise

Padding = Literal["circular", "replicate"]
TOLD = 0.3  # σ of the first FiLM weights for constants: from 0 a network learns to do without them


class UNetSettings(Config):
    """U-Net on patches."""

    kind: Literal["unet"] = "unet"
    num_channels: int = Field(4, ge=1, description="fields C")
    width: int = Field(32, ge=4, description="channels of the finest level; the coarser one has twice as many")
    patch: int = Field(2, ge=1, description="cells of a patch along an axis")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout rate in every block, for MC dropout")
    padding: Padding = Field("circular", description="circular for periodic data; replicate for walls and outflow")
    code_dim: int = Field(0, ge=0, description="numbers of the random code; 0: a deterministic network")
    frames: int = Field(1, ge=1, description="last frames that it reads; beyond 1, problems.context must hold them")
    constants: tuple[float, ...] = Field(
        (), description="increasing values of a constant (ν, γ) that it is told, or has to guess; none: it is told none"
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> UNetSettings:
        if self.constants and (len(self.constants) < 2 or list(self.constants) != sorted(set(self.constants))):
            raise ValueError(f"constants: expected two increasing values or more, got {list(self.constants)}")
        if self.constants and self.code_dim:
            raise ValueError(f"code_dim: expected 0 with constants, which take its place, got {self.code_dim}")
        if self.frames > 1 and self.code_dim:
            raise ValueError(f"code_dim: expected 0 with frames={self.frames}; the CRPS trains on one frame")
        return self

    def build(self) -> UNet:
        """The network, with weights at random."""
        return UNet(self)


class UNet(NormalisedSurrogate):
    """Two levels, residual blocks, one skip connection; the last convolution starts at 0, which is persistence."""

    def __init__(self, settings: UNetSettings) -> None:
        super().__init__(settings.num_channels, 2 * settings.patch)
        self.settings = settings
        self.periodic = settings.padding == "circular"
        self.frames, self.constants = settings.frames, settings.constants
        width, inner, pad = settings.width, settings.num_channels * settings.patch**2, settings.padding
        self.lift = _conv(settings.frames * inner, width, pad)
        self.fine_in = _Block(width, settings)
        self.down = _conv(width, 2 * width, pad)
        self.coarse = nn.ModuleList(_Block(2 * width, settings) for _ in range(2))
        self.up = _conv(3 * width, width, pad)
        self.fine_out = _Block(width, settings)
        self.project = _conv(width, inner, pad)
        nn.init.zeros_(self.project.weight)
        assert self.project.bias is not None, "convolutions have one"
        nn.init.zeros_(self.project.bias)
        kinds = {"dropout": settings.dropout, "code": settings.code_dim, "guess": settings.constants}
        self.stochastic = frozenset({"latent"} | {kind for kind, present in kinds.items() if present})

    def change(self, fields: Float[Tensor, "n fc h w"], draws: Draws | None) -> Float[Tensor, "n c h w"]:
        """Change over one step, in units of `step_scale`."""
        code = self._code(fields, draws)
        fine = self.fine_in(self.lift(pixel_unshuffle(fields, self.settings.patch)), code, draws)
        coarse = self.down(nn.functional.avg_pool2d(fine, 2))
        for block in self.coarse:
            coarse = block(coarse, code, draws)
        joined = torch.cat([fine, interpolate(coarse, scale_factor=2, mode="nearest")], dim=1)
        fine = self.fine_out(self.up(joined), code, draws)
        return pixel_shuffle(self.project(fine), self.settings.patch)

    def _code(self, fields: Tensor, draws: Draws | None) -> Tensor | None:
        dim = self.settings.code_dim
        if self.constants:
            return self._told(fields, draws)
        if not dim:
            return None
        if draws is not None and draws.code:
            return draws.noise.normal(dim).to(fields)
        return fields.new_zeros(len(fields), dim)

    def _told(self, fields: Tensor, draws: Draws | None) -> Tensor:
        """A soft one-hot: the two values beside the constant share the weight; the middle where it is told none."""
        values = torch.tensor(self.constants, dtype=torch.float64, device=fields.device)
        if draws is None or draws.guess is None:
            place = fields.new_full((len(fields),), (len(values) - 1) / 2, dtype=torch.float64)
        else:
            guess = draws.guess.double().clamp(values[0], values[-1])
            above = torch.searchsorted(values, guess).clamp(1, len(values) - 1)
            place = above - (values[above] - guess) / (values[above] - values[above - 1])
        steps = torch.arange(len(values), device=fields.device)
        return (1 - (place[:, None] - steps).abs()).clamp(min=0).to(fields)


class _Block(nn.Module):
    """x + conv(dropout(gelu(film(conv(gelu(x)))))), with latent noise where asked for."""

    def __init__(self, width: int, settings: UNetSettings) -> None:
        super().__init__()
        self.first, self.second = (_conv(width, width, settings.padding) for _ in range(2))
        self.dropout = RowDropout(settings.dropout)
        dim = settings.code_dim or len(settings.constants)
        self.film = nn.Linear(dim, 2 * width) if dim else None
        if self.film is not None:  # random codes begin without effect, and get the one that the CRPS pays for
            (nn.init.normal_(self.film.weight, std=TOLD) if settings.constants else nn.init.zeros_(self.film.weight))
            nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, code: Tensor | None, draws: Draws | None) -> Tensor:
        hidden = self.first(gelu(x))
        if self.film is not None:
            gain, shift = self.film(code)[:, :, None, None].chunk(2, dim=1)
            hidden = hidden * (1 + gain) + shift
        return channel_noise(x + self.second(self.dropout(gelu(hidden), draws)), draws, 1)


def _conv(fan_in: int, fan_out: int, padding: Padding) -> nn.Conv2d:
    return nn.Conv2d(fan_in, fan_out, 3, padding=1, padding_mode=padding)
