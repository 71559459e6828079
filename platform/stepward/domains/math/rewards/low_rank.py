"""Settings of low-rank adapters."""

from __future__ import annotations

from pydantic import Field

from stepward.core.config import Config

__all__ = ["LowRank"]


class LowRank(Config):
    """Low-rank adapters beside the linear layers of a body that stays as it is (Hu et al. 2022, "LoRA").

    **Good values.** Rank 8 to 32, α twice the rank, learning rate 1e-4 to 3e-4.
    """

    rank: int = Field(16, ge=1, description="rank r of every adapter")
    alpha: float = Field(32.0, gt=0, description="α: adapters count α / r")
    dropout: float = Field(0.05, ge=0, lt=1, description="of their inputs, in training")
    layers: tuple[str, ...] = Field(
        (), description="ends of the names of adapted layers, e.g. [q_proj]; none: all linear"
    )
