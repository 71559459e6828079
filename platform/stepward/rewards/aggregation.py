"""From the scores of a path's steps to the value of the path: the only place where that is decided.

An aggregation is a running state that a tree search extends one step at a time:

    aggregation = aggregation_named("product")
    state = aggregation.start(n)                              # [n, w]: n empty paths
    state = aggregation.extend(state[parents], step_scores)   # [m, w]: one step more
    value = aggregation.value(state)                          # [m]:    higher is better

`aggregate` does the same to whole paths at once, by these very functions. Also here: z-scores within sibling sets, and
gates that forbid a step outright.

Sources: product and minimum, Lightman et al. 2023, "Let's verify step by step", section 2; last step, Snell et al.
2024, "Scaling LLM test-time compute optimally", section 5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Real

from stepward.core.batch import Batch
from stepward.core.interfaces import Domain
from stepward.core.registry import lookup


@dataclass(frozen=True)
class Aggregation:
    """How step scores become the value of a path, as a fold: value(extend(... extend(start, s_1) ..., s_L)).

    Attributes:
        empty: the state of a path without steps; its length is the width w of the state.
        step: (states of the parents [n, w], scores [n]) -> states [n, w].
        read: states [n, w] -> values [n].
        probabilities: whether scores must lie in [0, 1].
    """

    empty: tuple[float, ...]
    step: Callable[[np.ndarray, np.ndarray], np.ndarray]
    read: Callable[[np.ndarray], np.ndarray]
    probabilities: bool = False

    def start(self, num_paths: int) -> Float[np.ndarray, "{num_paths} w"]:
        """States of `num_paths` paths without a step."""
        return np.tile(np.array(self.empty, dtype=np.float64), (num_paths, 1))

    def extend(self, parents: Float[np.ndarray, "n w"], scores: Real[np.ndarray, " n"]) -> Float[np.ndarray, "n w"]:
        """States of the paths one step longer; `parents` stays as it is.

        Raises:
            ValueError: a score is NaN, or lies outside [0, 1] where the aggregation needs probabilities.
        """
        scores = np.asarray(scores, dtype=np.float64)
        if np.isnan(scores).any():
            raise ValueError("Expected numbers as step scores, got NaN: look at the reward model that made them.")
        if self.probabilities and not ((scores >= 0) & (scores <= 1)).all():
            raise ValueError(
                f"Expected probabilities as step scores, got values in [{scores.min():g}, {scores.max():g}]: "
                "calibrate the scores, or aggregate them by sum, mean, min or last."
            )
        return self.step(parents, scores)

    def value(self, state: Float[np.ndarray, "n w"]) -> Float[np.ndarray, " n"]:
        """Values of the paths, higher is better. Of an empty path: see the aggregation's own entry below."""
        return self.read(state)


def _log_product(parents: np.ndarray, scores: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):  # a step of probability 0 is log 0 = -inf, and stays so
        return parents + np.log(scores)[:, None]


def _sum_and_count(parents: np.ndarray, scores: np.ndarray) -> np.ndarray:
    return parents + np.stack([scores, np.ones_like(scores)], axis=1)


AGGREGATIONS: dict[str, Aggregation] = {
    # Π p_t, kept as Σ log p_t. "Every step is right"; prefers short paths. Empty: 1.
    "product": Aggregation((0.0,), _log_product, lambda state: np.exp(state[:, 0]), probabilities=True),
    # Σ log p_t: the same order without underflow, for paths of hundreds of steps. Empty: 0.
    "log_product": Aggregation((0.0,), _log_product, lambda state: state[:, 0].copy(), probabilities=True),
    # min p_t. "As strong as the weakest step"; ties wherever an early step was the worst. Empty: infinity.
    "min": Aggregation((np.inf,), lambda parents, s: np.minimum(parents, s[:, None]), lambda state: state[:, 0].copy()),
    # mean p_t. Does not care about length; a bad step can be bought back. Empty: 0.
    "mean": Aggregation((0.0, 0.0), _sum_and_count, lambda state: state[:, 0] / np.maximum(state[:, 1], 1.0)),
    # p_L. For value models: labels made by continuations already speak of the whole path. Empty: 0.
    "last": Aggregation((0.0,), lambda parents, s: s[:, None].copy(), lambda state: state[:, 0].copy()),
    # Σ r_t. For rewards that add up (log-odds, negative errors), in their own unit. Empty: 0.
    "sum": Aggregation((0.0,), lambda parents, s: parents + s[:, None], lambda state: state[:, 0].copy()),
}


