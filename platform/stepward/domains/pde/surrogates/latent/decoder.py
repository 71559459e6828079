"""Latent tokens to fields at any points: a Perceiver decoder with Fourier-encoded queries.

Source: Jaegle et al. 2022, "Perceiver IO", arXiv:2107.14795, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, silu

from stepward.domains.pde.surrogates.vit import NUM_WAVES, grid_waves


class AnyPointDecoder(nn.Module):
    """Queries (points of the unit square) attend to latent tokens; an MLP a channel reads the result.

    Args:
        num_channels: C.
        latent_dim: D.
        hidden: width of a query.
        num_layers, num_heads: of the cross-attention.
        frequencies: f in sin 2π f x and cos 2π f x; whole numbers, since the square is periodic.
    """

    frequencies: Tensor

    def __init__(
        self,
        num_channels: int,
        latent_dim: int,
        hidden: int,
        num_layers: int,
        num_heads: int,
        frequencies: Sequence[float],
    ) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.tensor(frequencies), persistent=False)
        self.embed_query = nn.Linear(4 * len(frequencies), hidden)
        self.embed_token, self.position = nn.Linear(latent_dim, hidden), nn.Linear(4 * NUM_WAVES, hidden)
        self.layers = nn.ModuleList(_CrossAttention(hidden, num_heads) for _ in range(num_layers))
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(hidden, hidden // 2), nn.SiLU(), nn.Linear(hidden // 2, 1))
            for _ in range(num_channels)
        )

    def forward(
        self, z: Float[Tensor, "n t d"], points: Float[Tensor, "q 2"], grid: tuple[int, int]
    ) -> Float[Tensor, "n q c"]:
        """Fields at `points` in [0, 1)²; `grid` is the number of patches along each axis that the tokens stand for."""
        tokens = self.embed_token(z) + self.position(grid_waves(*grid).to(z))
        queries = self.embed_query(self.encode(points)).expand(len(z), -1, -1)
        for layer in self.layers:
            queries = layer(queries, tokens)
        return torch.cat([head(queries) for head in self.heads], dim=2)

    def encode(self, points: Float[Tensor, "q 2"]) -> Float[Tensor, "q f"]:
        """Fourier encoding of points."""
        angles = 2 * torch.pi * points[:, :, None] * self.frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(1)


def cell_centres(height: int, width: int) -> Float[Tensor, "q 2"]:
    """Centres of the cells of a grid on the unit square, row by row."""
    x, y = (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width
    return torch.stack(torch.meshgrid(x, y, indexing="ij"), dim=-1).reshape(-1, 2)


class _CrossAttention(nn.Module):
    """Queries look at tokens; then an MLP. Both add to the queries."""

    def __init__(self, hidden: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm_query, self.norm_token, self.norm_mlp = (nn.LayerNorm(hidden) for _ in range(3))
        self.query, self.key_value = nn.Linear(hidden, hidden), nn.Linear(hidden, 2 * hidden)
        self.merge, self.widen, self.narrow = (
            nn.Linear(hidden, hidden),
            nn.Linear(hidden, 2 * hidden),
            nn.Linear(2 * hidden, hidden),
        )

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        n, num_queries, d = queries.shape
        heads = (self.num_heads, d // self.num_heads)
        q = self.query(self.norm_query(queries)).reshape(n, num_queries, *heads).transpose(1, 2)
        k, v = self.key_value(self.norm_token(tokens)).reshape(n, tokens.shape[1], 2, *heads).permute(2, 0, 3, 1, 4)
        read = scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, num_queries, d)
        queries = queries + self.merge(read)
        return queries + self.narrow(silu(self.widen(self.norm_mlp(queries))))
