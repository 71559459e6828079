"""What the training loop asks of whatever is learned: minibatches of an epoch, the loss of one, and a judgement.

A task is a module with its data. All that an epoch draws is a function of (seed, epoch), so that a training that was
stopped after any epoch and goes on ends with the very same weights.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Generic, Literal, TypeVar

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from stepward.core.seeding import stable_hash
from stepward.train.optimisation import Descent

__all__ = ["Minibatch", "Part", "Task"]


@dataclass(frozen=True)
class Minibatch:
    """Rows of one step, of all workers together. A task that draws more for a step adds fields."""

    rows: Int[np.ndarray, " b"]


M = TypeVar("M", bound=Minibatch)


@dataclass(frozen=True)
class Part:
    """What some rows of a minibatch add to its loss.

    Attributes:
        total: Σ of their losses, with a gradient.
        mass: their weight: total / mass is the loss of a row.
        denominator: what the step divides totals by; of the whole minibatch, whoever holds its rows.
    """

    total: Tensor
    mass: Tensor | float = 1.0
    denominator: float = 1.0


class Task(ABC, Generic[M]):
    """Something that is learned by gradient descent.

    Attributes:
        SETTINGS: where users find the settings of the descent.
        module: trained in place.
        descent: how.
        num_epochs: at most.
        seed: of everything that is drawn.
        first_epoch: epochs of earlier stages of a training, which its progress counts too.
        patience: epochs without a better validation loss after which training ends; 0: never.
        keep: which weights are kept.
    """

    SETTINGS: ClassVar[str] = "optimisation"
    module: nn.Module
    descent: Descent
    num_epochs: int
    seed: int
    first_epoch: int = 0
    patience: int = 0
    keep: Literal["best", "last"] = "best"

    @abstractmethod
    def num_steps(self, epoch: int) -> int:
        """Minibatches of an epoch (from 0)."""

    @abstractmethod
    def minibatches(self, epoch: int) -> Sequence[M]:
        """Those minibatches, in order. It may look at the module, which is left in any mode."""

    @abstractmethod
    def part(self, batch: M, rows: Int[np.ndarray, " _"], step: int) -> Part:
        """Loss of some of a minibatch's rows; `step` counts from the beginning of this task."""

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """``validation_loss``, and further metrics; in evaluation mode, without gradients."""

    def parameters(self) -> list[nn.Parameter]:
        """What is trained."""
        return [parameter for parameter in self.module.parameters() if parameter.requires_grad]

    def rate(self, epoch: int, step: int) -> float:
        """Learning rate of a step of an epoch, both from 0."""
        return self.descent.rate(self.steps_before(epoch) + step, self.steps_before(self.num_epochs))

    def chance(self, epoch: int, rank: int) -> int:
        """Seed of what torch draws in an epoch on one worker, such as dropout."""
        return stable_hash("epoch", self.seed, epoch, rank)

    def steps_before(self, epoch: int) -> int:
        """Minibatches of all epochs before one."""
        return self._steps[epoch]

    @cached_property
    def _steps(self) -> list[int]:
        counts = [self.num_steps(epoch) for epoch in range(self.num_epochs)]
        return [0, *np.cumsum(counts).tolist()]

    @property
    def device(self) -> torch.device:
        """Where the module is."""
        return next(self.module.parameters()).device
