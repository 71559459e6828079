"""The training loop, the only one: reward models, surrogates and language models are `Task`s of it.

    for checkpoint in training(task):
        ...                              # save it, report checkpoint.progress.history[-1], or stop

With several workers each takes its share of every minibatch, and gradients are averaged: that is the gradient of one
worker, but for losses that compare rows, which lose the pairs across workers. `accelerate` finds the processes and
their devices and moves gradients between them. Precision is torch's own autocast, because `accelerate` knows one for a
whole process, and trials of a sweep share processes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from stepward.train.checkpoints import Checkpoint, Progress, plain
from stepward.train.task import Minibatch, Task
from stepward.train.workers import ALONE, Workers

__all__ = ["DivergedError", "Tick", "training"]

EXPLODED = 1e3  # times the loss of the first step, or 1 where that is smaller: losses are in units of order 1
GPU_STEPS = 16  # steps after which a GPU is asked for its losses; to ask after each would make it wait


class DivergedError(RuntimeError):
    """The loss is no number any more, or has exploded. The same training would do so again."""


@dataclass(frozen=True)
class Tick:
    """How far a training is, all workers together.

    Attributes:
        epoch, num_epochs: of the epoch under way, from 1.
        step, num_steps: steps done of that epoch.
        loss: of a row, mean over the last steps.
        rate: learning rate.
    """

    epoch: int
    num_epochs: int
    step: int
    num_steps: int
    loss: float
    rate: float


Watch = Callable[[Tick], None]


class Options(TypedDict, total=False):
    """Options of `training`, for those that hand them on."""

    start: Checkpoint | None
    workers: Workers
    watch: Watch


def training(
    task: Task,
    *,
    start: Checkpoint | None = None,
    workers: Workers = ALONE,
    watch: Watch = lambda tick: None,
) -> Iterator[Checkpoint]:
    """Train until the last epoch or until patience is out; yields a checkpoint after every epoch.

    Args:
        task: what is learned.
        start: checkpoint to go on from; one without an optimiser's state begins a new stage.
        workers: those that share every minibatch.
        watch: told how far it is: on a CPU after every step, on a GPU after every few.

    Raises:
        DivergedError: a loss that is no finite number, or that exploded.
    """
    module, parameters = task.module, task.parameters()
    optimiser = task.descent.optimiser(parameters)
    progress, best = Progress(), plain(module.state_dict())
    if start is not None:
        module.load_state_dict(start.weights)
        progress, best = start.progress, start.best
        if start.optimiser:
            optimiser.load_state_dict(start.optimiser)
        else:
            progress.first_loss = None
    last = task.first_epoch + task.num_epochs
    while progress.epochs_done < last and not progress.out_of_patience(task.patience):
        epoch = progress.epochs_done - task.first_epoch
        loss = _Epoch(task, epoch, optimiser, parameters, progress, workers, watch).run()
        module.eval()
        found = task.validate()
        found["validation_loss"] = workers.agree(found["validation_loss"])
        _require_finite(task, progress, found["validation_loss"], optimiser.param_groups[0]["lr"])
        rate = {"learning_rate": optimiser.param_groups[0]["lr"]}
        if progress.note({"train_loss": loss} | found | rate, keep_last=task.keep == "last"):
            best = plain(module.state_dict())
        yield Checkpoint(plain(module.state_dict()), best, optimiser.state_dict(), progress)


class _Epoch:
    """One pass over a task's minibatches."""

    def __init__(
        self,
        task: Task,
        epoch: int,
        optimiser: torch.optim.Optimizer,
        parameters: list[torch.nn.Parameter],
        progress: Progress,
        workers: Workers,
        watch: Watch,
    ) -> None:
        self.task, self.epoch, self.optimiser, self.parameters = task, epoch, optimiser, parameters
        self.progress, self.workers, self.watch = progress, workers, watch
        self.num_steps, self.total, self.mass = task.num_steps(epoch), 0.0, 0.0
        self.every = steps_between_looks(task.device)
        self.losses: list[Tensor] = []  # total and mass of the steps that were not looked at yet

    def run(self) -> float:
        """Descend; returns the mean loss of a row."""
        task, batches = self.task, self.task.minibatches(self.epoch)
        task.module.train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(task.chance(self.epoch, self.workers.rank) % 2**63)
            for step, batch in enumerate(batches):
                for group in self.optimiser.param_groups:
                    group["lr"] = task.rate(self.epoch, step)
                self.losses.append(self._descend(batch, task.steps_before(self.epoch) + step))
                if len(self.losses) == self.every or step + 1 == self.num_steps:
                    self._look(step + 1)
        return self.total / self.mass

    def _descend(self, batch: Minibatch, step: int) -> Tensor:
        """One step; returns the total and the mass of this worker's loss."""
        task, descent, world = self.task, self.task.descent, self.workers.world
        mine, half = self.workers.share(batch.rows), descent.mixed_precision and task.device.type == "cuda"
        # A worker that is left without rows runs the first with no weight: all must take part in the exchange.
        empty = not len(mine)
        found = torch.zeros(2, dtype=torch.float64, device=task.device)
        self.optimiser.zero_grad(set_to_none=True)
        pieces = np.array_split(batch.rows[:1] if empty else mine, min(descent.accumulate, max(len(mine), 1)))
        for rows in pieces:
            with torch.autocast(task.device.type, torch.bfloat16, enabled=half):
                part = task.part(batch, rows, step)
            total = part.total * 0.0 if empty else part.total
            (total * (world / part.denominator)).backward()
            if not empty:
                found += torch.stack([total.detach().double(), torch.as_tensor(part.mass).to(found)])
        self.workers.average(self.parameters)
        if descent.max_grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, descent.max_grad_norm)
        self.optimiser.step()
        return found

    def _look(self, step: int) -> None:
        """Read the losses of the last steps, up to `step` of the epoch."""
        numbers = self.workers.sum(torch.stack(self.losses)).tolist()
        self.losses.clear()
        rate = self.optimiser.param_groups[0]["lr"]
        for number, (total, mass) in enumerate(numbers, step + 1 - len(numbers)):
            _require_sane(self.task, self.progress, total / mass, number, self.num_steps, rate)
        total, mass = (sum(column) for column in zip(*numbers, strict=True))
        self.total, self.mass = self.total + total, self.mass + mass
        epochs = self.progress.epochs_done + 1, self.task.first_epoch + self.task.num_epochs
        self.watch(Tick(*epochs, step, self.num_steps, total / mass, rate))


