"""The BCa bootstrap interval of a mean: the interval behind every comparison in this package.

Source: Efron 1987, "Better bootstrap confidence intervals", equations 2.3 (interval), 4.1 (z0) and 6.6 (acceleration).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from jaxtyping import Float, Real
from scipy.special import ndtr, ndtri

CHUNK = 2_000_000  # numbers drawn at once: 16 MB of indices


@dataclass(frozen=True)
class Estimate:
    """A mean over independent units (problems, sibling sets) with its confidence interval, in the unit of the data.

    `num_units` is what the interval is over. With no unit at all value, low and high are NaN.
    """

    value: float
    low: float
    high: float
    num_units: int

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}] (n = {self.num_units})"


class Resampling(TypedDict):
    """How intervals and tests resample: mass of the intervals, and the number of resamples."""

    confidence: float
    num_resamples: int


def bootstrap_mean(
    values: Real[np.ndarray, " n"],
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
    num_resamples: int = 10_000,
) -> Estimate:
    """Mean of independent values with its bias-corrected and accelerated (BCa) bootstrap interval.

    A paired comparison is the mean of the differences: pass ``a - b``.

    Args:
        values: one finite number a unit.
        rng: source of the resamples; the same state gives the same interval.
        confidence: mass of the interval, in (0, 1).
        num_resamples: B; 10,000 puts the end points within about 0.03 standard errors of B = infinity.

    **Notes** Values that are all equal (one value included) leave nothing to resample: the interval is that point.
    That is not certainty; `compare_arms` widens it for 0/1 outcomes, where an exact bound exists. BCa covers less than
    it says for few units: of exponential data 87, 91 and 94 % instead of 95 % at n = 10, 20 and 50.
    """
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("Expected finite values, got NaN or infinity: decide what an undefined unit counts as first.")
    if not 0 < confidence < 1:
        raise ValueError(f"Expected a confidence in (0, 1), got {confidence}; 0.95 is usual.")
    if len(values) == 0:
        return Estimate(np.nan, np.nan, np.nan, 0)
    mean = float(values.mean())
    if values.min() == values.max():
        return Estimate(float(values[0]), float(values[0]), float(values[0]), len(values))
    means = resampled_means(values, num_resamples=num_resamples, rng=rng)
    low, high = np.quantile(means, _bca_levels(means, values, confidence))
    return Estimate(mean, float(low), float(high), len(values))


def bootstrap_saving(
    values: Real[np.ndarray, " n"],
    reference: Real[np.ndarray, " n"],
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
    num_resamples: int = 10_000,
) -> Estimate:
    """Share of the reference's mean that paired values save, 1 − Σ values / Σ reference, with its BCa interval.

    Problems are resampled and both sums made again, so that of values >= 0 no end of the interval is above 1.

    Args:
        values, reference: one finite number a problem each; the sum of the reference is above 0.
        rng: source of the resamples; the same state gives the same interval.
    """
    values, reference = np.asarray(values, np.float64), np.asarray(reference, np.float64)
    n = len(values)
    if n == 0 or not reference.sum() > 0:
        return Estimate(np.nan, np.nan, np.nan, n)
    saved = float(1 - values.sum() / reference.sum())
    influence = (1 - saved) * reference - values  # of each problem on the share, up to a factor; sums to 0
    if np.abs(influence).max() <= 1e-12 * np.abs(reference).max():
        return Estimate(saved, saved, saved, n)
    rows, shares = max(1, CHUNK // n), []
    for start in range(0, num_resamples, rows):
        drawn = rng.integers(0, n, (min(rows, num_resamples - start), n))
        shares.append(1 - values[drawn].sum(axis=1) / reference[drawn].sum(axis=1))
    found = np.concatenate(shares)
    low, high = np.quantile(found, _bca_levels(found, saved + influence, confidence))
    return Estimate(saved, float(low), float(high), n)


def resampled_means(
    values: Float[np.ndarray, " n"], *, num_resamples: int, rng: np.random.Generator
) -> Float[np.ndarray, " b"]:
    """Means of `num_resamples` samples of size n drawn with replacement.

    Few distinct values (0/1 outcomes, their differences) are drawn as multinomial counts: the same distribution,
    some fifty times faster at n = 1,000.
    """
    n = len(values)
    distinct, counts = np.unique(values, return_counts=True)
    if 10 * len(distinct) < n:
        return rng.multinomial(n, counts / n, size=num_resamples) @ distinct / n
    rows = max(1, CHUNK // n)
    sizes = [min(rows, num_resamples - start) for start in range(0, num_resamples, rows)]
    return np.concatenate([values[rng.integers(0, n, (size, n))].mean(axis=1) for size in sizes])


def _bca_levels(means: np.ndarray, values: np.ndarray, confidence: float) -> np.ndarray:
    """The two quantile levels of the resampled means that bound the interval."""
    deviations = values - values.mean()
    tolerance = 1e-12 * np.abs(values).max()  # ties with the observed mean count half, up to rounding
    below = (np.mean(means < values.mean() - tolerance) + np.mean(means <= values.mean() + tolerance)) / 2
    bias = ndtri(np.clip(below, 0.5 / len(means), 1 - 0.5 / len(means)))
    # The jackknife acceleration; for a mean the leave-one-out values are linear in the data.
    acceleration = (deviations**3).sum() / (6 * (deviations**2).sum() ** 1.5)
    shifted = bias + ndtri([(1 - confidence) / 2, (1 + confidence) / 2])
    return ndtr(bias + shifted / (1 - acceleration * shifted))
