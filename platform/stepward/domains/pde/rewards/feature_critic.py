"""The feature critic: a small network on how global features of the fields change in a step.

It knows totals, negativity and roughness, and nothing of where things are: a middle between analytical rewards and the
convolutional network.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from stepward.core.config import Config
from stepward.domains.pde.grids import require_periodic
from stepward.domains.pde.rewards.common import NOT_PERIODIC, filled, finite_scores
from stepward.domains.pde.rewards.network import check_channels
from stepward.domains.pde.states import PDEStates, as_numpy

PER_CHANNEL = 4  # mean, mean square, mean of the negative part, mean square of differences between neighbours


class FeatureCriticSettings(Config):
    """Linear, SiLU, dropout, linear on changes of features."""

    kind: Literal["feature_critic"] = "feature_critic"
    num_channels: int = Field(4, ge=1, description="fields C")
    hidden: int = Field(64, ge=1, description="hidden units")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout while training")

    def module(self) -> FeatureCritic:
        """A fresh network: tensors state, deterministic, candidate [n, C, H, W] -> scores [n]."""
        return FeatureCritic(self.num_channels, self.hidden, self.dropout)

    def encode(self, parents: PDEStates, children: PDEStates) -> dict[str, np.ndarray]:
        """Inputs of the network for steps."""
        return {
            "state": as_numpy(parents.fields),
            "deterministic": as_numpy(children.deterministic),
            "candidate": as_numpy(children.fields),
        }

    def reward(self, weights: Mapping[str, np.ndarray]) -> FeatureCriticReward:
        """The reward model with these weights."""
        return FeatureCriticReward(self, weights)


class FeatureCritic(nn.Module):
    """Reads (change of features from the state, change from the deterministic output), each in units of the data."""

    scale: Tensor

    def __init__(self, num_channels: int, hidden: int, dropout: float) -> None:
        super().__init__()
        fan_in = 2 * PER_CHANNEL * num_channels
        self.layers = nn.Sequential(nn.Linear(fan_in, hidden), nn.SiLU(), nn.Dropout(dropout), nn.Linear(hidden, 1))
        self.register_buffer("scale", torch.ones(fan_in))

    def forward(
        self,
        state: Float[Tensor, "n c h w"],
        deterministic: Float[Tensor, "n c h w"],
        candidate: Float[Tensor, "n c h w"],
    ) -> Float[Tensor, " n"]:
        """One score a step."""
        return self.layers(self._changes(state, deterministic, candidate) / self.scale)[:, 0]

    @torch.no_grad()
    def fit_scales(self, state: Tensor, deterministic: Tensor, candidate: Tensor) -> None:
        """Set the units to those of the data."""
        changes = self._changes(state, deterministic, candidate)
        self.scale.copy_(changes.pow(2).mean(dim=0).sqrt() + 1e-8)

    def _changes(self, state: Tensor, deterministic: Tensor, candidate: Tensor) -> Tensor:
        check_channels(candidate, len(self.scale) // (2 * PER_CHANNEL))
        now = features(candidate)
        state = state[:, -candidate.shape[1] :]  # of all frames that were seen, the last
        return torch.cat([now - features(state), now - features(deterministic)], dim=1).to(candidate.dtype)


def features(fields: Float[Tensor, "n c h w"]) -> Float[Tensor, "n f"]:
    """Global features of each row, fp64: small changes of large sums."""
    fields = fields.double()
    over = (2, 3)
    rough = [(fields - fields.roll(1, axis)).pow(2).mean(dim=over) for axis in over]
    negative = (-fields).clamp(min=0).mean(dim=over)
    return torch.cat([fields.mean(dim=over), fields.pow(2).mean(dim=over), negative, rough[0] + rough[1]], dim=1)


class FeatureCriticReward:
    """Scores of steps."""

    def __init__(self, settings: FeatureCriticSettings, weights: Mapping[str, np.ndarray]) -> None:
        self.settings = settings
        self.module: FeatureCritic = filled(settings.module(), weights, "cpu")
        self.num_parameters = sum(parameter.numel() for parameter in self.module.parameters())

    def score(self, parents: PDEStates, children: PDEStates) -> Float[np.ndarray, " n"]:
        """One score a step, higher is better; its roughness counts the step from the last cell to the first."""
        require_periodic(parents.reference, "Reward model feature_critic", NOT_PERIODIC)
        inputs = {name: torch.from_numpy(array) for name, array in self.settings.encode(parents, children).items()}
        with torch.inference_mode():
            return finite_scores(self.module(**inputs).numpy())
