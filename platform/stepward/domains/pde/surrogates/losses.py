"""Losses of surrogates, as pure functions. Errors are in units of the data's own step, so that channels count alike."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from stepward.domains.pde.surrogates.base import Surrogate
from stepward.domains.pde.surrogates.draws import Draws


def one_step(
    surrogate: Surrogate,
    fields: Float[Tensor, "n fc h w"],
    following: Float[Tensor, "n c h w"],
    draws: Draws | None = None,
) -> Float[Tensor, ""]:
    """Mean squared error of one step."""
    return ((surrogate(fields, draws) - following) / surrogate.step_scale).pow(2).mean()


def pushforward(
    surrogate: Surrogate, window: Float[Tensor, "n frames c h w"], draws: Draws | None = None
) -> Float[Tensor, ""]:
    """Error of the last of several steps, the earlier ones without gradient: the network meets its own errors.

    Source: Brandstetter et al. 2022, "Message passing neural PDE solvers", arXiv:2202.03376, section 3.1. Good values:
    windows of 3 frames (one step without gradient), and one more for each further frame that the network reads.

    Raises:
        ValueError: a window of too few frames.
    """
    known = surrogate.frames
    if window.shape[1] < known + 1:
        raise ValueError(f"pushforward: expected windows of {known + 1} frames or more, got {window.shape[1]}.")
    fields = window[:, :known].flatten(1, 2)
    with torch.no_grad():
        for _ in range(window.shape[1] - known - 1):
            fields = torch.cat([fields, surrogate(fields, draws)], dim=1)[:, window.shape[2] :]
    return one_step(surrogate, fields, window[:, -1], draws)


def unrolled(surrogate: Surrogate, window: Float[Tensor, "n frames c h w"]) -> Float[Tensor, ""]:
    """Mean error of all steps of a rollout over the window, with the gradient through all of them.

    Raises:
        ValueError: a window of fewer than 2 frames.
    """
    if window.shape[1] < 2:
        raise ValueError(f"unrolled: expected windows of 2 frames or more, got {window.shape[1]}.")
    fields, total = window[:, 0], window.new_zeros(())
    for following in window.unbind(dim=1)[1:]:
        fields = surrogate(fields)
        total = total + ((fields - following) / surrogate.step_scale).pow(2).mean()
    return total / (window.shape[1] - 1)


def crps(samples: Float[Tensor, "k n c h w"], truth: Float[Tensor, "n c h w"], scale: Tensor) -> Float[Tensor, ""]:
    """Fair CRPS of an ensemble of k members, cell by cell: mean |x_i − y| − Σ_{i≠j} |x_i − x_j| / (2 k (k − 1)).

    Source: Ferro 2014, "Fair scores for ensemble forecasts", equation 8; as a loss Lang et al. 2024, arXiv:2412.15832.

    Raises:
        ValueError: fewer than two members.
    """
    k = len(samples)
    if k < 2:
        raise ValueError(f"crps: expected 2 members or more, got {k}.")
    members = samples / scale
    skill = (members - truth / scale).abs().mean()
    spread = (members[:, None] - members[None]).abs().mean() * k / (k - 1)
    return skill - spread / 2


def crps_one_step(
    surrogate: Surrogate, fields: Float[Tensor, "n c h w"], following: Float[Tensor, "n c h w"], draws: list[Draws]
) -> Float[Tensor, ""]:
    """CRPS of one step of a surrogate with a random code; one member for each of `draws`."""
    return crps(torch.stack([surrogate(fields, d) for d in draws]), following, surrogate.step_scale)
