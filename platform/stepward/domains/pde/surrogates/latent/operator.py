"""One time step of the latent tokens."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from stepward.domains.pde.surrogates.draws import Draws
from stepward.domains.pde.surrogates.vit import NUM_WAVES, TransformerBlock, grid_waves


class LatentOperator(nn.Module):
    """z' = z + transformer(z): tokens are widened, mixed by attention, and narrowed; it starts as persistence.

    Args:
        latent_dim: D.
        hidden: width of a token inside.
        depth, num_heads: of the transformer.
    """

    def __init__(self, latent_dim: int, hidden: int, depth: int, num_heads: int) -> None:
        super().__init__()
        self.widen, self.position = nn.Linear(latent_dim, hidden), nn.Linear(4 * NUM_WAVES, hidden)
        self.blocks = nn.ModuleList(TransformerBlock(hidden, num_heads, 0.0) for _ in range(depth))
        self.norm, self.narrow = nn.LayerNorm(hidden), nn.Linear(hidden, latent_dim)
        nn.init.zeros_(self.narrow.weight)
        nn.init.zeros_(self.narrow.bias)

    def forward(
        self, z: Float[Tensor, "n t d"], grid: tuple[int, int], draws: Draws | None = None
    ) -> Float[Tensor, "n t d"]:
        """Tokens one step later; `grid` is the number of patches along each axis."""
        x = self.widen(z) + self.position(grid_waves(*grid).to(z))
        for block in self.blocks:
            x = block(x, draws)
        return z + self.narrow(self.norm(x))
