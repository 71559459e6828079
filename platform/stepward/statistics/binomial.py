"""Confidence intervals of a success probability from (successes, trials), for whole arrays at once.

Source: Brown, Cai, DasGupta 2001, "Interval estimation for a binomial proportion", equations 4 (Wilson), 7 (Jeffreys,
with their modification at the ends) and section 4.2.1 (Clopper-Pearson). Which one covers what: see `coverage`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Real
from scipy.special import betaincinv, ndtri

from stepward.core.registry import lookup

Bounds = tuple[Float[np.ndarray, "*shape"], Float[np.ndarray, "*shape"]]


def wilson(successes: np.ndarray, num_trials: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """The score interval: the probabilities that a normal test at level α does not reject. Trials may be fractional."""
    share, z = successes / num_trials, ndtri(1 - alpha / 2)
    scale = 1 + z**2 / num_trials
    centre = (share + z**2 / (2 * num_trials)) / scale
    half = z / scale * np.sqrt(share * (1 - share) / num_trials + z**2 / (4 * num_trials**2))
    return centre - half, centre + half


def jeffreys(successes: np.ndarray, num_trials: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """Equal tails of the posterior Beta(S + 1/2, M - S + 1/2)."""
    a, b = successes + 0.5, num_trials - successes + 0.5
    return betaincinv(a, b, alpha / 2), betaincinv(a, b, 1 - alpha / 2)


def clopper_pearson(successes: np.ndarray, num_trials: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """The exact interval: covers at least 1 - α for every probability, hence more than that on average."""
    failures = num_trials - successes
    with np.errstate(invalid="ignore"):  # Beta(0, ·) has no density; the ends are set by the caller
        low = betaincinv(successes, failures + 1.0, alpha / 2)
        high = betaincinv(successes + 1.0, failures, 1 - alpha / 2)
    return low, high


INTERVALS: dict[str, Callable[[np.ndarray, np.ndarray, float], tuple[np.ndarray, np.ndarray]]] = {
    "wilson": wilson,
    "jeffreys": jeffreys,
    "clopper_pearson": clopper_pearson,
}


def binomial_interval(
    successes: Real[np.ndarray, "*shape"],
    num_trials: Real[np.ndarray, "*#shape"],
    *,
    method: str = "wilson",
    confidence: float = 0.95,
) -> Bounds:
    """Lower and upper bounds of the success probability.

    Args:
        successes: S, 0 <= S <= M.
        num_trials: M >= 1, an array or one number for all as an array of shape [1] (or of the same shape).
        method: a name in `INTERVALS`. "wilson" or "jeffreys" to describe, "clopper_pearson" for a guarantee.

    With no success the lower bound is exactly 0, and with no failure the upper bound exactly 1, in every method.
    """
    successes, num_trials = np.asarray(successes, np.float64), np.asarray(num_trials, np.float64)
    if not ((num_trials > 0) & (successes >= 0) & (successes <= num_trials)).all():
        raise ValueError("Expected 0 <= successes <= num_trials and num_trials > 0 in every row.")
    if not 0 < confidence < 1:
        raise ValueError(f"Expected a confidence in (0, 1), got {confidence}; 0.95 is usual.")
    low, high = lookup(INTERVALS, method, kind="binomial interval")(successes, num_trials, 1 - confidence)
    return np.where(successes == 0, 0.0, low), np.where(successes == num_trials, 1.0, high)
