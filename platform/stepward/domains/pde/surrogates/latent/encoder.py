"""Fields on a grid to latent tokens, one a patch."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu


class PatchEncoder(nn.Module):
    """A convolution over patches and one residual layer a token.

    Args:
        num_channels: C.
        patch: cells of a patch along an axis.
        hidden: width of the layer.
        latent_dim: numbers of a token, D.
    """

    def __init__(self, num_channels: int, patch: int, hidden: int, latent_dim: int) -> None:
        super().__init__()
        self.embed = nn.Conv2d(num_channels, hidden, patch, stride=patch)
        self.mix = nn.Conv2d(hidden, hidden, 3, padding=1, padding_mode="circular")
        self.project = nn.Linear(hidden, latent_dim)

    def forward(self, fields: Float[Tensor, "n c h w"]) -> Float[Tensor, "n t d"]:
        """Tokens in the order of the patches, row by row."""
        patches = self.embed(fields)
        return self.project((patches + self.mix(silu(patches))).flatten(2).transpose(1, 2))