def steps_between_looks(device: torch.device) -> int:
    """Steps after which losses are read."""
    return 1 if device.type == "cpu" else GPU_STEPS


def _require_sane(task: Task, progress: Progress, loss: float, step: int, num_steps: int, rate: float) -> None:
    """Raise `DivergedError` for a step's loss that is not finite, or far above that of the first step."""
    first = progress.first_loss
    if math.isfinite(loss) and (first is None or loss <= EXPLODED * max(abs(first), 1.0)):
        progress.first_loss = loss if first is None else first
        return
    where = f"step {step} of {num_steps} of epoch {progress.epochs_done + 1}"
    if first is None:
        raise DivergedError(
            f"The loss is {loss} at {where}, before anything was learned: this is not the learning rate. Look for "
            "inputs or labels that are not finite or far too large."
        )
    raise DivergedError(
        f"Training diverged: the loss is {loss:.3g} at {where}, after {first:.3g} at the first step; the learning rate "
        f"was {rate:.2g}. {_advice(task)}"
    )


def _require_finite(task: Task, progress: Progress, loss: float, rate: float) -> None:
    """Raise `DivergedError` for a validation loss that is no number."""
    if not math.isfinite(loss):
        raise DivergedError(
            f"Training diverged: the validation loss is {loss} after epoch {progress.epochs_done + 1}; the learning "
            f"rate was {rate:.2g}. {_advice(task)}"
        )


def _advice(task: Task) -> str:
    now, place = task.descent.learning_rate, task.SETTINGS
    return f"Lower {place}.learning_rate, now {now:g}; {now / 10:g} is a next try, with {place}.max_grad_norm=1."
