"""Training a surrogate on trajectories, on one device and in one process; a cluster wraps the same steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from stepward.core.config import Config
from stepward.core.seeding import Rng, stable_hash
from stepward.domains.pde.surrogates import losses
from stepward.domains.pde.surrogates.base import Surrogate
from stepward.domains.pde.surrogates.corrected import Corrected
from stepward.domains.pde.surrogates.draws import Draws, RowNoise
from stepward.domains.pde.surrogates.latent import LatentStack
from stepward.domains.pde.surrogates.latent import losses as latent_losses
from stepward.domains.pde.surrogates.latent.corrector import ResidualCorrector


class SurrogateFit(Config):
    """Gradient descent of a surrogate."""

    epochs: int = Field(12, ge=1, description="passes over all windows")
    batch_size: int = Field(32, ge=1, description="windows a step")
    learning_rate: float = Field(1e-3, gt=0, description="peak of AdamW, with a cosine to 0")
    weight_decay: float = Field(1e-4, ge=0, description="of AdamW")
    window: int = Field(2, ge=2, description="frames of a window; beyond 2, steps before the last have no gradient")
    crps_members: int = Field(2, ge=2, description="members of the CRPS, for a surrogate with a random code")


Step = Callable[[Tensor, int], Tensor]


def fit_surrogate(
    surrogate: Surrogate,
    trajectories: Float[np.ndarray, "n frames c h w"],
    fit: SurrogateFit,
    *,
    seed: int = 0,
    on_epoch: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Set the scales, then train; a latent stack goes through its four stages. Returns the mean loss of each epoch.

    Args:
        trajectories: physical fields, float32.
        on_epoch: called with the number of epochs done and the last one's loss, for progress and checkpoints.

    Raises:
        ValueError: trajectories shorter than a window, or with numbers that are not finite.
    """
    if trajectories.shape[1] < fit.window:
        raise ValueError(f"Surrogate: expected {fit.window} frames or more a trajectory, got {trajectories.shape[1]}.")
    surrogate.fit_scales(trajectories)
    data = torch.from_numpy(np.ascontiguousarray(trajectories, np.float32)).to(surrogate.device)
    history: list[float] = []
    for parameters, step, share in stages(surrogate, fit, seed):
        num = max(1, round(fit.epochs * share))
        for loss in _descend(surrogate, parameters, data, step, fit, num, seed + len(history)):
            history.append(loss)
            if on_epoch is not None:
                on_epoch(len(history), loss)
    surrogate.eval().requires_grad_(False)
    if isinstance(surrogate, LatentStack):
        surrogate.measure_decoder(data[:, :: max(1, data.shape[1] // 4)].flatten(0, 1)[:256])
    return history


def windows(num_trajectories: int, num_frames: int, window: int) -> Int[np.ndarray, "m 2"]:
    """(trajectory, first frame) of every window."""
    starts = num_frames - window + 1
    return np.stack(np.divmod(np.arange(num_trajectories * starts), starts), axis=1)


def stages(surrogate: Surrogate, fit: SurrogateFit, seed: int) -> Iterator[tuple[list[nn.Parameter], Step, float]]:
    """(parameters, loss of a batch of windows, share of the epochs) of each stage."""
    everything = list(surrogate.parameters())
    if isinstance(surrogate, LatentStack):
        yield from _latent_stages(surrogate)
    elif isinstance(surrogate, Corrected):
        yield surrogate.correcting(), lambda window, step: losses.pushforward(surrogate, window), 1.0
    elif "code" in surrogate.stochastic:
        yield everything, lambda window, step: _crps(surrogate, window, fit.crps_members, seed, step), 1.0
    else:
        yield everything, lambda window, step: losses.pushforward(surrogate, window), 1.0


def _latent_stages(stack: LatentStack) -> Iterator[tuple[list[nn.Parameter], Step, float]]:
    auto = [*stack.encoder.parameters(), *stack.decoder.parameters()]
    yield auto, lambda window, step: latent_losses.reconstruction(stack, window[:, 0]), 0.4
    operator = list(stack.operator.parameters())
    yield operator, lambda window, step: latent_losses.operator(stack, window[:, 0], window[:, 1]), 0.35
    corrector = list(stack.corrector.parameters())
    yield corrector, lambda window, step: _bridge(stack, window, step), 0.15
    teacher = deepcopy(stack.corrector).requires_grad_(False)
    for levels in latent_losses.LEVELS:
        yield corrector, partial(_distil, stack, teacher, levels), 0.1 / 3


def _bridge(stack: LatentStack, window: Tensor, step: int) -> Tensor:
    before, after, prediction = _latents(stack, window)
    generator = torch.Generator().manual_seed(stable_hash("bridge", step) % 2**63)
    tau = latent_losses.sample_tau(len(window), generator).to(window)
    noise = torch.randn(prediction.shape, generator=generator).to(window)
    return latent_losses.bridge(stack.corrector, prediction, after, before, tau, noise)


def _distil(stack: LatentStack, teacher: ResidualCorrector, levels: int, window: Tensor, step: int) -> Tensor:
    before, _, prediction = _latents(stack, window)
    return latent_losses.consistency(stack.corrector, teacher, prediction, before, levels)


@torch.no_grad()
def _latents(stack: LatentStack, window: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens before the step, after it, and as predicted."""
    before, after = stack.encode(window[:, 0]), stack.encode(window[:, 1])
    return before, after, stack.predict(before, (window.shape[3], window.shape[4]))


def _crps(surrogate: Surrogate, window: Tensor, members: int, seed: int, step: int) -> Tensor:
    streams = [Rng.from_seed(seed, len(window), f"crps/{step}/{k}") for k in range(members)]
    draws = [Draws(RowNoise.from_rng(stream, window.device), code=True) for stream in streams]
    return losses.crps_one_step(surrogate, window[:, -2], window[:, -1], draws)


def _descend(
    surrogate: Surrogate,
    parameters: list[nn.Parameter],
    data: Tensor,
    step: Step,
    fit: SurrogateFit,
    epochs: int,
    seed: int,
) -> Iterator[float]:
    """Mean loss of each epoch of AdamW with a cosine schedule, on random windows, moved at random around the square if
    it is periodic.
    """
    surrogate.requires_grad_(False)
    for parameter in parameters:
        parameter.requires_grad_(True)
    surrogate.train()
    index = windows(data.shape[0], data.shape[1], fit.window)
    size = min(fit.batch_size, len(index))
    optimiser = torch.optim.AdamW(parameters, lr=fit.learning_rate, weight_decay=fit.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * (len(index) // size))
    rng, frames, count = np.random.default_rng(stable_hash("surrogate", seed)), np.arange(fit.window), 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stable_hash("dropout", seed) % 2**63)
        for _ in range(epochs):
            order, total = rng.permutation(len(index)), 0.0
            for first in range(0, len(order) - size + 1, size):
                rows = index[order[first : first + size]]
                window = data[rows[:, :1], rows[:, 1:] + frames]
                shift = tuple(rng.integers(0, data.shape[3:]).tolist())
                window = torch.roll(window, shift, dims=(3, 4)) if surrogate.periodic else window
                loss = step(window, count)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(parameters, 1.0)
                optimiser.step()
                schedule.step()
                total, count = total + float(loss.detach()), count + 1
            yield total / (len(order) // size)
