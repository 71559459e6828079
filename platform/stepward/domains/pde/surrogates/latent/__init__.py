"""Encoder, latent operator, residual corrector and any-point decoder."""

from stepward.domains.pde.surrogates.latent.stack import LatentSettings, LatentStack

__all__ = ["LatentSettings", "LatentStack"]
