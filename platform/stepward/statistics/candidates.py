"""How well scores order the k candidates of each state by their errors."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

TINY = 1e-12


def ranking_metrics(scores: Float[np.ndarray, "n k"], errors: Float[np.ndarray, "n k"]) -> dict[str, np.ndarray]:
    """How well scores (higher is better) order candidates by their errors, a state: means are for the caller.

    triplet: best > median > worst; pairs: share of all pairs in the right order (ties count half); spearman: rank
    correlation of score and −error, ties at their average rank; regret: log₁₀ of the error of the best-scored candidate
    over the least error, the mean over candidates that are tied for the best. Equal scores order nothing, whatever the
    order in which candidates are stored: chance of triplet is 1/6, of pairs 1/2, of spearman 0.
    """
    scores, errors = np.asarray(scores, np.float64), np.asarray(errors, np.float64)
    order = errors.argsort(axis=1, kind="stable")
    k = order.shape[1]
    best, median, worst = (np.take_along_axis(scores, order[:, [i]], axis=1)[:, 0] for i in (0, k // 2, k - 1))
    ranks = [rankdata(values, axis=1) - (k + 1) / 2 for values in (scores, -errors)]
    spread = np.sqrt((ranks[0] ** 2).sum(axis=1) * (ranks[1] ** 2).sum(axis=1))
    lost = np.log10(np.maximum(errors / np.maximum(errors.min(axis=1, keepdims=True), TINY), 1.0))
    chosen = scores == scores.max(axis=1, keepdims=True)
    return {
        "triplet": ((best > median) & (median > worst)).astype(np.float64),
        "pairs": pairs_right(scores, errors),
        "spearman": (ranks[0] * ranks[1]).sum(axis=1) / np.maximum(spread, TINY),
        "regret": (lost * chosen).sum(axis=1) / chosen.sum(axis=1),
    }


def pairs_right(scores: Float[np.ndarray, "n k"], errors: Float[np.ndarray, "n k"]) -> Float[np.ndarray, " n"]:
    """Share of the pairs of candidates of each state whose scores and errors are in opposite order; ties count half."""
    first, second = np.triu_indices(scores.shape[1], k=1)
    right = np.sign(scores[:, first] - scores[:, second]) * np.sign(errors[:, second] - errors[:, first])
    return ((1 + right) / 2).mean(axis=1)
