"""Losses of the latent stack's stages, as pure functions of modules and tensors. Reductions: mean over everything.

Order of training: `reconstruction` (encoder, decoder), `operator` (latent operator), `bridge` (corrector),
`consistency` (distillation of the corrector into few evaluations). Good values, from the source: τ ~ Beta(1.2, 1.2);
distillation with 5, then 4, then 3 levels a sample.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from stepward.domains.pde.surrogates.latent.stack import LatentStack

BETA = 1.2
LEVELS: tuple[int, ...] = (5, 4, 3)


def reconstruction(stack: LatentStack, fields: Float[Tensor, "n c h w"]) -> Float[Tensor, ""]:
    """Mean squared error of decode(encode(u)) against the normalised fields."""
    rebuilt = stack.decode(stack.encode(fields), (fields.shape[2], fields.shape[3]))
    return (rebuilt - (fields - stack.mean) / stack.scale).pow(2).mean()


def operator(
    stack: LatentStack, fields: Float[Tensor, "n c h w"], following: Float[Tensor, "n c h w"]
) -> Float[Tensor, ""]:
    """Latent prediction error, plus the error of the decoded change in units of the data's own step."""
    size = (fields.shape[2], fields.shape[3])
    before = stack.encode(fields)
    after = stack.predict(before, size)
    decoded = stack.scale * (stack.decode(after, size) - stack.decode(before, size))
    latent = (after - stack.encode(following).detach()).pow(2).mean()
    return latent + ((decoded - (following - fields)) / stack.step_scale).pow(2).mean()


def sample_tau(num: int, generator: torch.Generator | None = None) -> Float[Tensor, " n"]:
    """τ ~ Beta(1.2, 1.2): by the ratio of two gamma variables."""
    shape = torch.full((2, num), BETA)
    gammas = torch._standard_gamma(shape, generator=generator)
    return gammas[0] / gammas.sum(dim=0)


def bridge_point(
    prediction: Float[Tensor, "n t d"],
    truth: Float[Tensor, "n t d"],
    tau: Float[Tensor, " n"],
    noise: Float[Tensor, "n t d"],
    scale: float = 0.1,
) -> Float[Tensor, "n t d"]:
    """x_τ = p + τ (y − p) + s √(τ (1 − τ)) ε."""
    t = tau[:, None, None]
    return prediction + t * (truth - prediction) + scale * (t * (1 - t)).sqrt() * noise


def bridge(
    corrector: nn.Module,
    prediction: Float[Tensor, "n t d"],
    truth: Float[Tensor, "n t d"],
    cond: Float[Tensor, "n t d"],
    tau: Float[Tensor, " n"],
    noise: Float[Tensor, "n t d"],
) -> Float[Tensor, ""]:
    """Error of the drift at x_τ against the rest of the way, y − x_τ."""
    x = bridge_point(prediction, truth, tau, noise)
    return (corrector(x, tau, cond) - (truth - x)).pow(2).mean()


def consistency(
    student: nn.Module,
    teacher: nn.Module,
    prediction: Float[Tensor, "n t d"],
    cond: Float[Tensor, "n t d"],
    num_levels: int,
) -> Float[Tensor, ""]:
    """Endpoints of the student at every level against the teacher's, one level further along the teacher's path.

    Levels are τ_i = i / num_levels. From x_0 = p the teacher moves by Euler steps along its own drift,
    x_{i+1} = x_i + (τ_{i+1} − τ_i) / (1 − τ_i) · drift(x_i, τ_i); the student's x_i + drift(x_i, τ_i) should equal the
    teacher's endpoint from x_{i+1}, and so, in the end, one evaluation gives what the teacher needs all steps for.

    Raises:
        ValueError: fewer than two levels.
    """
    if num_levels < 2:
        raise ValueError(f"consistency: expected at least 2 levels, got {num_levels}.")
    x, total = prediction, prediction.new_zeros(())
    for level in range(num_levels):
        tau = x.new_full((len(x),), level / num_levels)
        with torch.no_grad():
            drift = teacher(x, tau, cond)
            further = x + drift / (num_levels - level)
            last = level == num_levels - 1
            target = further if last else further + teacher(further, tau + 1 / num_levels, cond)
        total = total + (x + student(x, tau, cond) - target).pow(2).mean()
        x = further
    return total / num_levels
