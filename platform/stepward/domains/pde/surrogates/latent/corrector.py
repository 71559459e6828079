"""A diffusion residual corrector: what is left between the operator's prediction and the truth, at level τ.

Between prediction p (τ = 0) and truth y (τ = 1) lies the Brownian bridge x_τ = p + τ (y − p) + s √(τ (1 − τ)) ε. The
network reads x_τ, τ and the tokens before the step (cond), and predicts the rest of the way, y − x_τ.

    one evaluation:  x + drift(x, τ, cond)

At x = p and τ = 0 this is the full correction. With τ drawn at random, a prediction that has not moved is taken for one
that has gone a share τ of the way, so corrections are the smaller the larger τ is: one-dimensional diversity.

Sources: Liu et al. 2023, "I²SB", arXiv:2302.05872 (bridges); Song et al. 2023, "Consistency models", arXiv:2303.01469.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ResidualCorrector(nn.Module):
    """A three-layer SiLU MLP on [z, τ, cond], token by token; it starts as no correction.

    Args:
        latent_dim: D, of z and of cond.
        hidden: units of both hidden layers.
    """

    def __init__(self, latent_dim: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2 * latent_dim + 1, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU()
        )
        self.output = nn.Linear(hidden, latent_dim)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(
        self, z: Float[Tensor, "n t d"], tau: Float[Tensor, " n"], cond: Float[Tensor, "n t d"]
    ) -> Float[Tensor, "n t d"]:
        """Drift: what to add to `z` to arrive at the truth."""
        level = tau[:, None, None].expand(*z.shape[:2], 1).to(z)
        return self.output(self.layers(torch.cat([z, level, cond], dim=2)))
