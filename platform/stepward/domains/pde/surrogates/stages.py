"""What a surrogate is trained for, stage by stage; most have one, a latent stack has six."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial

import torch
from torch import Tensor, nn

from stepward.core.seeding import Rng, stable_hash
from stepward.domains.pde.surrogates import losses
from stepward.domains.pde.surrogates.base import Surrogate
from stepward.domains.pde.surrogates.corrected import Corrected
from stepward.domains.pde.surrogates.draws import Draws, RowNoise
from stepward.domains.pde.surrogates.latent import LatentStack
from stepward.domains.pde.surrogates.latent import losses as latent_losses
from stepward.domains.pde.surrogates.latent.corrector import ResidualCorrector

Step = Callable[[Tensor, int, Draws | None], Tensor]  # windows, step, what the network is told of each


def stages(surrogate: Surrogate, crps_members: int, seed: int) -> Iterator[tuple[list[nn.Parameter], Step, float]]:
    """(parameters, loss of a batch of windows, share of the epochs) of each stage."""
    everything = list(surrogate.parameters())
    if isinstance(surrogate, LatentStack):
        yield from _latent_stages(surrogate)
    elif isinstance(surrogate, Corrected):
        yield surrogate.correcting(), lambda window, step, told: losses.pushforward(surrogate, window, told), 1.0
    elif "code" in surrogate.stochastic:
        yield everything, lambda window, step, told: _crps(surrogate, window, crps_members, seed, step), 1.0
    else:
        yield everything, lambda window, step, told: losses.pushforward(surrogate, window, told), 1.0


def _latent_stages(stack: LatentStack) -> Iterator[tuple[list[nn.Parameter], Step, float]]:
    auto = [*stack.encoder.parameters(), *stack.decoder.parameters()]
    yield auto, lambda window, step, told: latent_losses.reconstruction(stack, window[:, 0]), 0.4
    operator = list(stack.operator.parameters())
    yield operator, lambda window, step, told: latent_losses.operator(stack, window[:, 0], window[:, 1]), 0.35
    corrector = list(stack.corrector.parameters())
    yield corrector, lambda window, step, told: _bridge(stack, window, step), 0.15
    teacher = deepcopy(stack.corrector).requires_grad_(False)
    for levels in latent_losses.LEVELS:
        yield corrector, partial(_distil, stack, teacher, levels), 0.1 / 3


def _bridge(stack: LatentStack, window: Tensor, step: int) -> Tensor:
    before, after, prediction = _latents(stack, window)
    generator = torch.Generator().manual_seed(stable_hash("bridge", step) % 2**63)
    tau = latent_losses.sample_tau(len(window), generator).to(window)
    noise = torch.randn(prediction.shape, generator=generator).to(window)
    return latent_losses.bridge(stack.corrector, prediction, after, before, tau, noise)


def _distil(
    stack: LatentStack, teacher: ResidualCorrector, levels: int, window: Tensor, step: int, told: Draws | None
) -> Tensor:
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
