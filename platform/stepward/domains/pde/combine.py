"""Mixing fields: weighted sums of candidates, whole or patch by patch, that conserve what all candidates conserve."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

__all__ = ["mixed", "refine", "weighted_mean"]


def mixed(
    sets: Float[np.ndarray, "n k c h w"], weights: np.ndarray, *, smooth: bool, periodic: bool = True
) -> Float[np.ndarray, "n c h w"]:
    """Σ_k w_k x_k with weights [n, k], or [n, k, r, s] a patch (`refine`).

    A candidate that is not finite has no part in a patchwork, whatever its weight.
    """
    if weights.ndim == 2:
        return weighted_mean(sets, weights)
    patch = sets.shape[3] // weights.shape[2]
    fields = np.where(np.isfinite(sets), sets, 0.0)
    return (refine(weights, patch, smooth=smooth, periodic=periodic)[:, :, None] * fields).sum(axis=1)


def weighted_mean(
    sets: Float[np.ndarray, "n k c h w"], weights: Float[np.ndarray, "n k"]
) -> Float[np.ndarray, "n c h w"]:
    """Σ_k w_k x_k; a candidate of weight 0 does not spoil the sum with what it has instead of numbers."""
    used = np.where(weights[:, :, None, None, None] > 0, sets, 0.0)
    return np.einsum("nk,nkchw->nchw", weights, used)


def refine(
    weights: Float[np.ndarray, "n k r s"], patch: int, *, smooth: bool, periodic: bool = True
) -> Float[np.ndarray, "n k h w"]:
    """Weights a patch to weights a cell: constant in the patch, or linear between centres, periodic or constant beyond
    the last centres. Sums stay 1.
    """
    fine = weights.repeat(patch, axis=2).repeat(patch, axis=3)
    if not smooth:
        return fine
    offset = (np.arange(patch) + 0.5) / patch - 0.5  # place in the patch, from −½ to ½
    for axis, repeats in ((2, weights.shape[2]), (3, weights.shape[3])):
        shape, ends, size = [1, 1, 1, 1], [(0, 0)] * 4, fine.shape[axis]
        shape[axis], ends[axis] = -1, (patch, patch)
        t = np.tile(offset, repeats).reshape(shape)
        padded = np.pad(fine, ends, mode="wrap" if periodic else "edge")
        before, after = (np.take(padded, np.arange(first, first + size), axis) for first in (0, 2 * patch))
        fine = fine * (1 - np.abs(t)) + before * np.maximum(-t, 0) + after * np.maximum(t, 0)
    return fine
