"""A vision transformer on patches, with dropout that can stay on: the surrogate of arXiv:2509.02846.

Positions are sines and cosines of the place on the periodic square, so weights fit every grid.
Good values: the defaults, 4.8 million parameters, are the paper's size; width 64, depth 3 trains on a laptop.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import gelu, pixel_shuffle, scaled_dot_product_attention

from stepward.core.config import Config
from stepward.domains.pde.surrogates.base import NormalisedSurrogate
from stepward.domains.pde.surrogates.draws import Draws, RowDropout, channel_noise

NUM_WAVES = 4  # waves per axis in the position code


class ViTSettings(Config):
    """Vision transformer with dropout."""

    kind: Literal["vit"] = "vit"
    num_channels: int = Field(4, ge=1, description="fields C")
    patch: int = Field(4, ge=1, description="cells of a patch along an axis")
    width: int = Field(256, ge=8, description="numbers of a token")
    depth: int = Field(6, ge=1, description="transformer blocks")
    num_heads: int = Field(8, ge=1, description="attention heads; must divide the width")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout rate after attention and in the MLP")

    def build(self) -> ViT:
        """The network, with weights at random."""
        return ViT(self)


class ViT(NormalisedSurrogate):
    """Pre-norm transformer over all patches of the grid."""

    stochastic = frozenset({"dropout", "latent"})

    def __init__(self, settings: ViTSettings) -> None:
        super().__init__(settings.num_channels, settings.patch)
        if settings.width % settings.num_heads:
            raise ValueError(f"ViT: expected num_heads to divide width {settings.width}, got {settings.num_heads}.")
        self.settings = settings
        inner = settings.num_channels * settings.patch**2
        self.embed = nn.Conv2d(settings.num_channels, settings.width, settings.patch, stride=settings.patch)
        self.position = nn.Linear(4 * NUM_WAVES, settings.width)
        self.blocks = nn.ModuleList(
            TransformerBlock(settings.width, settings.num_heads, settings.dropout) for _ in range(settings.depth)
        )
        self.norm, self.project = nn.LayerNorm(settings.width), nn.Linear(settings.width, inner)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)
        if not settings.dropout:
            self.stochastic = frozenset({"latent"})

    def change(self, fields: Float[Tensor, "n c h w"], draws: Draws | None) -> Float[Tensor, "n c h w"]:
        """Change over one step, in units of `step_scale`."""
        grid = self.embed(fields)
        rows, columns = grid.shape[2:]
        x = grid.flatten(2).transpose(1, 2) + self.position(grid_waves(rows, columns).to(fields))
        for block in self.blocks:
            x = block(x, draws)
        tokens = self.project(self.norm(x)).transpose(1, 2)
        return pixel_shuffle(tokens.reshape(len(fields), -1, rows, columns), self.settings.patch)


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)); dropout after both."""

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.merge = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout_attention, self.dropout_hidden, self.dropout_mlp = (RowDropout(dropout) for _ in range(3))

    def forward(self, x: Float[Tensor, "n t d"], draws: Draws | None = None) -> Float[Tensor, "n t d"]:
        """Tokens [n, t, d] to tokens of the same shape."""
        x = x + self.dropout_attention(self._attention(self.norm_attention(x)), draws)
        hidden = self.dropout_hidden(gelu(self.widen(self.norm_mlp(x))), draws)
        return channel_noise(x + self.dropout_mlp(self.narrow(hidden), draws), draws, 2)

    def _attention(self, x: Tensor) -> Tensor:
        n, t, d = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, self.num_heads, d // self.num_heads).permute(2, 0, 3, 1, 4)
        return self.merge(scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, d))


def grid_waves(rows: int, columns: int) -> Float[Tensor, "t f"]:
    """Sin and cos of 2π k x for k = 1 … NUM_WAVES at the centres of rows x columns patches of the unit square."""
    x, y = ((torch.arange(size) + 0.5) / size for size in (rows, columns))
    places = torch.stack([x[:, None].expand(rows, columns), y[None].expand(rows, columns)], dim=-1).reshape(-1, 2)
    angles = 2 * torch.pi * places[:, :, None] * torch.arange(1, NUM_WAVES + 1)
    return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(1)
