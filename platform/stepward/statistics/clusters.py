"""Intervals over problems for figures of rows: states of one problem are not independent, and count as one unit.

Sources: Miller 2024, arXiv:2411.00640, sections 2.2 and 3 (clustered errors of evaluations); for the influence of a row
on a rank correlation Borkowf 2002, "Computing the nonnull asymptotic variance and the asymptotic relative efficiency
of Spearman's rank correlation", equation 4.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int, Real
from scipy.stats import rankdata
from scipy.stats import t as student

from stepward.statistics.bootstrap import Estimate, bootstrap_mean, bootstrap_saving


def clustered_mean(
    values: Real[np.ndarray, " n"], clusters: Int[np.ndarray, " n"], *, rng: np.random.Generator, **options: Any
) -> Estimate:
    """Mean of rows, with the BCa interval that resamples whole clusters: of a ratio of sums, Σ values over Σ rows.

    Args:
        values: one finite number a row.
        clusters: problem of each row.
        rng: source of the resamples; the same state gives the same interval.
        options: confidence, num_resamples.
    """
    codes, counts = np.unique(clusters, return_inverse=True, return_counts=True)[1:]
    if len(counts) == len(values):
        return bootstrap_mean(np.asarray(values, np.float64)[np.argsort(codes, kind="stable")], rng=rng, **options)
    sums = np.bincount(codes.reshape(-1), np.asarray(values, np.float64))
    saved = bootstrap_saving(sums, counts, rng=rng, **options)
    return Estimate(1 - saved.value, 1 - saved.high, 1 - saved.low, len(counts))


def clustered_spearman(
    predictions: Real[np.ndarray, " n"],
    truths: Real[np.ndarray, " n"],
    clusters: Int[np.ndarray, " n"],
    confidence: float = 0.95,
) -> Estimate:
    """Rank correlation of rows, ties at their average rank, with an interval over clusters.

    The influence of every row is summed within its cluster; the interval is Student's, with one degree of freedom less
    than there are clusters, on Fisher's scale. NaN ends with fewer than three clusters.
    """
    x, y = (rankdata(values) / len(values) - (len(values) + 1) / (2 * len(values)) for values in (predictions, truths))
    num = len(np.unique(clusters))
    spread = np.sqrt((x**2).mean() * (y**2).mean())
    if spread == 0:
        value = 0.0 if len(truths) and np.ptp(truths) else np.nan
        return Estimate(value, np.nan, np.nan, num)
    rho = float(np.clip((x * y).mean() / spread, -1, 1))
    if num < 3:
        return Estimate(rho, np.nan, np.nan, num)
    if abs(rho) >= 1 - 1e-12:
        return Estimate(rho, rho, rho, num)
    influence = (x * y + _mean_above(x, y) + _mean_above(y, x)) / spread
    codes = np.unique(clusters, return_inverse=True)[1].reshape(-1)
    error = _cluster_error(influence - influence.mean(), codes, num)
    half = student.ppf((1 + confidence) / 2, num - 1) * error / (1 - rho**2)
    low, high = np.tanh(np.arctanh(rho) + half * np.array([-1.0, 1.0]))
    return Estimate(rho, float(low), float(high), num)


def _mean_above(order: Float[np.ndarray, " n"], values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """For each row, the mean over all rows of `values` where `order` is larger, half of it where it is equal."""
    rows = np.argsort(order, kind="stable")
    above = np.append(np.cumsum(values[rows][::-1])[::-1], 0.0)  # sum of the rows from each place on
    ordered = order[rows]
    larger = above[np.searchsorted(ordered, order, side="right")]
    at_least = above[np.searchsorted(ordered, order, side="left")]
    return (larger + at_least) / (2 * len(order))


def _cluster_error(deviations: Float[np.ndarray, " n"], codes: Int[np.ndarray, " n"], num: int) -> float:
    """Standard error of a mean of rows whose deviations are summed within clusters."""
    sums = np.bincount(codes, deviations)
    return float(np.sqrt(num / (num - 1) * (sums**2).sum()) / len(deviations))
