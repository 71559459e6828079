"""The epoch loop of surrogates: gradient descent on windows of trajectories, with a checkpoint after every epoch.

    for checkpoint in surrogate_epochs(surrogate, trajectories, fit, seed=0, judge=judge):
        ...                                  # save it, report checkpoint.progress.history[-1], or stop

The plain loop of a notebook is `stepward.domains.pde.surrogates.fit_surrogate`. This one draws what an epoch needs
from (seed, epoch), so a training that was stopped after any epoch and goes on ends with the very same weights, and it
shares minibatches among workers. A surrogate of several stages (the latent stack) begins some of them from a copy of
what it is then, so a checkpoint keeps the weights at the beginning of every stage under ``<stage>/<name>``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from stepward.core.seeding import stable_hash
from stepward.domains.pde.surrogates import Surrogate, SurrogateFit
from stepward.domains.pde.surrogates.fitting import Step, stages, windows
from stepward.train.checkpoints import Checkpoint, Progress, plain
from stepward.train.loop import ALONE, Rank

Average = Callable[[list[nn.Parameter]], None]


def surrogate_epochs(
    surrogate: Surrogate,
    trajectories: Float[np.ndarray, "n frames c h w"],
    fit: SurrogateFit,
    *,
    seed: int,
    judge: Callable[[Surrogate], float],
    start: Checkpoint | None = None,
    rank: Rank = ALONE,
    average: Average = lambda parameters: None,
) -> Iterator[Checkpoint]:
    """Set the scales and train; yields a checkpoint after every epoch of every stage.

    Args:
        surrogate: trained in place.
        judge: error on held-out trajectories, noted as the validation loss.
        start: checkpoint to go on from.
        rank: this worker's place among those that share every minibatch.
        average: averages gradients over workers.

    Raises:
        ValueError: trajectories shorter than a window, or with numbers that are not finite.
    """
    if trajectories.shape[1] < fit.window:
        raise ValueError(f"Surrogate: expected {fit.window} frames or more a trajectory, got {trajectories.shape[1]}.")
    surrogate.fit_scales(trajectories)
    data = torch.from_numpy(np.ascontiguousarray(trajectories, np.float32)).to(surrogate.device)
    progress = Progress() if start is None else start.progress
    begun = progress.epochs_done
    starts: dict[str, Tensor] = {} if start is None else dict(start.best)
    waiting, passed, number = stages(surrogate, fit, seed), 0, 0
    while True:
        if start is not None:  # before the stage is made: it may copy parts of the network
            _stand_at(surrogate, number, start, resumes=passed == begun)
        found = next(waiting, None)
        if found is None:
            return
        parameters, step, share = found
        num = max(1, round(fit.epochs * share))
        if progress.epochs_done < passed + num:
            starts = starts | {f"{number}/{name}": tensor for name, tensor in plain(surrogate.state_dict()).items()}
            descent = _Descent(surrogate, parameters, step, fit, data, num, stable_hash(seed, number), rank, average)
            if start is not None and begun > passed:
                surrogate.load_state_dict(start.weights)
                descent.optimiser.load_state_dict(start.optimiser)
            for epoch in range(progress.epochs_done - passed, num):
                loss = descent.epoch(epoch)
                surrogate.eval()
                progress.note({"train_loss": loss, "validation_loss": judge(surrogate), "stage": float(number)})
                yield Checkpoint(plain(surrogate.state_dict()), starts, descent.optimiser.state_dict(), progress)
        passed, number = passed + num, number + 1


def _stand_at(surrogate: Surrogate, number: int, start: Checkpoint, *, resumes: bool) -> None:
    """Give a network that goes on the weights it had when stage `number` began, where that was before the stop."""
    prefix = f"{number}/"
    then = {name.removeprefix(prefix): tensor for name, tensor in start.best.items() if name.startswith(prefix)}
    if then or resumes:
        surrogate.load_state_dict(then or start.weights)


class _Descent:
    """AdamW with a cosine to 0 over one stage, on random windows, moved around the square if it is periodic."""

    def __init__(
        self,
        surrogate: Surrogate,
        parameters: list[nn.Parameter],
        step: Step,
        fit: SurrogateFit,
        data: Tensor,
        num_epochs: int,
        seed: int,
        rank: Rank,
        average: Average,
    ) -> None:
        surrogate.requires_grad_(False)
        for parameter in parameters:
            parameter.requires_grad_(True)
        self.optimiser = torch.optim.AdamW(parameters, lr=fit.learning_rate, weight_decay=fit.weight_decay)
        self._surrogate, self._parameters, self._step, self._fit = surrogate, parameters, step, fit
        self._data, self._seed, self._rank, self._average = data, seed, rank, average
        self._index = windows(data.shape[0], data.shape[1], fit.window)
        self._size = min(fit.batch_size, len(self._index))
        self._per_epoch = len(self._index) // self._size
        self._num_steps = num_epochs * self._per_epoch

    def epoch(self, number: int) -> float:
        """One epoch, a function of (seed, number); returns the mean loss of this worker's windows."""
        self._surrogate.train()
        rng = np.random.default_rng(stable_hash("surrogate", self._seed, number))
        order, total = rng.permutation(len(self._index)), 0.0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stable_hash("dropout", self._seed, number, self._rank.rank) % 2**63)
            for batch in range(self._per_epoch):
                count = number * self._per_epoch + batch
                shift = rng.integers(0, self._data.shape[3:]) * self._surrogate.periodic
                rows = self._index[order[batch * self._size : (batch + 1) * self._size]]
                total += self._descend(rows[self._rank.rank :: self._rank.world], tuple(shift.tolist()), count)
        return total / self._per_epoch

    def _descend(self, rows: np.ndarray, shift: tuple[int, ...], count: int) -> float:
        window = self._data[rows[:, :1], rows[:, 1:] + np.arange(self._fit.window)]
        loss = self._step(torch.roll(window, shift, dims=(3, 4)), count)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._average(self._parameters)
        nn.utils.clip_grad_norm_(self._parameters, 1.0)
        rate = self._fit.learning_rate * (1 + math.cos(math.pi * count / self._num_steps)) / 2
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        return float(loss.detach())
