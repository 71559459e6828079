"""Training a surrogate on windows of trajectories, stage by stage.

    for checkpoint in surrogate_epochs(surrogate, trajectories, fit, seed=0, judge=judge):
        ...                                  # save it, report checkpoint.progress.history[-1], or stop

A surrogate of several stages (the latent stack) begins some of them from a copy of what it is then, so a checkpoint
keeps, as its best weights, those at the beginning of every stage under ``<stage>/<name>``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from stepward.core.seeding import stable_hash
from stepward.domains.pde.surrogates.base import Surrogate
from stepward.domains.pde.surrogates.draws import Draws
from stepward.domains.pde.surrogates.latent import LatentStack
from stepward.domains.pde.surrogates.stages import Step, stages
from stepward.train import Checkpoint, Descent, Minibatch, Part, Progress, Task, training
from stepward.train.checkpoints import plain


class SurrogateFit(Descent):
    """Gradient descent of a surrogate: AdamW with a cosine to 0."""

    epochs: int = Field(12, ge=1, description="passes over all windows")
    batch_size: int = Field(32, ge=1, description="windows a step")
    learning_rate: float = Field(1e-3, gt=0, description="peak of AdamW, with a cosine to 0")
    weight_decay: float = Field(1e-4, ge=0, description="of AdamW")
    max_grad_norm: float | None = Field(
        1.0, gt=0, description="norm to which larger gradients are clipped; none: no clipping"
    )
    window: int = Field(
        2,
        ge=2,
        description="frames of a window, less those read beside the last; beyond 2, steps before the last have no "
        "gradient",
    )
    crps_members: int = Field(2, ge=2, description="members of the CRPS, for a surrogate with a random code")


@dataclass(frozen=True)
class Windows(Minibatch):
    """Windows of one step, and how far all of them are moved around the square."""

    shift: tuple[int, ...]


class SurrogateStage(Task[Windows]):
    """One stage, on random windows, moved at random around the square if it is periodic."""

    SETTINGS: ClassVar[str] = "fit"

    def __init__(
        self,
        surrogate: Surrogate,
        loss: Step,
        data: Float[Tensor, "n frames c h w"],
        fit: SurrogateFit,
        *,
        seed: int,
        num_epochs: int,
        first_epoch: int,
        validate: Callable[[], dict[str, float]],
        constants: Float[Tensor, " n"] | None = None,
    ) -> None:
        self.module, self.loss, self.data, self.descent, self.seed = surrogate, loss, data, fit, seed
        self.constants = constants
        self.num_epochs, self.first_epoch, self._validate = num_epochs, first_epoch, validate
        length = fit.window + surrogate.frames - 1
        self.index, self.frames = windows(data.shape[0], data.shape[1], length), np.arange(length)
        self.size, self.periodic = min(fit.batch_size, len(self.index)), surrogate.periodic

    def num_steps(self, epoch: int) -> int:
        """Whole minibatches of windows an epoch."""
        return len(self.index) // self.size

    def minibatches(self, epoch: int) -> list[Windows]:
        """Windows in an order of the epoch's own; each minibatch is moved by one random shift (rows, columns)."""
        rng = np.random.default_rng(stable_hash("surrogate", self.seed, epoch))
        order = rng.permutation(len(self.index))
        cut = [order[first : first + self.size] for first in range(0, len(order) - self.size + 1, self.size)]
        return [Windows(rows, tuple((rng.integers(0, self.data.shape[3:]) * self.periodic).tolist())) for rows in cut]

    def part(self, batch: Windows, rows: Int[np.ndarray, " _"], step: int) -> Part:
        """Loss of some windows, as a share of the minibatch's mean."""
        chosen, share = self.index[rows], len(rows) / len(batch.rows)
        window = torch.roll(self.data[chosen[:, :1], chosen[:, 1:] + self.frames], batch.shift, dims=(3, 4))
        told = None if self.constants is None else Draws.told(self.constants[chosen[:, 0]])
        return Part(self.loss(window, step, told) * share, share)

    def validate(self) -> dict[str, float]:
        """The stage's measures on trajectories that were held out."""
        return self._validate()

    def chance(self, epoch: int, rank: int) -> int:
        """Seed of the dropout masks of one worker's share of an epoch."""
        return stable_hash("dropout", self.seed, epoch, rank)


def windows(num_trajectories: int, num_frames: int, window: int) -> Int[np.ndarray, "m 2"]:
    """(trajectory, first frame) of every window."""
    starts = num_frames - window + 1
    return np.stack(np.divmod(np.arange(num_trajectories * starts), starts), axis=1)