def aggregation_named(name: str) -> Aggregation:
    """The aggregation of that name; a ValueError lists the names there are."""
    return lookup(AGGREGATIONS, name, kind="aggregation")


def aggregate(
    name: str, scores: Real[np.ndarray, "n steps"], lengths: Int[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Values of n whole paths.

    Args:
        name: a name in `AGGREGATIONS`.
        scores: step scores, padded on the right; what stands in the padding is never read, NaN included.
        lengths: number of steps L of each path, 0 <= L <= steps.
    """
    if ((lengths < 0) | (lengths > scores.shape[1])).any():
        raise ValueError(f"Expected lengths within 0 .. {scores.shape[1]} (the padded steps), got {lengths}.")
    aggregation = aggregation_named(name)
    state = aggregation.start(len(scores))
    for step in range(int(lengths.max(initial=0))):
        active = lengths > step
        state[active] = aggregation.extend(state[active], scores[active, step])
    return aggregation.value(state)


def sibling_sets(parents: Batch, domain: Domain) -> Int[np.ndarray, " n"]:
    """A number for each row's parent, equal for children of one parent; they must all be among the rows."""
    if not len(parents):
        return np.zeros(0, np.int64)
    keys = np.stack([parents.problem.astype(np.uint64), domain.keys(parents)], axis=1)
    return np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)


def sibling_z_score(scores: Real[np.ndarray, " n"], groups: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """(score - mean) / standard deviation within each sibling set: "how much better than its alternatives".

    Makes scores of different parents comparable when only the choice among siblings is meant. Sets of equal scores, and
    of one, become 0.

    Args:
        scores: finite. Gate first and score the survivors; a forbidden child at -infinity has no z-score.
        groups: any integer id a sibling set, in any order.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if not np.isfinite(scores).all():
        raise ValueError("Expected finite scores; apply gates first and pass the steps that were kept.")
    if len(scores) == 0:
        return scores
    codes = np.unique(groups, return_inverse=True)[1].reshape(-1)
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(codes[order]) > 0])
    # Told from the extremes, not from the deviation: rounding gives equal scores a tiny one.
    constant = np.maximum.reduceat(scores[order], starts) == np.minimum.reduceat(scores[order], starts)
    counts = np.bincount(codes)
    centred = scores - (np.bincount(codes, scores) / counts)[codes]
    deviation = np.where(constant, np.inf, np.sqrt(np.bincount(codes, centred**2) / counts))
    return centred / deviation[codes]


def sibling_leads(scores: Float[np.ndarray, " n"], groups: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Of every row's sibling set: best minus second best, in standard deviations of the set; 0 where all are equal.

    A set of one has no second: its lead is infinite.
    """
    codes = np.unique(groups, return_inverse=True)[1].reshape(-1)
    order = np.lexsort((-scores, codes))
    starts = np.flatnonzero(np.r_[True, np.diff(codes[order]) > 0])
    counts, top = np.bincount(codes), scores[order]
    second = top[np.minimum(starts + 1, len(scores) - 1)]
    mean = np.bincount(codes, scores) / counts
    deviation = np.sqrt(np.bincount(codes, (scores - mean[codes]) ** 2) / counts)
    leads = (top[starts] - second) / np.where(deviation > 0, deviation, 1.0)
    return np.where(counts > 1, leads, np.inf)[codes]


def gate_threshold(scores: Real[np.ndarray, " n"], tau_min: float | int) -> Bool[np.ndarray, " n"]:
    """True where a step may be kept: p >= τ_min. NaN is never kept.

    Good values: for success probabilities .02 to .1. A gate may forbid every child of a path; whether that path ends or
    keeps its best child is for the search to say.
    """
    return np.asarray(scores) >= tau_min


def gate_decrease(
    scores: Real[np.ndarray, " n"], parent_scores: Real[np.ndarray, " n"], tolerance: float | int = 0.0
) -> Bool[np.ndarray, " n"]:
    """True where a step may be kept: Δp = p - p_parent >= -tolerance. NaN is never kept.

    Args:
        scores, parent_scores: scores of each step and of the step before it, from one model; the parent of a first step
            has none: pass -infinity and it is kept.
        tolerance: fall that is allowed, >= 0, in the unit of the scores. The exact value of the best child never falls
            below its parent's, but an estimate wobbles: about two of its standard errors.
    """
    if tolerance < 0:
        raise ValueError(f"Expected tolerance >= 0, got {tolerance}.")
    return np.asarray(scores) >= np.asarray(parent_scores) - tolerance
