"""Which of the solutions a search found is its answer: the most voted one, the best one, or what an oracle would take.

All functions take the solutions of P problems as flat arrays [m] in the order they were found, as a `SearchResult` has
them, and tell for each problem the index of the chosen solution, −1 where there is none. Ties go to the first found: of
equally voted answers the one that was found first, and of the solutions with that answer its first.

    chosen = weighted_vote(result.problem, answers, result.value, num_problems)
    solved = right_at(chosen, right)

Sources: majority, Wang et al. 2023, "Self-consistency improves chain of thought reasoning"; votes weighted by a
verifier, Li et al. 2023, "Making language models better reasoners with step-aware verifier", section 3.3.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int, Real, Shaped

__all__ = ["best_of_n", "majority_vote", "oracle_bound", "right_at", "weighted_vote"]

ROUNDING = 1e-12  # relative; sums of the same weights in another order differ by less, and are a tie


def majority_vote(
    problem: Int[np.ndarray, " m"], answer: Shaped[np.ndarray, " m"], num_problems: int
) -> Int[np.ndarray, " p"]:
    """The most frequent answer of each problem; see `weighted_vote`, all weights being 1."""
    return weighted_vote(problem, answer, np.ones(len(problem)), num_problems)


def weighted_vote(
    problem: Int[np.ndarray, " m"],
    answer: Shaped[np.ndarray, " m"],
    weight: Real[np.ndarray, " m"],
    num_problems: int,
) -> Int[np.ndarray, " p"]:
    """The answer of greatest total weight of each problem.

    Args:
        problem: problem of each solution, in 0 … P − 1.
        answer: what each solution says: texts, or numbers, that are equal where the answers are. Grade or normalise
            them first: "0.5" and "1/2" are two answers. A text "" abstains, which is to say that it has weight 0.
        weight: votes of each solution, such as its value as a probability.
        num_problems: P.

    Raises:
        ValueError: a weight is negative or not finite.
    """
    weight = np.asarray(weight, np.float64)
    if not (np.isfinite(weight) & (weight >= 0)).all():
        raise ValueError(
            f"weights: expected finite numbers >= 0, got {weight[~(np.isfinite(weight) & (weight >= 0))][:5]}. "
            "Take probabilities; of log-probabilities take the exponential."
        )
    if not len(problem):
        return np.full(num_problems, -1, np.int64)
    texts, code = np.unique(answer, return_inverse=True)
    ballot = problem.astype(np.int64) * len(texts) + code.reshape(-1)
    _, first, which = np.unique(ballot, return_index=True, return_inverse=True)
    votes = np.where(np.asarray(answer) == "", 0.0, weight) if answer.dtype.kind in "OUT" else weight
    return _highest(problem[first], np.bincount(which.reshape(-1), votes), first, num_problems, ROUNDING)


def best_of_n(
    problem: Int[np.ndarray, " m"], value: Real[np.ndarray, " m"], num_problems: int
) -> Int[np.ndarray, " p"]:
    """The solution of highest value of each problem.

    Raises:
        ValueError: a value is NaN.
    """
    value = np.asarray(value, np.float64)
    if np.isnan(value).any():
        raise ValueError("values: expected numbers, got NaN. Look at the reward model that made them.")
    return _highest(problem, value, np.arange(len(problem)), num_problems, 0.0)


def oracle_bound(
    problem: Int[np.ndarray, " m"], right: Shaped[np.ndarray, " m"], num_problems: int
) -> Bool[np.ndarray, " p"]:
    """Whether any solution of each problem is right (pass@N): what no choice among them can exceed.

    Args:
        right: the verifier's outcome of each solution, 1 or 0.
    """
    return np.bincount(problem, np.asarray(right, np.float64), minlength=num_problems) > 0


def right_at(chosen: Int[np.ndarray, " p"], right: Shaped[np.ndarray, " m"]) -> Bool[np.ndarray, " p"]:
    """Whether the chosen solution of each problem is right; a problem without a solution is not solved."""
    return (chosen >= 0) & np.append(np.asarray(right, bool), False)[chosen]


def _highest(
    problem: Int[np.ndarray, " c"],
    score: Float[np.ndarray, " c"],
    index: Int[np.ndarray, " c"],
    num_problems: int,
    tolerance: float,
) -> Int[np.ndarray, " p"]:
    """The least index among the candidates of highest score of each problem, −1 where there are no candidates."""
    best = np.full(num_problems, -np.inf)
    np.maximum.at(best, problem, score)
    tied = score >= best[problem] if tolerance == 0 else score >= best[problem] * (1 - tolerance)
    nobody = np.iinfo(np.int64).max
    chosen = np.full(num_problems, nobody, np.int64)
    np.minimum.at(chosen, problem[tied], index[tied])
    return np.where(chosen == nobody, -1, chosen)
