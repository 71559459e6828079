"""Does a predicted success probability mean what it says? Brier score, expected calibration error, reliability curve.

Targets are soft: exact V^π, 0/1 outcomes, or Monte-Carlo shares S / M. Sources: Brier 1950; Bröcker 2012, "Estimating
reliability and resolution of probability forecasts through decomposition of the empirical score" (bias of such scores);
Nixon et al. 2019, "Measuring calibration in deep learning" (equal-mass bins); Kumar, Liang, Ma 2019, "Verified
uncertainty calibration" (plug-in ECE is biased upwards).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Real
from scipy.stats import rankdata

from stepward.statistics.binomial import binomial_interval


@dataclass(frozen=True)
class CalibrationError:
    """Expected calibration error (ECE), all in probability units.

    Attributes:
        plug_in: Σ_b w_b |mean prediction - mean target|, the usual figure; never 0, even for a calibrated model.
        debiased: median-unbiased estimate of the same quantity without sampling noise; compare models by this one.
        low, high: confidence interval of that quantity.
        num_bins: bins that hold rows. num_rows: n.
    """

    plug_in: float
    debiased: float
    low: float
    high: float
    num_bins: int
    num_rows: int


@dataclass(frozen=True)
class ReliabilityBin:
    """One point of the reliability curve: what was predicted, what happened, and the interval of the latter."""

    num_rows: int
    mean_prediction: float
    mean_target: float
    low: float
    high: float


def brier_score(predictions: Float[np.ndarray, " n"], targets: Real[np.ndarray, " n"]) -> float:
    """Mean squared difference to soft targets. Against exact V^π this is the squared error of the value itself."""
    predictions, targets = _checked(predictions, targets)
    return float(np.mean((predictions - targets) ** 2))


def debiased_brier(
    predictions: Float[np.ndarray, " n"], successes: Real[np.ndarray, " n"], num_rollouts: Real[np.ndarray, " n"]
) -> float:
    """Unbiased estimate of mean (f - p)² when p is known only through S of M rollouts.

    E (f - S/M)² = (f - p)² + p (1 - p) / M, and p̂ (1 - p̂) / (M - 1) estimates the last term without bias. So labels
    of different M become comparable with one another and with exact V^π. May be slightly negative for a near-perfect f.

    Args:
        predictions: f, in [0, 1].
        successes, num_rollouts: S and M per row; M >= 2, fixed before the rollouts (no early stopping).
    """
    num_rollouts = np.asarray(num_rollouts, np.float64)
    if (num_rollouts < 2).any():
        raise ValueError("Expected num_rollouts >= 2 in every row: one rollout does not show its own noise.")
    predictions, shares = _checked(predictions, successes / num_rollouts)
    return float(np.mean((predictions - shares) ** 2 - shares * (1 - shares) / (num_rollouts - 1)))


def equal_mass_bins(predictions: Float[np.ndarray, " n"], num_bins: int = 15) -> Int[np.ndarray, " n"]:
    """Bin of every row, 0 .. k - 1 in order of prediction, with k <= num_bins and about n / num_bins rows each.

    Equal predictions always share a bin (the one of their middle rank), so the bins do not depend on the order of the
    rows; a tie larger than a bin leaves fewer bins.
    """
    if num_bins < 1:
        raise ValueError(f"Expected num_bins >= 1, got {num_bins}; 10 to 20 are usual.")
    middle = rankdata(predictions, method="average") - 0.5  # in (0, n)
    raw = np.minimum((middle * num_bins / max(len(predictions), 1)).astype(int), num_bins - 1)
    return np.unique(raw, return_inverse=True)[1].reshape(-1)


def expected_calibration_error(
    predictions: Float[np.ndarray, " n"],
    targets: Real[np.ndarray, " n"],
    *,
    rng: np.random.Generator,
    num_bins: int = 15,
    confidence: float = 0.95,
    num_resamples: int = 2_000,
    clusters: Int[np.ndarray, " n"] | None = None,
) -> CalibrationError:
    """Equal-mass ECE with a debiased estimate and an interval that holds at perfect calibration too.

    Resampling rows adds noise to noise: percentile bootstrap intervals of an ECE lie above the truth altogether.
    Instead the bootstrap is inverted. Let d_b be the bins' residuals, shrunk to their mean by what noise alone would
    spread them and scaled to the plug-in figure, and s_b their standard errors; suppose the truth were c d_b. Draw what
    the plug-in would then show, Σ w_b |c d_b + s_b z_b| with z_b ~ N(0, 1), and keep every c for which the figure that
    was seen is no surprise. The interval is c · plug_in over these; the c that puts it at the median gives the debiased
    estimate. Simulated coverage is 90 to 97 % for n from 500 to 3,000.

    Args:
        predictions, targets: per row, both in [0, 1].
        rng: source of the draws z.
        num_bins: 15 is usual; at least 20 rows a bin for the normal approximation of its mean.
        clusters: problem of each row: the noise of all bins together is that of problems; None: rows are independent.
    """
    predictions, targets = _checked(predictions, targets)
    bins = equal_mass_bins(predictions, num_bins)
    counts, residuals, variances = _bin_moments(bins, predictions - targets)
    weights = counts / len(bins)
    plug_in = float(np.abs(residuals) @ weights)
    if clusters is None:
        noise = rng.standard_normal((num_resamples, len(counts))) * np.sqrt(variances / counts)
    else:
        deviations = _by_cluster(bins, predictions - targets - residuals[bins], clusters)
        noise = rng.standard_normal((num_resamples, len(deviations))) @ deviations / counts

    shape = _shrunk(residuals, weights, noise.var(axis=0))
    shape = shape * plug_in / max(float(np.abs(shape) @ weights), 1e-300)

    def scale_at(level: float) -> float:
        """The c whose `level` quantile is the plug-in seen: 0 if even a calibrated model shows more."""
        low, high = 0.0, 4.0
        if plug_in == 0.0 or np.quantile(np.abs(noise) @ weights, level) >= plug_in:
            return 0.0
        for _ in range(30):
            middle = (low + high) / 2
            shown = np.quantile(np.abs(middle * shape + noise) @ weights, level)
            low, high = (middle, high) if shown < plug_in else (low, middle)
        return high

    low, centre, high = (plug_in * scale_at(level) for level in ((1 + confidence) / 2, 0.5, (1 - confidence) / 2))
    return CalibrationError(plug_in, centre, low, high, num_bins=len(counts), num_rows=len(bins))


def reliability_curve(
    predictions: Float[np.ndarray, " n"],
    targets: Real[np.ndarray, " n"],
    *,
    num_bins: int = 15,
    confidence: float = 0.95,
    clusters: Int[np.ndarray, " n"] | None = None,
) -> list[ReliabilityBin]:
    """Mean target against mean prediction in equal-mass bins, each with a Wilson interval.

    Soft targets vary less than 0/1 outcomes of the same mean μ, so Wilson is taken at the effective number of rows
    n_b · μ (1 - μ) / s² (Kish's design effect), never fewer than n_b. For 0/1 targets that is n_b itself. With
    clusters, the problem of each row, s² / n_b is the variance over problems, and there may be fewer.
    """
    predictions, targets = _checked(predictions, targets)
    bins = equal_mass_bins(predictions, num_bins)
    counts, means, variances = _bin_moments(bins, targets)
    # The moments may leave [0, 1] by rounding alone.
    means = np.clip(means, 0.0, 1.0)
    binomial_variance = means * (1 - means)
    ratio = np.divide(binomial_variance, variances, out=np.ones_like(means), where=variances > 0)
    effective = counts * np.maximum(ratio, 1.0)
    if clusters is not None:
        spread = (_by_cluster(bins, targets - means[bins], clusters) ** 2).sum(axis=0) / counts**2
        effective = np.divide(binomial_variance, spread, out=effective, where=spread > 0)
    low, high = binomial_interval(means * effective, effective, confidence=confidence)
    predicted = np.bincount(bins, predictions) / counts
    return [
        ReliabilityBin(int(counts[b]), float(predicted[b]), float(means[b]), float(low[b]), float(high[b]))
        for b in range(len(counts))
    ]


def _shrunk(
    residuals: Float[np.ndarray, " b"], weights: Float[np.ndarray, " b"], variances: Float[np.ndarray, " b"]
) -> Float[np.ndarray, " b"]:
    """Residuals with as much of their spread about the mean as is more than noise; themselves where nothing is left."""
    mean = float(weights @ residuals)
    away = residuals - mean
    spread = float(weights @ away**2)
    share = max(0.0, 1 - float(weights @ variances) / spread) if spread > 0 else 0.0
    shape = mean + share * away
    return shape if np.abs(shape).max(initial=0.0) > 0 else residuals


def _by_cluster(
    bins: np.ndarray, deviations: np.ndarray, clusters: Int[np.ndarray, " n"]
) -> Float[np.ndarray, "clusters bins"]:
    """Sums of deviations of every cluster in every bin, times √(G / (G − 1)) for the mean that was taken off."""
    codes = np.unique(clusters, return_inverse=True)[1].reshape(-1)
    num, width = int(codes.max(initial=0)) + 1, int(bins.max(initial=0)) + 1
    sums = np.bincount(codes * width + bins, deviations, minlength=num * width).reshape(num, width)
    return sums * np.sqrt(num / max(num - 1, 1))


def _bin_moments(bins: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, mean and variance (of one row) in every bin; a bin of one row takes the variance of all rows."""
    counts = np.bincount(bins)
    means = np.bincount(bins, values) / counts
    squares = np.bincount(bins, (values - means[bins]) ** 2)
    variances = np.where(counts > 1, squares / np.maximum(counts - 1, 1), values.var())
    return counts, means, variances


def _checked(predictions: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    predictions, targets = np.asarray(predictions, np.float64), np.asarray(targets, np.float64)
    if len(predictions) == 0:
        raise ValueError("Expected at least one row to judge, got none.")
    for name, values in (("predictions", predictions), ("targets", targets)):
        if not ((values >= 0) & (values <= 1)).all():
            raise ValueError(
                f"Expected {name} in [0, 1], got values in [{values.min():g}, {values.max():g}]: turn scores into "
                "probabilities first, for example with stepward.rewards.calibration."
            )
    return predictions, targets
