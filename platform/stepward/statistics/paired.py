"""Paired comparisons: every arm met the same problems, so all statistics are of the differences a problem.

Sources: McNemar 1947 in its exact form (a two-sided binomial test of the discordant pairs); Holm 1979, "A simple
sequentially rejective multiple test procedure"; Fisher's sign-flip permutation test; for the interval see `bootstrap`.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Real, Shaped
from scipy.stats import binom

from stepward.core.registry import lookup
from stepward.statistics.bootstrap import CHUNK, Estimate, bootstrap_mean


@dataclass(frozen=True)
class ArmComparison:
    """One arm against the reference over the same problems. Differences are arm minus reference.

    Attributes:
        arm, reference: their names.
        num_pairs: problems that both met.
        num_discordant: problems on which the two differ; below about 10 no test can find anything.
        mean, reference_mean: means over the problems (solve rates for 0/1 outcomes).
        difference, low, high: mean difference and its paired BCa interval.
        test: "mcnemar" (0/1 outcomes, exact) or "sign-flip" (anything else).
        p_value: two-sided, of this comparison alone.
        holm_p_value: adjusted for all comparisons of the table.
    """

    arm: str
    reference: str
    num_pairs: int
    num_discordant: int
    mean: float
    reference_mean: float
    difference: float
    low: float
    high: float
    test: str
    p_value: float
    holm_p_value: float


def compare_arms(
    outcomes: Mapping[str, Shaped[np.ndarray, " _"]],
    reference: str,
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
    num_resamples: int = 10_000,
) -> list[ArmComparison]:
    """Every other arm against the reference, in the order given; Holm-adjusted over the arms.

    Args:
        outcomes: per arm, one finite number a problem (bool, int or float), problems in the same order in every arm.
        reference: the name of the arm to compare with.
        rng: source of resamples and sign flips.

    Raises:
        ValueError: the reference is unknown, the arms differ in length, or an outcome is not finite.

    **Notes** Interval and test are two procedures: at the edge of significance they may disagree, and Holm applies to
    the p-values only. State which one a claim rests on.
    """
    base = lookup(outcomes, reference, kind="arm")
    arms = [name for name in outcomes if name != reference]
    rows = [
        paired_comparison(
            outcomes[name], base, names=(name, reference), rng=rng, confidence=confidence, num_resamples=num_resamples
        )
        for name in arms
    ]
    return holm_adjusted(rows)


def paired_comparison(
    arm: Shaped[np.ndarray, " _"],
    reference: Shaped[np.ndarray, " _"],
    *,
    names: tuple[str, str] = ("arm", "reference"),
    rng: np.random.Generator,
    confidence: float = 0.95,
    num_resamples: int = 10_000,
) -> ArmComparison:
    """One comparison; its `holm_p_value` is that of a table of one."""
    if arm.shape != reference.shape or arm.ndim != 1 or len(arm) == 0:
        raise ValueError(
            f"Expected one outcome a problem, for the same problems, in {names[0]!r} and {names[1]!r}; "
            f"got shapes {arm.shape} and {reference.shape}. Align them by problem id first."
        )
    rng = deepcopy(rng)  # of the caller's draw of problems: equal data get equal intervals, whatever came before
    a, b = np.asarray(arm, np.float64), np.asarray(reference, np.float64)
    binary = bool(np.isin(a, (0.0, 1.0)).all() and np.isin(b, (0.0, 1.0)).all())
    interval = bootstrap_mean(a - b, rng=rng, confidence=confidence, num_resamples=num_resamples)
    if binary and interval.low == interval.high:
        interval = _agreeing_interval(interval, confidence)
    if binary:
        p_value = mcnemar(int((a > b).sum()), int((a < b).sum()))
    else:
        p_value = sign_flip_test(a - b, rng=rng, num_flips=num_resamples)
    return ArmComparison(
        arm=names[0],
        reference=names[1],
        num_pairs=len(a),
        num_discordant=int((a != b).sum()),
        mean=float(a.mean()),
        reference_mean=float(b.mean()),
        difference=interval.value,
        low=interval.low,
        high=interval.high,
        test="mcnemar" if binary else "sign-flip",
        p_value=p_value,
        holm_p_value=p_value,
    )


def mcnemar(num_wins: int, num_losses: int) -> float:
    """Exact two-sided McNemar p-value from the number of problems only the arm solves, b, and only the reference, c.

    Under the null each discordant problem is a fair coin: p = min(1, 2 P(Binomial(b + c, 1/2) <= min(b, c))), and 1
    when there is none.
    """
    return float(min(1.0, 2 * binom.cdf(min(num_wins, num_losses), num_wins + num_losses, 0.5)))


def sign_flip_test(differences: Real[np.ndarray, " n"], *, rng: np.random.Generator, num_flips: int = 10_000) -> float:
    """Two-sided permutation p-value of a zero mean difference: under the null a difference may as well be negated.

    Exact over all 2^n sign patterns where these are no more than `num_flips`; else over that many random ones, counting
    the observed one (Phipson and Smyth 2010), so p >= 1 / (num_flips + 1). Differences of 0 carry nothing.
    """
    values = np.asarray(differences, np.float64)
    values = values[values != 0]
    n = len(values)
    bound = abs(values.sum()) - 1e-12 * np.abs(values).sum()  # rounding must not break ties with the observed sum
    if n < 63 and 2**n <= num_flips:
        signs = 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float(np.mean(np.abs(signs @ values) >= bound))
    rows, extreme = max(1, CHUNK // n), 0
    for start in range(0, num_flips, rows):
        flips = rng.integers(0, 2, (min(rows, num_flips - start), n), dtype=np.int8)
        extreme += int(np.count_nonzero(np.abs(values.sum() - 2 * (flips @ values)) >= bound))
    return (extreme + 1) / (num_flips + 1)


def holm(p_values: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    """Holm's step-down adjusted p-values: reject where they are <= α, with family-wise error <= α however dependent.

    The i-th smallest of m becomes max over j <= i of (m - j + 1) p_(j), at most 1.
    """
    if not ((p_values >= 0) & (p_values <= 1)).all():
        raise ValueError(f"Expected p-values in [0, 1], got {p_values}.")
    m, order = len(p_values), np.argsort(p_values, kind="stable")
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * np.arange(m, 0, -1)), 1.0)
    return adjusted


def holm_adjusted(rows: list[ArmComparison]) -> list[ArmComparison]:
    """The same comparisons with `holm_p_value` adjusted for all of them as one family."""
    adjusted = holm(np.array([row.p_value for row in rows], dtype=np.float64))
    return [replace(row, holm_p_value=float(p)) for row, p in zip(rows, adjusted, strict=True)]


def _agreeing_interval(point: Estimate, confidence: float) -> Estimate:
    """An interval for 0/1 outcomes whose differences are all the same, where a bootstrap sees no variation.

    Clopper-Pearson: a kind of pair never seen in n has probability at most u = 1 - (α/2)^(1/n). With no discordant pair
    |difference| <= u; with nothing but wins the difference is at least (1 - u) - u, and likewise for losses.
    """
    unseen = 1 - ((1 - confidence) / 2) ** (1 / point.num_units)
    slack = unseen * (1 + abs(point.value))
    return replace(point, low=max(-1.0, point.value - slack), high=min(1.0, point.value + slack))
