"""The epoch loop: gradient descent on examples, epoch by epoch, on one worker or several.

    for checkpoint in epochs(module, train, validation, objective, optimisation, seed=0):
        ...                                  # save it, report checkpoint.progress.history[-1], or stop

A training is a function of its seed. What an epoch draws (order, dropout) comes from (seed, epoch), so a training that
was stopped after any epoch and goes on from its checkpoint ends with the very same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from stepward.core.seeding import stable_hash
from stepward.train import losses
from stepward.train.checkpoints import Checkpoint, Progress, plain
from stepward.train.examples import Examples, minibatches, num_minibatches
from stepward.train.objectives import Objective
from stepward.train.optimisation import Optimisation

Judge = Callable[[Float[np.ndarray, " n"]], dict[str, float]]
EVALUATION_ROWS = 8192  # rows a forward pass without gradients


@dataclass(frozen=True)
class Rank:
    """Which of `world` equal workers this is: of every minibatch it takes the share of that number."""

    rank: int = 0
    world: int = 1


ALONE = Rank()


def seeded_module(build: Callable[[], torch.nn.Module], seed: int) -> torch.nn.Module:
    """A fresh module whose initial weights are a function of the seed."""
    torch.manual_seed(stable_hash("weights", seed) % 2**63)
    return build()


def epochs(
    module: torch.nn.Module,
    train: Examples,
    validation: Examples,
    objective: Objective,
    optimisation: Optimisation,
    *,
    seed: int,
    start: Checkpoint | None = None,
    wrap: Callable[[torch.nn.Module], torch.nn.Module] = lambda module: module,
    rank: Rank = Rank(),
    agree: Callable[[float], float] = lambda number: number,
    judge: Judge | None = None,
) -> Iterator[Checkpoint]:
    """Train until the last epoch or until patience is out; yields a checkpoint after every epoch.

    The loss of a step is Σ w_i l_i / B over the B rows of the global minibatch, whoever holds them: with several
    workers each scales its sum by the number of workers and `wrap` averages the gradients, which gives just the
    gradient of one worker (objectives that pair rows lose the pairs across workers).

    Args:
        module: maps the inputs of examples to logits [n], as keyword arguments; trained in place. In training it may
            return another loss of every row beside them, [n]: that of a task learned jointly.
        train: rows to learn from. validation: rows to stop by, with their binomial weights.
        start: checkpoint to go on from.
        wrap: makes the module average its gradients over workers.
        rank: this worker's place among them.
        agree: makes a number that of the first worker on all of them, so that they stop after the same epoch.
        judge: validation probabilities -> further metrics of an epoch.
    """
    device = next(module.parameters()).device
    train, validation = train.to(device), validation.to(device)
    optimiser = optimisation.optimiser(module)
    progress, best = Progress(), plain(module.state_dict())
    if start is not None:
        module.load_state_dict(start.weights)
        optimiser.load_state_dict(start.optimiser)
        progress, best = start.progress, start.best
    train = replace(train, weights=optimisation.sampling.weights(train))
    visits = [
        optimisation.sampling.visited(train, epoch, optimisation.num_epochs) for epoch in range(optimisation.num_epochs)
    ]
    parallel = wrap(module)
    while progress.epochs_done < optimisation.num_epochs and not progress.out_of_patience(optimisation.patience):
        epoch = progress.epochs_done
        weights = optimisation.sampling.emphasised(train, epoch, lambda: predict_logits(module, train.inputs).sigmoid())
        rows = replace(train, weights=weights)
        loss = _epoch(parallel, optimiser, rows, visits, objective, optimisation, seed=seed, epoch=epoch, rank=rank)
        logits = predict_logits(module, validation.inputs)
        found = {"train_loss": loss, "validation_loss": agree(_validation_loss(logits, validation))}
        if judge is not None:
            found |= judge(logits.sigmoid().double().cpu().numpy())
        metrics = found | {"learning_rate": optimiser.param_groups[0]["lr"]}
        if progress.note(metrics, keep_last=optimisation.keep == "last"):
            best = plain(module.state_dict())
        yield Checkpoint(plain(module.state_dict()), best, optimiser.state_dict(), progress)


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


def _epoch(
    module: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    train: Examples,
    visits: list[Int[np.ndarray, " _"]],
    objective: Objective,
    optimisation: Optimisation,
    *,
    seed: int,
    epoch: int,
    rank: Rank,
) -> float:
    """One epoch; returns the mean training loss of this worker's rows. `visits`: rows that each epoch visits."""
    module.train()
    torch.manual_seed(stable_hash("epoch", seed, epoch, rank.rank) % 2**63)
    device = train.targets.device
    autocast = torch.autocast("cuda", torch.bfloat16, enabled=optimisation.mixed_precision and device.type == "cuda")
    steps = [num_minibatches(len(rows), optimisation.batch_size) for rows in visits]
    total, mass = torch.zeros((), device=device), torch.zeros((), device=device)
    groups = None if train.together is None else train.together[visits[epoch]]
    batches = minibatches(len(visits[epoch]), optimisation.batch_size, seed=seed, epoch=epoch, groups=groups)
    for step, chosen in enumerate(batches, start=sum(steps[:epoch])):
        rows = visits[epoch][chosen]
        for group in optimiser.param_groups:
            group["lr"] = optimisation.rate(step, sum(steps))
        mine = torch.from_numpy(np.array_split(rows, rank.world)[rank.rank]).to(device)
        weights = train.weights[mine]
        with autocast:
            found = module(**{name: tensor[mine] for name, tensor in train.inputs.items()})
        logits, beside = found if isinstance(found, tuple) else (found, torch.zeros(()))
        own_groups = None if train.groups is None else train.groups[mine]
        row_losses = objective.row_losses(logits.float(), train.targets[mine], own_groups) + beside
        loss = (row_losses * weights).sum()
        optimiser.zero_grad(set_to_none=True)
        (loss * (rank.world / len(rows))).backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), optimisation.max_grad_norm)
        optimiser.step()
        total, mass = total + loss.detach(), mass + weights.sum()
    return float(total / mass)


def _validation_loss(logits: Float[Tensor, " n"], validation: Examples) -> float:
    """Negative log-likelihood of a validation rollout, in nats: the same yardstick for every objective."""
    losses_ = losses.bce(logits, validation.targets) * validation.weights
    return float(losses_.sum() / validation.weights.sum())


def state_arrays(weights: dict[str, Tensor]) -> dict[str, Any]:
    """Weights as numpy arrays, the form in which artifacts keep them."""
    return {name: tensor.cpu().numpy() for name, tensor in weights.items()}