def surrogate_epochs(
    surrogate: Surrogate,
    trajectories: Float[np.ndarray, "n frames c h w"],
    fit: SurrogateFit,
    *,
    seed: int,
    judge: Callable[[Surrogate], float],
    constants: Float[np.ndarray, " n"] | None = None,
    is_new: bool = True,
    start: Checkpoint | None = None,
    **options: Any,
) -> Iterator[Checkpoint]:
    """Set the scales and train; yields a checkpoint after every epoch of every stage.

    Args:
        surrogate: trained in place.
        judge: error on held-out trajectories, noted as the validation loss.
        constants: of each trajectory, for a surrogate that is told one.
        is_new: it has no scales yet; one that goes on from earlier training keeps its own.
        start: checkpoint to go on from.
        options: further ones of the training loop.

    Raises:
        ValueError: trajectories shorter than a window, or with numbers that are not finite.
    """
    needed = fit.window + surrogate.frames - 1
    if trajectories.shape[1] < needed:
        raise ValueError(f"Surrogate: expected {needed} frames or more a trajectory, got {trajectories.shape[1]}.")
    if bool(surrogate.constants) != (constants is not None):
        raise ValueError("Surrogate: expected a constant a trajectory for one that is told constants, and only then.")
    (surrogate.fit_scales if is_new else surrogate.check_data)(trajectories)
    data = torch.from_numpy(np.ascontiguousarray(trajectories, np.float32)).to(surrogate.device)
    told = None if constants is None else torch.from_numpy(constants).to(surrogate.device)
    progress = Progress() if start is None else start.progress
    begun, passed, number = progress.epochs_done, 0, 0
    starts: dict[str, Tensor] = {} if start is None else dict(start.best)
    waiting = stages(surrogate, fit.crps_members, seed)
    while True:
        if start is not None:  # before the stage is made: it may copy parts of the network
            _stand_at(surrogate, number, start, resumes=passed == begun)
        found = next(waiting, None)
        if found is None:
            return
        parameters, loss, share = found
        num = max(1, round(fit.epochs * share))
        if progress.epochs_done < passed + num:
            weights = plain(surrogate.state_dict())
            starts = starts | {f"{number}/{name}": tensor for name, tensor in weights.items()}
            here = Checkpoint(weights, starts, {}, progress)
            if start is not None and begun > passed:
                here = replace(start, best=starts)
            _train_only(surrogate, parameters)
            task = SurrogateStage(
                surrogate, loss, data, fit, seed=stable_hash(seed, number), num_epochs=num, first_epoch=passed,
                validate=partial(_validate, surrogate, judge, number), constants=told,
            )  # fmt: skip
            for checkpoint in training(task, start=here, **options):
                yield replace(checkpoint, best=starts)
        passed, number = passed + num, number + 1


def _validate(surrogate: Surrogate, judge: Callable[[Surrogate], float], number: int) -> dict[str, float]:
    return {"validation_loss": judge(surrogate), "stage": float(number)}


def _train_only(surrogate: Surrogate, parameters: list[nn.Parameter]) -> None:
    surrogate.requires_grad_(False)
    for parameter in parameters:
        parameter.requires_grad_(True)


def _stand_at(surrogate: Surrogate, number: int, start: Checkpoint, *, resumes: bool) -> None:
    """Give a network that goes on the weights it had when stage `number` began, where that was before the stop."""
    prefix = f"{number}/"
    then = {name.removeprefix(prefix): tensor for name, tensor in start.best.items() if name.startswith(prefix)}
    if then or resumes:
        surrogate.load_state_dict(then or start.weights)


def fit_surrogate(
    surrogate: Surrogate,
    trajectories: Float[np.ndarray, "n frames c h w"],
    fit: SurrogateFit,
    *,
    seed: int = 0,
    constants: Float[np.ndarray, " n"] | None = None,
) -> list[float]:
    """Train in one call, without a held-out judge; the surrogate is ready for rollouts. Returns each epoch's mean loss.

    Args:
        trajectories: physical fields, float32.
        constants: of each trajectory, for a surrogate that is told one.

    Raises:
        ValueError: trajectories shorter than a window, or with numbers that are not finite.
    """
    *_, last = surrogate_epochs(surrogate, trajectories, fit, seed=seed, judge=lambda _: 0.0, constants=constants)
    make_ready(surrogate, trajectories)
    return [row["train_loss"] for row in last.progress.history]


def make_ready(surrogate: Surrogate, trajectories: Float[np.ndarray, "n frames c h w"]) -> None:
    """Turn a trained surrogate to inference; a latent stack measures its decoder on some of the frames."""
    surrogate.eval().requires_grad_(False)
    if isinstance(surrogate, LatentStack):
        frames = np.ascontiguousarray(trajectories[:16, :: max(1, trajectories.shape[1] // 4)], np.float32)
        surrogate.measure_decoder(torch.from_numpy(frames).flatten(0, 1).to(surrogate.device))
