"""What a run can find at all: minimum detectable effects of paired comparisons, to be printed before it starts.

Sources: the exact unconditional power of McNemar's test (Duffy 1984, Biometrics 40); the power of the paired t test by
the noncentral t distribution (Cohen 1988, chapter 2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binom, nct, t


@dataclass(frozen=True)
class MinimumDetectableEffect:
    """The smallest true difference that a paired test finds with the wanted power; its text is one line to print.

    Attributes:
        effect: the difference, in the unit of the outcome; infinite if no possible difference is found so reliably.
        num_pairs: problems that both arms meet.
        assumed: the assumption about the spread, in words.
        alpha: level of the two-sided test, before the division by `num_comparisons`.
        power: probability of finding the effect.
        num_comparisons: m; the level used is alpha / m, what Holm asks of the smallest p-value.
    """

    effect: float
    num_pairs: int
    assumed: str
    alpha: float
    power: float
    num_comparisons: int

    def __str__(self) -> str:
        plan = (
            f"{self.num_pairs} paired problems, {self.assumed}, level {self.alpha:g} over {self.num_comparisons} "
            f"comparison{'s' if self.num_comparisons > 1 else ''}, power {self.power:g}"
        )
        if math.isinf(self.effect):
            return f"Minimum detectable difference: none, too few problems ({plan})."
        return f"Minimum detectable difference: {self.effect:.4f} ({plan})."


def detectable_rate_difference(
    num_pairs: int, *, discordance: float, alpha: float = 0.05, power: float = 0.8, num_comparisons: int = 1
) -> MinimumDetectableEffect:
    """Smallest difference of two paired proportions that exact McNemar finds with probability `power`.

    Args:
        num_pairs: n, problems.
        discordance: ψ, the share of problems that exactly one arm solves, in (0, 1]. Take it from a pilot; guides that
            mostly agree have .05 to .15. The difference cannot exceed it.
        alpha, power, num_comparisons: see `MinimumDetectableEffect`.
    """
    _check(num_pairs, alpha, power, num_comparisons)
    if not 0 < discordance <= 1:
        raise ValueError(f"Expected a discordance in (0, 1], got {discordance}: the share of problems the arms split.")

    def excess(effect: float) -> float:
        return mcnemar_power(num_pairs, effect, discordance=discordance, alpha=alpha / num_comparisons) - power

    effect = brentq(excess, 0.0, discordance, xtol=1e-7) if excess(discordance) > 0 > excess(0.0) else math.inf
    return MinimumDetectableEffect(effect, num_pairs, f"discordance {discordance:g}", alpha, power, num_comparisons)


def detectable_mean_difference(
    num_pairs: int, *, standard_deviation: float, alpha: float = 0.05, power: float = 0.8, num_comparisons: int = 1
) -> MinimumDetectableEffect:
    """Smallest mean difference that a paired t test finds with probability `power` (a good guide to sign-flip too).

    Args:
        num_pairs: n >= 2.
        standard_deviation: of the difference a problem (not of the outcome), > 0, in the unit of the outcome.
        alpha, power, num_comparisons: see `MinimumDetectableEffect`.
    """
    _check(num_pairs, alpha, power, num_comparisons)
    if num_pairs < 2 or not standard_deviation > 0:
        raise ValueError(f"Expected num_pairs >= 2 and standard_deviation > 0, got {num_pairs}, {standard_deviation}.")
    freedom, level = num_pairs - 1, alpha / num_comparisons
    critical = t.isf(level / 2, freedom)

    def excess(noncentrality: float) -> float:
        return nct.sf(critical, freedom, noncentrality) + nct.cdf(-critical, freedom, noncentrality) - power

    high = critical + 2.0
    while excess(high) < 0:
        high *= 2
    effect = brentq(excess, 0.0, high) * standard_deviation / math.sqrt(num_pairs)
    spread = f"standard deviation {standard_deviation:g} of the differences"
    return MinimumDetectableEffect(effect, num_pairs, spread, alpha, power, num_comparisons)


def mcnemar_power(num_pairs: int, effect: float, *, discordance: float, alpha: float = 0.05) -> float:
    """Probability that exact two-sided McNemar gives p <= alpha.

    The number of discordant pairs is D ~ Binomial(n, ψ), the arm's wins among them W ~ Binomial(D, (1 + δ/ψ) / 2); the
    test rejects where W or D - W is at most the largest k with 2 P(Binomial(D, 1/2) <= k) <= α.
    """
    d = np.arange(num_pairs + 1)
    k = _critical(d, alpha)
    win = min(1.0, (1 + effect / discordance) / 2)
    tails = np.where(k >= 0, binom.cdf(k, d, win) + binom.cdf(k, d, 1 - win), 0.0)
    return float(binom.pmf(d, num_pairs, discordance) @ tails)


def _critical(d: np.ndarray, alpha: float) -> np.ndarray:
    """Largest k with 2 P(Binomial(d, 1/2) <= k) <= alpha; -1 where there is none."""
    k = binom.ppf(alpha / 2, d, 0.5)  # the smallest k with P >= alpha / 2
    return np.where(2 * binom.cdf(k, d, 0.5) <= alpha, k, k - 1)


def _check(num_pairs: int, alpha: float, power: float, num_comparisons: int) -> None:
    if num_pairs < 1 or num_comparisons < 1 or not (0 < alpha < 1 and 0 < power < 1):
        raise ValueError(
            "Expected num_pairs >= 1, num_comparisons >= 1 and alpha, power in (0, 1); "
            f"got {num_pairs}, {num_comparisons}, {alpha}, {power}."
        )
