"""A Fourier neural operator (Li et al. 2021, arXiv:2010.08895) from the package `neuraloperator`: the extra `fno`.

Good values: modes 12, width 32, depth 4 on 32 x 32 cells (about 360,000 parameters); modes at most half the cells.
"""

from __future__ import annotations

from typing import Any, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from stepward.core.config import Config
from stepward.domains.pde.surrogates.base import NormalisedSurrogate
from stepward.domains.pde.surrogates.draws import Draws

__all__ = ["FNO", "FNOSettings"]


class FNOSettings(Config):
    """Fourier neural operator, for periodic data; needs the package neuraloperator."""

    kind: Literal["fno"] = "fno"
    num_channels: int = Field(4, ge=1, description="fields C")
    modes: int = Field(12, ge=1, description="Fourier modes along each axis")
    width: int = Field(32, ge=4, description="channels of a layer")
    depth: int = Field(4, ge=1, description="Fourier layers")

    def build(self) -> FNO:
        """The network, with weights at random."""
        return FNO(self)


class FNO(NormalisedSurrogate):
    """The package's network on normalised fields, without coordinates among its inputs: it commutes with shifts.

    Raises:
        ValueError: the package is not installed.
    """

    def __init__(self, settings: FNOSettings) -> None:
        super().__init__(settings.num_channels)
        try:
            from neuralop import models
        except ImportError as error:
            raise ValueError(
                "surrogate.kind=fno: expected the package neuraloperator, which is not installed: "
                "pip install 'stepward[fno]'"
            ) from error
        self.settings = settings
        self.network = models.FNO(
            n_modes=(settings.modes, settings.modes),
            in_channels=settings.num_channels,
            out_channels=settings.num_channels,
            hidden_channels=settings.width,
            n_layers=settings.depth,
            positional_embedding=None,
        )

    def change(self, fields: Float[Tensor, "n c h w"], draws: Draws | None) -> Float[Tensor, "n c h w"]:
        """Change over one step, in units of `step_scale`."""
        following: Tensor = self.network(fields)
        return following

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Weights alone: the package puts its own settings among them."""
        state = super().state_dict(*args, **kwargs)
        return type(state)((name, value) for name, value in state.items() if isinstance(value, Tensor))
