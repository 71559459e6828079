"""The process reward model of this domain: a convolutional network on (state, deterministic output, candidate)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from stepward.core.config import Config
from stepward.domains.pde.flops import Positions
from stepward.domains.pde.grids import require_periodic
from stepward.domains.pde.rewards.common import NOT_PERIODIC, ROWS, filled, finite_scores, in_pieces
from stepward.domains.pde.rewards.network import Inputs, Padding, StepCNN
from stepward.domains.pde.states import PDEStates, as_numpy, seen
from stepward.domains.pde.surrogates import as_tensor


class CNNSettings(Config):
    """Convolutional reward model. The source's form: inputs raw, patch 1, padding zeros, width 64, depth 6."""

    kind: Literal["cnn"] = "cnn"
    num_channels: int = Field(4, ge=1, description="fields C")
    inputs: Inputs = Field("anchored", description="anchored: state, step, change; raw: state and candidate")
    width: int = Field(32, ge=1, description="channels of a layer; the source has 64")
    depth: int = Field(5, ge=1, description="layers; the source has 6")
    patch: int = Field(2, ge=1, description="cells of a patch along an axis; the source has 1")
    padding: Padding = Field(
        "circular", description="circular for periodic data, the source has zeros; replicate: walls, outflow"
    )
    frames: int = Field(1, ge=1, description="last frames that it reads; beyond 1, problems.context must hold them")
    num_scales: int = Field(1, ge=1, description="trunks, each on an input coarser by two than the one before")

    def module(self) -> StepCNN:
        """A fresh network: tensors state, deterministic, candidate [n, C, H, W] -> scores [n]."""
        return StepCNN(
            self.num_channels,
            self.width,
            self.depth,
            inputs=self.inputs,
            patch=self.patch,
            padding=self.padding,
            num_scales=self.num_scales,
            frames=self.frames,
        )

    def encode(self, parents: PDEStates, children: PDEStates) -> dict[str, np.ndarray]:
        """Inputs of the network for steps."""
        return {
            "state": as_numpy(seen(parents, self.frames)).reshape(len(parents), -1, *parents.fields.shape[2:]),
            "deterministic": as_numpy(children.deterministic),
            "candidate": as_numpy(children.fields),
        }

    def reward(self, weights: Mapping[str, np.ndarray]) -> CNNReward:
        """The reward model with these weights."""
        return CNNReward(self, weights)


class CNNReward:
    """Scores of steps, and maps of them. Candidates that are not finite score `WORST`."""

    def __init__(self, settings: CNNSettings, weights: Mapping[str, np.ndarray]) -> None:
        self.settings = settings
        self.module: StepCNN = filled(settings.module(), weights)
        device = self.module.mean.device
        self._positions = Positions(self.module, lambda shape: self._nothing(torch.zeros(1, *shape, device=device)))
        self.num_parameters = self._positions.num_parameters

    def score(self, parents: PDEStates, children: PDEStates) -> Float[np.ndarray, " n"]:
        """One score a step, higher is better."""
        maps = self.score_map(parents, children)
        return finite_scores(maps.mean(axis=(1, 2), dtype=np.float64))

    def score_map(self, parents: PDEStates, children: PDEStates) -> Float[np.ndarray, "n p q"]:
        """A score a patch; not finite where the candidate is not.

        Raises:
            ValueError: data with walls or other ends, and a network that takes them for periodic.
        """
        if self.module.periodic:
            require_periodic(parents.reference, "Reward model cnn", NOT_PERIODIC)
        if not len(children):
            cells = (size // self.settings.patch for size in children.fields.shape[2:])
            return np.zeros((0, *cells), np.float32)
        return in_pieces(self._map, parents, children, ROWS)

    def charged_tokens(self, children: PDEStates) -> Float[np.ndarray, " n"]:
        """Effective positions of one forward pass."""
        return self._positions.rows(children.fields)

    def _map(self, parents: PDEStates, children: PDEStates) -> np.ndarray:
        device = self.module.mean.device
        with torch.inference_mode():
            beside = (as_tensor(f, device) for f in (children.deterministic, children.fields))
            frames = as_tensor(seen(parents, self.settings.frames), device).flatten(1, 2)
            return self.module.score_map(frames, *beside).float().cpu().numpy()

    def _nothing(self, fields: Tensor) -> Tensor:
        scores: Tensor = self.module(fields.repeat(1, self.settings.frames, 1, 1), fields, fields)
        return scores
