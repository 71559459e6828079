"""Learning success probabilities from examples: the task, and the training loop around it.

for checkpoint in epochs(module, train, validation, objective, optimisation, seed=0):
...                                  # save it, report checkpoint.progress.history[-1], or stop
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import Unpack

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from stepward.core.seeding import stable_hash
from stepward.train import losses
from stepward.train.checkpoints import Checkpoint
from stepward.train.examples import Examples, minibatches, num_minibatches
from stepward.train.objectives import RowObjective
from stepward.train.optimisation import Optimisation
from stepward.train.task import Minibatch, Part, Task
from stepward.train.trainer import Options, training

Judge = Callable[[Float[np.ndarray, " n"]], dict[str, float]]
EVALUATION_ROWS = 8192  # rows a forward pass without gradients


def seeded_module(build: Callable[[], torch.nn.Module], seed: int) -> torch.nn.Module:
    """A fresh module whose initial weights are a function of the seed."""
    torch.manual_seed(stable_hash("weights", seed) % 2**63)
    return build()


class ExampleTask(Task[Minibatch]):
    """Probabilities of success from labelled states.

    The loss of a step is Σ w_i l_i / B over the B rows of the minibatch.

    Args:
        module: maps the inputs of examples to logits [n], as keyword arguments; trained in place. In training it may
            return another loss of every row beside them, [n]: that of a task learned jointly.
        train: rows to learn from. validation: rows to stop by, with their binomial weights.
        judge: validation probabilities -> further metrics of an epoch.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        train: Examples,
        validation: Examples,
        objective: RowObjective,
        optimisation: Optimisation,
        *,
        seed: int,
        judge: Judge | None = None,
    ) -> None:
        self.module, self.objective, self.descent, self.seed, self.judge = module, objective, optimisation, seed, judge
        self.num_epochs, self.patience, self.keep = optimisation.num_epochs, optimisation.patience, optimisation.keep
        self.sampling, self.size = optimisation.sampling, optimisation.batch_size
        train, self.validation = train.to(self.device), validation.to(self.device)
        self.train = self.visited = replace(train, weights=self.sampling.weights(train))

    @cached_property
    def visits(self) -> list[Int[np.ndarray, " _"]]:
        """Rows that each epoch visits."""
        return [self.sampling.visited(self.train, epoch, self.num_epochs) for epoch in range(self.num_epochs)]

    def num_steps(self, epoch: int) -> int:
        """Minibatches of an epoch, which curricula may shorten."""
        return num_minibatches(len(self.visits[epoch]), self.size)

    def minibatches(self, epoch: int) -> list[Minibatch]:
        """The epoch's rows, shuffled; rows that belong together stand in one minibatch."""
        scores = lambda: predict_logits(self.module, self.train.inputs).sigmoid()  # noqa: E731
        self.visited = replace(self.train, weights=self.sampling.emphasised(self.train, epoch, scores))
        rows, together = self.visits[epoch], self.train.together
        groups = None if together is None else together[rows]
        order = minibatches(len(rows), self.size, seed=self.seed, epoch=epoch, groups=groups)
        return [Minibatch(rows[chosen]) for chosen in order]

    def part(self, batch: Minibatch, rows: Int[np.ndarray, " _"], step: int) -> Part:
        """Weighted loss of some rows, over the weights of these rows."""
        data, mine = self.visited, torch.from_numpy(rows).to(self.device)
        weights = data.weights[mine]
        found = self.module(**{name: tensor[mine] for name, tensor in data.inputs.items()})
        logits, beside = found if isinstance(found, tuple) else (found, torch.zeros(()))
        groups = None if data.groups is None else data.groups[mine]
        row_losses = self.objective.row_losses(logits.float(), data.targets[mine], groups) + beside
        return Part((row_losses * weights).sum(), weights.sum(), len(batch.rows))

    def validate(self) -> dict[str, float]:
        """Negative log-likelihood of a validation rollout, in nats: the same yardstick for every objective."""
        logits = predict_logits(self.module, self.validation.inputs)
        rows = losses.bce(logits, self.validation.targets) * self.validation.weights
        found = {"validation_loss": float(rows.sum() / self.validation.weights.sum())}
        return found if self.judge is None else found | self.judge(logits.sigmoid().double().cpu().numpy())


def epochs(
    module: torch.nn.Module,
    train: Examples,
    validation: Examples,
    objective: RowObjective,
    optimisation: Optimisation,
    *,
    seed: int,
    judge: Judge | None = None,
    **options: Unpack[Options],
) -> Iterator[Checkpoint]:
    """Checkpoints of an `ExampleTask`, epoch by epoch; `options` are those of the training loop."""
    return training(ExampleTask(module, train, validation, objective, optimisation, seed=seed, judge=judge), **options)


@torch.no_grad()
def predict_logits(module: torch.nn.Module, inputs: dict[str, Tensor]) -> Float[Tensor, " n"]:
    """Logits of all rows, by forward passes of bounded size, in evaluation mode."""
    module.eval()
    rows = len(next(iter(inputs.values())))
    pieces = [
        module(**{name: tensor[start : start + EVALUATION_ROWS] for name, tensor in inputs.items()})
        for start in range(0, rows, EVALUATION_ROWS)
    ]
    return torch.cat(pieces).float()


def state_arrays(weights: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """Weights as numpy arrays, the form in which artifacts keep them."""
    return {name: tensor.cpu().numpy() for name, tensor in weights.items()}
