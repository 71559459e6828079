"""Equal workers that share every minibatch: which rows are whose, and what they tell one another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from jaxtyping import Int
from torch import Tensor

__all__ = ["ALONE", "Workers"]


@dataclass(frozen=True)
class Workers:
    """Which of `world` equal workers this is: of every minibatch it takes the share of that number.

    Attributes:
        accelerator: how they reach one another; without one nothing is exchanged.
    """

    rank: int = 0
    world: int = 1
    accelerator: Accelerator | None = None

    @classmethod
    def here(cls) -> Workers:
        """The process among those that were started with it, as `accelerate` finds them."""
        accelerator = Accelerator(cpu=not torch.cuda.is_available())
        return cls(accelerator.process_index, accelerator.num_processes, accelerator)

    @property
    def device(self) -> torch.device:
        """Where this worker computes."""
        return torch.device("cpu") if self.accelerator is None else self.accelerator.device

    def share(self, rows: Int[np.ndarray, " b"]) -> Int[np.ndarray, " _"]:
        """Rows of a minibatch that are this worker's; may be none of them."""
        return np.array_split(rows, self.world)[self.rank]

    def average(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Make gradients the mean over workers, in one exchange."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if self.world == 1 or self.accelerator is None or not gradients:
            return
        mean = self.accelerator.reduce(torch.cat([gradient.reshape(-1) for gradient in gradients]), reduction="mean")
        for gradient, part in zip(gradients, mean.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def sum(self, numbers: Tensor) -> Tensor:
        """Sum over workers, the same on each."""
        if self.world == 1 or self.accelerator is None:
            return numbers
        total: Tensor = self.accelerator.reduce(numbers, reduction="sum")
        return total

    def agree(self, number: float) -> float:
        """The number that the first worker has: workers must agree on when to stop, to the last bit."""
        if self.world == 1 or self.accelerator is None:
            return number
        return float(broadcast(torch.tensor(number, dtype=torch.float64, device=self.device)))


ALONE = Workers()
