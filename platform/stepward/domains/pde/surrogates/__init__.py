"""Surrogates: networks that take the fields one step on, deterministic or with chance."""

from stepward.domains.pde.surrogates.base import Surrogate, Wrapped, as_given, as_tensor
from stepward.domains.pde.surrogates.corrected import Corrected, CorrectedSettings
from stepward.domains.pde.surrogates.draws import Draws, RowDropout, RowNoise
from stepward.domains.pde.surrogates.exported import ExportedSettings
from stepward.domains.pde.surrogates.fitting import SurrogateFit, fit_surrogate
from stepward.domains.pde.surrogates.fno import FNOSettings
from stepward.domains.pde.surrogates.latent import LatentSettings, LatentStack
from stepward.domains.pde.surrogates.storage import (
    SURROGATES,
    build_surrogate,
    load_surrogate,
    save_surrogate,
    surrogate_kinds,
)
from stepward.domains.pde.surrogates.unet import UNet, UNetSettings
from stepward.domains.pde.surrogates.vit import ViT, ViTSettings

__all__ = [
    "SURROGATES",
    "Corrected",
    "CorrectedSettings",
    "Draws",
    "ExportedSettings",
    "FNOSettings",
    "LatentSettings",
    "LatentStack",
    "RowDropout",
    "RowNoise",
    "Surrogate",
    "SurrogateFit",
    "UNet",
    "UNetSettings",
    "ViT",
    "ViTSettings",
    "Wrapped",
    "as_given",
    "as_tensor",
    "build_surrogate",
    "fit_surrogate",
    "load_surrogate",
    "save_surrogate",
    "surrogate_kinds",
]
