"""Do Monte-Carlo labels tell the truth? How often the interval of (successes, M) covers the exact value V^π.

Three facts decide how to read "covers 95 % of the time".

- A row whose V^π is exactly 0 or 1 always has S = 0 or S = M, and every usual interval then reaches the end: such rows
  are covered with certainty and tell nothing. With a third of the rows at the ends, 95 % becomes 97 %. So `coverage`
  reports the *interior* rows, 0 < V^π < 1, and counts the others.
- At one given probability the coverage of a discrete interval swings by several per cent, up or down. Averaged over the
  interior values of search trees at M = 64, many of them close to an end, Wilson covered 94.8 to 95.4 %, Jeffreys 95.0
  to 96.0 % and Clopper-Pearson 97 to 98 %. Since V^π is known, `expected` says what the method must cover on just these
  rows, and `rate` should differ from it by its standard error alone.
- `randomised_coverage` has no such swings: it covers 1 - α exactly for *every* V^π, the ends included, if and only if
  the counts are binomial(M, V^π). It is the sharper test of the labels, over all the rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Real
from scipy.special import bdtr
from scipy.stats import binom

from stepward.statistics.binomial import binomial_interval


@dataclass(frozen=True)
class Coverage:
    """Share of rows whose interval contains the truth.

    Attributes:
        rate: share covered, NaN without rows.
        standard_error: of `rate`, under the hypothesis that the counts are binomial with the known truths.
        expected: what `rate` is in expectation under that hypothesis, exactly.
        num_rows: rows counted in `rate`.
        num_certain: rows left out because their truth is exactly 0 or 1.
    """

    rate: float
    standard_error: float
    expected: float
    num_rows: int
    num_certain: int


def coverage(
    truths: Float[np.ndarray, " n"],
    successes: Int[np.ndarray, " n"],
    num_rollouts: Int[np.ndarray, " n"],
    *,
    method: str = "wilson",
    confidence: float = 0.95,
) -> Coverage:
    """Coverage of the known success probabilities by the binomial interval, over rows with 0 < truth < 1.

    Args:
        truths: V^π, the exact success probability of every row, in [0, 1].
        successes, num_rollouts: the Monte-Carlo label S of M.
        method: a name in `INTERVALS`.
    """
    truths = _probabilities(truths)
    inner = (truths > 0) & (truths < 1)
    low, high = binomial_interval(successes[inner], num_rollouts[inner], method=method, confidence=confidence)
    covered = (low <= truths[inner]) & (truths[inner] <= high)
    expected = expected_coverage(truths[inner], num_rollouts[inner], method=method, confidence=confidence)
    return _summary(covered, expected, num_certain=int((~inner).sum()))


def expected_coverage(
    truths: Float[np.ndarray, " n"],
    num_rollouts: Int[np.ndarray, " n"],
    *,
    method: str = "wilson",
    confidence: float = 0.95,
) -> Float[np.ndarray, " n"]:
    """Probability, a row, that the interval of S ~ Binomial(M, truth) contains the truth: exact, by summing over S."""
    truths, covered = _probabilities(truths), np.zeros(len(truths))
    for m in np.unique(num_rollouts):
        rows = num_rollouts == m
        counts = np.arange(m + 1)
        low, high = binomial_interval(counts, np.array([m]), method=method, confidence=confidence)
        # Both bounds grow with S, so the counts whose interval contains p are one run, first .. last.
        first, last = np.searchsorted(high, truths[rows], "left"), np.searchsorted(low, truths[rows], "right") - 1
        below = np.where(first > 0, bdtr(first - 1.0, m, truths[rows]), 0.0)
        covered[rows] = np.maximum(bdtr(last.astype(float), m, truths[rows]) - below, 0.0)
    return covered


def randomised_coverage(
    truths: Float[np.ndarray, " n"],
    successes: Int[np.ndarray, " n"],
    num_rollouts: Int[np.ndarray, " n"],
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
) -> Coverage:
    """Coverage by the randomised exact interval of Stevens 1950, over all rows.

    A truth p is covered when the randomised distribution value F(S - 1) + U · P(S), with U uniform, lies between α/2
    and 1 - α/2. That value is uniform on (0, 1) for every p if S ~ Binomial(M, p), so exactly 1 - α of the rows are
    covered. A row with p = 0 and S = 1 is not covered: its label is impossible.
    """
    truths = _probabilities(truths)
    mass = binom.pmf(successes, num_rollouts, truths)
    position = binom.cdf(successes - 1, num_rollouts, truths) + rng.random(len(truths)) * mass
    covered = (np.abs(position - 0.5) <= confidence / 2) & (mass > 0)
    return _summary(covered, np.full(len(truths), confidence), num_certain=0)


def _summary(covered: np.ndarray, expected: np.ndarray, num_certain: int) -> Coverage:
    n = len(covered)
    if n == 0:
        return Coverage(np.nan, np.nan, np.nan, 0, num_certain)
    error = float(np.sqrt((expected * (1 - expected)).sum()) / n)
    return Coverage(float(covered.mean()), error, float(expected.mean()), n, num_certain)


def _probabilities(truths: Real[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    truths = np.asarray(truths, np.float64)
    if not ((truths >= -1e-9) & (truths <= 1 + 1e-9)).all():  # sums of probabilities may overshoot by rounding
        raise ValueError("Expected truths in [0, 1]: exact success probabilities.")
    return np.clip(truths, 0.0, 1.0)
