"""The latent surrogate: encode, step, correct, decode.

A step in physical space adds the *change* that the decoder sees between two latents, fields + D(z') − D(E(fields)), so
details that the latent cannot hold stay instead of being smoothed away at every step.

Rewards are computed on decoded fields. Through a decoder that was not trained they would be noise, so the stack
measures its reconstruction error after training (`measure_decoder`), stores it with the weights, and refuses rollouts
without it.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from stepward.core.config import Config
from stepward.domains.pde.surrogates.base import Surrogate
from stepward.domains.pde.surrogates.draws import Draws
from stepward.domains.pde.surrogates.latent.corrector import ResidualCorrector
from stepward.domains.pde.surrogates.latent.decoder import AnyPointDecoder, cell_centres
from stepward.domains.pde.surrogates.latent.encoder import PatchEncoder
from stepward.domains.pde.surrogates.latent.operator import LatentOperator


class LatentSettings(Config):
    """Latent operator, diffusion residual corrector and any-point decoder; defaults are the source's sizes."""

    kind: Literal["latent"] = "latent"
    num_channels: int = Field(4, ge=1, description="fields C")
    patch: int = Field(4, ge=1, description="cells of a patch along an axis; 32 x 32 cells give 64 tokens")
    latent_dim: int = Field(16, ge=1, description="numbers of a token")
    hidden: int = Field(96, ge=8, description="width of encoder, operator and corrector")
    depth: int = Field(2, ge=1, description="transformer blocks of the operator")
    num_heads: int = Field(4, ge=1, description="attention heads of operator and decoder; must divide both widths")
    decoder_hidden: int = Field(96, ge=8, description="width of a query of the decoder")
    decoder_layers: int = Field(2, ge=1, description="cross-attentions of the decoder")
    frequencies: tuple[float, ...] = Field((1.0, 2.0, 4.0, 8.0), description="frequencies of the query's Fourier code")
    max_reconstruction_error: float = Field(0.5, gt=0, description="relative error above which rollouts are refused")

    def build(self) -> LatentStack:
        """The network, with weights at random."""
        return LatentStack(self)


class LatentStack(Surrogate):
    """See the module. Without chance the corrector is asked once, at τ = 0."""

    stochastic = frozenset({"tau", "latent", "output"})
    decoder_error: Tensor

    def __init__(self, settings: LatentSettings) -> None:
        super().__init__(settings.num_channels, settings.patch)
        if settings.hidden % settings.num_heads or settings.decoder_hidden % settings.num_heads:
            raise ValueError(
                f"Latent stack: expected num_heads to divide hidden {settings.hidden} and decoder_hidden "
                f"{settings.decoder_hidden}, got {settings.num_heads}."
            )
        self.settings, dim = settings, settings.latent_dim
        self.encoder = PatchEncoder(settings.num_channels, settings.patch, settings.hidden, dim)
        self.operator = LatentOperator(dim, settings.hidden, settings.depth, settings.num_heads)
        self.corrector = ResidualCorrector(dim, settings.hidden)
        self.decoder = AnyPointDecoder(
            settings.num_channels,
            dim,
            settings.decoder_hidden,
            settings.decoder_layers,
            settings.num_heads,
            settings.frequencies,
        )
        self.register_buffer("decoder_error", torch.tensor(torch.inf))

    def forward(self, fields: Float[Tensor, "n c h w"], draws: Draws | None = None) -> Float[Tensor, "n c h w"]:
        """Fields one step later."""
        self.check(fields)
        size = (fields.shape[2], fields.shape[3])
        before = self.encode(fields)
        after = self.correct(self.predict(before, size, draws), before, draws)
        if draws is not None and draws.output_sigma:
            after = after + draws.output_sigma * after.detach().flatten(1).std(dim=1)[
                :, None, None
            ] * draws.noise.normal(*after.shape[1:]).to(after)
        return fields + self.scale * (self.decode(after, size) - self.decode(before, size))

    def encode(self, fields: Float[Tensor, "n c h w"]) -> Float[Tensor, "n t d"]:
        """Physical fields -> latent tokens."""
        return self.encoder((fields - self.mean) / self.scale)

    def predict(
        self, z: Float[Tensor, "n t d"], size: tuple[int, int], draws: Draws | None = None
    ) -> Float[Tensor, "n t d"]:
        """The operator's prediction, before correction; `size` is that of the grid of cells."""
        return self.operator(z, self._patches(size), draws)

    def correct(
        self, z: Float[Tensor, "n t d"], cond: Float[Tensor, "n t d"], draws: Draws | None = None
    ) -> Float[Tensor, "n t d"]:
        """One evaluation of the corrector, at τ = 0 or at τ drawn in the range asked for."""
        tau = z.new_zeros(len(z))
        if draws is not None and draws.tau_range is not None:
            low, high = draws.tau_range
            tau = (low + (high - low) * draws.noise.uniform(1)[:, 0]).to(z)
        return z + self.corrector(z, tau, cond)

    def decode(self, z: Float[Tensor, "n t d"], size: tuple[int, int]) -> Float[Tensor, "n c h w"]:
        """Normalised fields at the centres of a grid of cells."""
        values = self.decoder(z, cell_centres(*size).to(z), self._patches(size))
        return values.transpose(1, 2).reshape(len(z), -1, *size)

    def decode_at(
        self, z: Float[Tensor, "n t d"], points: Float[Tensor, "q 2"], size: tuple[int, int]
    ) -> Float[Tensor, "n q c"]:
        """Physical fields at any points of the unit square; `size` is that of the grid that was encoded."""
        values = self.decoder(z, points, self._patches(size))
        return values * self.scale[:, 0, 0] + self.mean[:, 0, 0]

    @torch.no_grad()
    def measure_decoder(self, fields: Float[Tensor, "n c h w"]) -> float:
        """Set and return the relative reconstruction error, ‖D(E(u)) − u‖ / ‖u‖ of normalised fields."""
        normalised = (fields - self.mean) / self.scale
        rebuilt = self.decode(self.encode(fields), (fields.shape[2], fields.shape[3]))
        self.decoder_error.fill_((rebuilt - normalised).norm() / normalised.norm())
        return float(self.decoder_error)

    def ready(self) -> None:
        """Refuse rollouts through a decoder that was not trained, or not well.

        Raises:
            ValueError: the reconstruction error was never measured, or is above the limit.
        """
        limit = self.settings.max_reconstruction_error
        if not self.decoder_error <= limit:
            raise ValueError(
                f"Latent surrogate: expected a decoder with a measured reconstruction error of at most {limit}, got "
                f"{float(self.decoder_error):.3g} (inf: never measured). Rewards of fields from an untrained decoder "
                "mean nothing. Train it longer, call measure_decoder, or raise max_reconstruction_error."
            )

    def _patches(self, size: tuple[int, int]) -> tuple[int, int]:
        return size[0] // self.settings.patch, size[1] // self.settings.patch
