"""Does a difference of scores mean what it says? Reliability of the pairwise probabilities of a ranking model.

By Bradley and Terry (1952) a candidate scored s beats one scored s' with probability σ(s − s'). Only reward models that
were trained for that promise it; the order of candidates, and so every argmax, does not depend on it, but softmax
weights and particles do.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, Int
from scipy.special import expit

from stepward.evaluate.settings import EvaluateSettings
from stepward.evaluate.tables import Row
from stepward.rewards.guides import TrainedGuide

NUM_BINS, NUM_RESAMPLES = 10, 2000


def pair_rows(rankings: pa.Table, settings: EvaluateSettings) -> list[Row]:
    """One row a trained guide and bin: guide, and the figures of `pair_reliability`."""
    rng, rows = settings.resampling(), list[Row]()
    for guide in settings.ranking_guides():
        mine = rankings.filter(pc.equal(rankings["guide"], guide))
        if isinstance(settings.guides.get(guide), TrainedGuide) and len(mine):
            scores, errors = (np.array(mine[name].to_pylist(), np.float64) for name in ("scores", "errors"))
            problem = np.unique(mine["problem_id"].to_numpy(zero_copy_only=False), return_inverse=True)[1]
            found = pair_reliability(scores, errors, problem.reshape(-1), rng=rng, confidence=settings.confidence)
            rows += [{"guide": guide} | row for row in found]
    return rows


def pair_reliability(
    scores: Float[np.ndarray, "n k"],
    errors: Float[np.ndarray, "n k"],
    problem: Int[np.ndarray, " n"],
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
    num_bins: int = NUM_BINS,
) -> list[Row]:
    """Pairs of siblings in bins of equal mass of the probability that the higher-scored one is better, 1/2 to 1.

    Args:
        scores, errors: of k candidates of n states.
        problem: index of the problem of each state; intervals are percentile intervals over problems, since states of
            one problem are not independent.

    Returns:
        A row a bin: num_rows (pairs), mean_prediction, mean_target (share in which the higher-scored candidate has the
        smaller error; ties count half), low, high.
    """
    first, second = np.triu_indices(scores.shape[1], k=1)
    gap = scores[:, first] - scores[:, second]
    better = (np.sign(gap) * np.sign(errors[:, second] - errors[:, first]) + 1) / 2
    predicted = expit(np.abs(gap))
    edges = np.quantile(predicted, np.linspace(0, 1, num_bins + 1)[1:-1])
    bins = np.searchsorted(edges, predicted, side="right")
    place = bins + num_bins * np.unique(problem, return_inverse=True)[1].reshape(-1, 1)
    size = num_bins * len(np.unique(problem))
    count, hope, truth = (
        np.bincount(place.ravel(), weights, minlength=size).reshape(-1, num_bins)
        for weights in (None, predicted.ravel(), better.ravel())
    )
    resampled = rng.multinomial(len(count), np.full(len(count), 1 / len(count)), size=NUM_RESAMPLES)
    with np.errstate(invalid="ignore"):  # a bin that no problem of a resample has
        shares = (resampled @ truth) / (resampled @ count)
    tail = (1 - confidence) / 2
    rows = []
    for index in np.flatnonzero(count.sum(axis=0)):
        low, high = np.nanquantile(shares[:, index], [tail, 1 - tail])
        total = float(count[:, index].sum())
        rows.append(
            {"num_rows": int(total), "mean_prediction": float(hope[:, index].sum() / total),
             "mean_target": float(truth[:, index].sum() / total), "low": float(low), "high": float(high)}
        )  # fmt: skip
    return rows


def pair_error(rows: list[Row]) -> float:
    """Expected calibration error of the bins of one guide: mean |predicted − true| over pairs."""
    weights = np.array([row["num_rows"] for row in rows], np.float64)
    gaps = np.abs([row["mean_prediction"] - row["mean_target"] for row in rows])
    return float((weights * gaps).sum() / weights.sum())
