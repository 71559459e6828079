"""A torch network as settings and as the reward model that it becomes: what a domain of a package learns with."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from inspect import signature
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from stepward.core.batch import Batch
from stepward.core.config import Config
from stepward.core.wing import Scale
from stepward.train.loop import predict_logits

__all__ = ["Layers", "LearnedNetwork", "NetworkReward"]


class Layers(nn.Sequential):
    """Layers on one array, ``inputs`` [n, …], the last of which gives one number a row."""

    def forward(self, inputs: Tensor) -> Float[Tensor, " n"]:
        """[n]."""
        return super().forward(inputs)[:, 0]


class LearnedNetwork(Config):
    """Settings of a network; a subclass has a field `kind`, `module` and `encode`.

    `encode` takes the states that are scored, or (parents, children) where a score is of a step.
    """

    SCALE: ClassVar[Scale] = "probability"
    """"probability": a score is the sigmoid of the module's number; "rank": it is the number."""

    @abstractmethod
    def module(self) -> nn.Module:
        """A fresh module: the arrays of `encode`, by name -> one number a row."""

    @abstractmethod
    def encode(self, *states: Batch) -> dict[str, np.ndarray]:
        """Inputs of the module, one row a state or step."""

    def reward(self, weights: Mapping[str, np.ndarray]) -> NetworkReward:
        """The reward model with trained weights."""
        return NetworkReward(self, weights)


class NetworkReward:
    """Scores by a network of `LearnedNetwork`."""

    def __init__(self, settings: LearnedNetwork, weights: Mapping[str, np.ndarray]) -> None:
        self._settings, self._module = settings, settings.module().eval()
        self._module.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in weights.items()})
        self._of_steps = len(signature(settings.encode).parameters) == 2
        self.num_parameters = sum(array.size for array in weights.values())

    def score(self, parents: Batch, children: Batch) -> Float[np.ndarray, " n"]:
        """One score a child."""
        if not len(children):
            return np.zeros(0)
        inputs = self._settings.encode(*((parents, children) if self._of_steps else (children,)))
        logits = predict_logits(self._module, {name: torch.from_numpy(array) for name, array in inputs.items()})
        scores = logits.sigmoid() if self._settings.SCALE == "probability" else logits
        return scores.double().cpu().numpy()
