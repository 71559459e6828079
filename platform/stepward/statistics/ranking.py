"""Does a guide put states in the right order, above all the children of one parent, which is what a search asks of it?

Sibling metrics are computed inside every group (children of one parent, or any other set of alternatives), then
averaged over groups; intervals are over groups. Only groups that offer a choice count: those whose truths differ by
more than `min_spread`. Groups are ragged, in any order, and handled without a Python loop over them.

Source: Spearman 1904, with average ranks for ties.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, Real
from scipy.stats import rankdata

from stepward.statistics.bootstrap import Estimate
from stepward.statistics.clusters import clustered_mean


def spearman(predictions: Real[np.ndarray, " n"], truths: Real[np.ndarray, " n"]) -> float:
    """Rank correlation over all rows, ties at their average rank.

    A constant prediction orders nothing and counts as 0. A constant truth has no order to find: NaN.
    """
    _require_finite(predictions, truths)
    if len(truths) == 0 or truths.min() == truths.max():
        return float("nan")
    return float(_group_spearman(predictions, truths, np.zeros(len(truths), int))[0])


def sibling_spearman(
    predictions: Real[np.ndarray, " n"],
    truths: Real[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"],
    *,
    rng: np.random.Generator,
    min_spread: float | int = 0.0,
    clusters: Int[np.ndarray, " n"] | None = None,
) -> Estimate:
    """Mean of the rank correlations within groups whose truths span more than `min_spread`.

    Args:
        predictions: the guide's scores, in any unit. A group of equal scores counts as 0, not as missing.
        truths: for example V^π, in [0, 1].
        groups: any integer id a sibling set, for example the parent's.
        rng: source of the bootstrap over groups.
        min_spread: .02 for V^π of the walk: below that the best and the worst child are as good as equal.
        clusters: problem of each row, one a group: intervals are over problems; None: over groups.
    """
    p, t, g, owners = _eligible(predictions, truths, groups, min_spread, clusters)
    return clustered_mean(_group_spearman(p, t, g), owners, rng=rng)


def sibling_accuracy(
    predictions: Real[np.ndarray, " n"],
    truths: Real[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"],
    *,
    rng: np.random.Generator,
    min_spread: float | int = 0.0,
    clusters: Int[np.ndarray, " n"] | None = None,
) -> Estimate:
    """Share of sibling pairs put in the right order, a group at a time; 1/2 is chance.

    A pair counts if its truths differ by more than `min_spread`; equal predictions count 1/2. The mean is over groups
    with such a pair, so that one large family does not decide. Arguments as in `sibling_spearman`.
    """
    p, t, g, owners = _eligible(predictions, truths, groups, min_spread, clusters)
    num_groups = len(owners)
    p = rankdata(p, method="dense")  # finite, so that differences of infinite scores are no NaN
    right, pairs = np.zeros(num_groups), np.zeros(num_groups)
    largest = np.bincount(g).max() if len(g) else 0
    for shift in range(1, largest):  # rows are sorted by group: every pair is `shift` rows apart for one shift
        dt, dp = t[shift:] - t[:-shift], p[shift:] - p[:-shift]
        pair = (g[shift:] == g[:-shift]) & (np.abs(dt) > min_spread)
        owner = g[shift:][pair]
        pairs += np.bincount(owner, minlength=num_groups)
        right += np.bincount(owner, (1 + np.sign(dt[pair]) * np.sign(dp[pair])) / 2, minlength=num_groups)
    return clustered_mean(right / pairs, owners, rng=rng)


def top1_regret(
    predictions: Real[np.ndarray, " n"],
    truths: Real[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"],
    *,
    rng: np.random.Generator,
    min_spread: float | int = 0.0,
    clusters: Int[np.ndarray, " n"] | None = None,
) -> Estimate:
    """Truth lost by following the guide: best truth of the group minus the truth of the child it scores highest.

    Children tied for the highest score share its place: their mean truth counts, which is what a random choice among
    them gets. In the unit of the truths, 0 is best. Arguments as in `sibling_spearman`.
    """
    p, t, g, owners = _eligible(predictions, truths, groups, min_spread, clusters)
    num_groups = len(owners)
    if num_groups == 0:
        return clustered_mean(np.zeros(0), owners, rng=rng)
    starts = _starts(g)
    chosen = p == np.maximum.reduceat(p, starts)[g]
    truth_chosen = np.bincount(g, t * chosen) / np.bincount(g, chosen)
    return clustered_mean(np.maximum.reduceat(t, starts) - truth_chosen, owners, rng=rng)


def _eligible(
    predictions: np.ndarray,
    truths: np.ndarray,
    groups: np.ndarray,
    min_spread: float,
    clusters: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Predictions, truths and codes 0 .. k - 1 of the groups that count, sorted by group; and the cluster of each."""
    _require_finite(predictions, truths)
    if min_spread < 0:
        raise ValueError(f"Expected min_spread >= 0, got {min_spread}.")
    order = np.argsort(groups, kind="stable")
    p, t, g = (np.asarray(predictions, np.float64)[order], np.asarray(truths, np.float64)[order], groups[order])
    if len(g) == 0:
        return p, t, g, np.zeros(0, np.int64)
    starts = _starts(g)
    wide = np.maximum.reduceat(t, starts) - np.minimum.reduceat(t, starts) > min_spread
    sizes = np.diff(np.append(starts, len(g)))
    keep = np.repeat(wide, sizes)
    owners = np.arange(int(wide.sum())) if clusters is None else np.asarray(clusters, np.int64)[order][starts][wide]
    return p[keep], t[keep], np.repeat(np.cumsum(wide) - 1, sizes)[keep], owners


def _group_spearman(predictions: np.ndarray, truths: np.ndarray, groups: np.ndarray) -> Float[np.ndarray, " k"]:
    """Rank correlation of every group; 0 where one side is constant. Groups are coded 0 .. k - 1."""
    ranks = [_centred_ranks(values, groups) for values in (predictions, truths)]
    cross, left, right = (np.bincount(groups, a * b) for a, b in (ranks, (ranks[0],) * 2, (ranks[1],) * 2))
    scale = np.sqrt(left * right)
    return np.divide(cross, scale, out=np.zeros_like(scale), where=scale > 0)


def _centred_ranks(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Average ranks within the group, minus their mean. Exact: ranks are multiples of 1/2, and so are their means."""
    levels = np.unique(values, return_inverse=True)[1].reshape(-1)
    # One ranking of (group, value) pairs ranks every group by itself, up to an offset that centring removes.
    ranks = rankdata(groups.astype(np.int64) * (levels.max(initial=0) + 1) + levels, method="average")
    return ranks - (np.bincount(groups, ranks) / np.maximum(np.bincount(groups), 1))[groups]


def _starts(sorted_groups: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.r_[True, sorted_groups[1:] != sorted_groups[:-1]])


def _require_finite(predictions: np.ndarray, truths: np.ndarray) -> None:
    if np.isnan(predictions).any() or not np.isfinite(truths).all():
        raise ValueError("Expected predictions without NaN and finite truths; drop or repair such rows first.")
