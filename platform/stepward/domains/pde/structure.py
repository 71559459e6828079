"""The structure of an error: at which scales it lies, and whether totals drift."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

BANDS = {"nrmse_large": (0.0, 1 / 8), "nrmse_middle": (1 / 8, 1 / 4), "nrmse_small": (1 / 4, np.inf)}  # of the cells


def band_errors(
    fields: Float[np.ndarray, "n c h w"], truth: Float[np.ndarray, "n c h w"]
) -> dict[str, Float[np.ndarray, " n"]]:
    """NRMSE of the part of the error with wave numbers low < |k| <= high, k in waves per square over cells along it.

    Squares of the bands add up to that of the whole NRMSE. The mean, k = 0, is of the largest scales.
    """
    height, width = fields.shape[2:]
    error = fields.astype(np.float64) - truth
    power = (np.abs(np.fft.fft2(error)) ** 2).sum(axis=1) / (height * width)
    k = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    norm = (truth.astype(np.float64) ** 2).sum(axis=(1, 2, 3))
    return {
        name: np.sqrt(power[:, (k > low if low else k >= 0) & (k <= high)].sum(axis=1) / norm)
        for name, (low, high) in BANDS.items()
    }


def drift(fields: Float[np.ndarray, "n c h w"], first: Float[np.ndarray, "n c h w"]) -> Float[np.ndarray, " n"]:
    """By how much the total of a channel has changed since the first frame, over the channel's root mean square; the
    largest of the channels. 0 where a periodic flow keeps what it conserves.
    """
    before, after = (frame.astype(np.float64) for frame in (first, fields))
    size = np.sqrt((before**2).mean(axis=(2, 3))) + 1e-12
    return np.asarray((np.abs((after - before).mean(axis=(2, 3))) / size).max(axis=1))
