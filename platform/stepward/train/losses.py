"""Losses of success probabilities, as pure functions of logits. Every loss is per row: reductions are for the caller.

Notation: logit z [n], p = sigmoid(z), target y in [0, 1], a row's Monte-Carlo counts S of M.

Soft cross-entropy and the binomial likelihood differ in nothing but the weights of rows. With y = S / M,

    −log Binomial(S | M, p) = M · BCE(z, y) + const,

so a row of 64 rollouts counts 64 times a row of one under the likelihood, and the same under the soft loss.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus


def bce(logits: Float[Tensor, " n"], targets: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Cross-entropy −y log p − (1 − y) log (1 − p), in nats; targets may be soft."""
    return binary_cross_entropy_with_logits(logits, targets, reduction="none")


def binomial(
    logits: Float[Tensor, " n"], successes: Float[Tensor, " n"], num_rollouts: Float[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """−S log p − (M − S) log (1 − p): the likelihood of the counts, in nats, without the binomial coefficient."""
    return successes * softplus(-logits) + (num_rollouts - successes) * softplus(logits)


def focal(logits: Float[Tensor, " n"], targets: Float[Tensor, " n"], gamma: float) -> Float[Tensor, " n"]:
    """|y − p|^γ · BCE: rows that are right already count less. γ = 0 is the cross-entropy; 2 is usual.

    For targets of 0 and 1 this is the focal loss of Lin et al. 2017 (equation 4); for soft ones that of Li et al. 2020,
    "Generalized focal loss" (equation 4). It is no proper score: probabilities want a calibration afterwards.
    """
    return (targets - logits.sigmoid()).abs().pow(gamma) * bce(logits, targets)


def smooth(targets: Float[Tensor, " n"], epsilon: float) -> Float[Tensor, " n"]:
    """(1 − ε) y + ε / 2: label smoothing of two classes (Szegedy et al. 2016, section 7)."""
    return targets * (1 - epsilon) + epsilon / 2


def pairwise(
    logits: Float[Tensor, " n"], targets: Float[Tensor, " n"], groups: Int[Tensor, " n"], min_gap: float
) -> Float[Tensor, " n"]:
    """Bradley–Terry loss −log sigmoid(z_i − z_j) over pairs of a group with y_i − y_j > min_gap, at the row of y_i.

    A row's loss is the mean over the rows of its group that it should beat, 0 if there is none: so the strength of the
    term does not depend on how many pairs there happen to be.

    Args:
        groups: id of each row's group; rows of one group stand next to each other.
        min_gap: pairs closer than this say nothing: about two standard errors of a target, √(2 · ¼ / M) · 2.
    """
    loss, beaten = torch.zeros_like(logits), torch.zeros_like(logits)
    for shift in range(1, _largest_group(groups)):
        same = groups[shift:] == groups[:-shift]
        gap = targets[shift:] - targets[:-shift]
        later, earlier = (same & (gap > min_gap)).to(logits), (same & (gap < -min_gap)).to(logits)
        ahead = logits[shift:] - logits[:-shift]
        loss = loss + _shifted(later * softplus(-ahead), shift, 0) + _shifted(earlier * softplus(ahead), 0, shift)
        beaten = beaten + _shifted(later, shift, 0) + _shifted(earlier, 0, shift)
    return loss / beaten.clamp(min=1)


def _largest_group(groups: Tensor) -> int:
    return int(torch.unique_consecutive(groups, return_counts=True)[1].max()) if len(groups) else 0


def _shifted(values: Tensor, left: int, right: int) -> Tensor:
    return torch.nn.functional.pad(values, (left, right))
