"""What scores of steps are worth: right and wrong steps told apart, or the first wrong one named.

Every figure is a function of counts that add up over solutions, so problems are resampled by resampling counts.
Sources: PRMScore, Song et al. 2025, arXiv:2501.03124, as its program mr_eval computes it; the harmonic mean of the two
accuracies, Zheng et al. 2024, arXiv:2412.06559.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

__all__ = ["METRICS", "JudgedSteps", "Metric", "ordered_pairs"]


@dataclass(frozen=True)
class JudgedSteps:
    """m steps of n solutions with labels and scores.

    Attributes:
        solution: solution of each step, ascending; every solution has a step.
        label: 1 right, 0 wrong, −1 not rated.
        score: higher is better.
        num_solutions: n.
    """

    solution: Int[np.ndarray, " m"]
    label: Int[np.ndarray, " m"]
    score: Float[np.ndarray, " m"]
    num_solutions: int

    def sums(self, values: np.ndarray) -> Float[np.ndarray, " n"]:
        """Sum of a number a step, for every solution."""
        return np.bincount(self.solution, weights=values.astype(np.float64), minlength=self.num_solutions)


@dataclass(frozen=True)
class Metric:
    """Counts of every solution, and figures of sums of counts.

    Attributes:
        headline: name of the figure that a threshold is chosen for.
        counts: (steps, threshold) -> [n, k]; a step counts as right where its score is above the threshold.
        figures: sums [b, k] -> name -> values [b]; NaN where the solutions hold nothing that it is about.
    """

    headline: str
    counts: Callable[[JudgedSteps, float], Float[np.ndarray, "n k"]]
    figures: Callable[[Float[np.ndarray, "b k"]], dict[str, Float[np.ndarray, " b"]]]


def step_counts(steps: JudgedSteps, threshold: float) -> Float[np.ndarray, "n 4"]:
    """Right called right, wrong called right, wrong called wrong, right called wrong."""
    called = steps.score > threshold
    right, wrong = steps.label == 1, steps.label == 0
    return np.stack(
        [steps.sums(cell) for cell in (right & called, wrong & called, wrong & ~called, right & ~called)], 1
    )


def step_figures(sums: Float[np.ndarray, "b k"]) -> dict[str, Float[np.ndarray, " b"]]:
    """PRMScore is the mean of the F1 of right and of wrong steps; of the first alone where no step is wrong.

    F1 is 0 where nothing was called so, where mr_eval has −1 in some cases.
    """
    tp, fp, tn, fn = np.moveaxis(sums, -1, 0)
    right, wrong = _share(2 * tp, 2 * tp + fp + fn), _share(2 * tn, 2 * tn + fp + fn)
    some = fp + tn > 0
    return {
        "prm_score": np.where(some, (right + wrong) / 2, right),
        "f1_right": right,
        "f1_wrong": np.where(some, wrong, np.nan),
        "accuracy_right": _share(tp, tp + fn),
        "accuracy_wrong": np.where(some, _share(tn, tn + fp), np.nan),
    }


def first_error_counts(steps: JudgedSteps, threshold: float) -> Float[np.ndarray, "n 4"]:
    """Erroneous solutions whose first wrong step was named, all of them, right ones called right, all of them."""
    first = _first(steps, steps.label == 0)
    hit, erroneous = _first(steps, steps.score <= threshold) == first, first >= 0
    return np.stack([hit & erroneous, erroneous, hit & ~erroneous, ~erroneous], axis=1).astype(np.float64)


def first_error_figures(sums: Float[np.ndarray, "b k"]) -> dict[str, Float[np.ndarray, " b"]]:
    """F1 is the harmonic mean of the accuracies on erroneous and on right solutions."""
    hit, erroneous, passed, right = np.moveaxis(sums, -1, 0)
    error, correct = _share(hit, erroneous), _share(passed, right)
    return {"f1": _share(2 * error * correct, error + correct), "accuracy_wrong": error, "accuracy_right": correct}


METRICS = {
    "steps": Metric("prm_score", step_counts, step_figures),
    "first_error": Metric("f1", first_error_counts, first_error_figures),
}


def ordered_pairs(steps: JudgedSteps) -> Float[np.ndarray, "n 2"]:
    """Pairs of a right and a wrong step of one solution in the right order (ties count half), and all such pairs.

    The share of the first in the second, summed over solutions, is an AUC that needs no threshold.
    """
    right, wrong = steps.label == 1, steps.label == 0
    ends = np.searchsorted(steps.solution, np.arange(steps.num_solutions + 1))
    found = np.zeros((steps.num_solutions, 2))
    for i in np.unique(steps.solution[wrong]):
        rows = slice(ends[i], ends[i + 1])
        difference = steps.score[rows][right[rows]][:, None] - steps.score[rows][wrong[rows]]
        found[i] = (difference > 0).sum() + 0.5 * (difference == 0).sum(), difference.size
    return found


def _first(steps: JudgedSteps, flag: Bool[np.ndarray, " m"]) -> Int[np.ndarray, " n"]:
    """Place of the first step of each solution that has the flag, −1 without."""
    starts = np.searchsorted(steps.solution, np.arange(steps.num_solutions))
    found = np.full(steps.num_solutions, -1)
    rows = np.flatnonzero(flag)[::-1]  # the first one is written last
    found[steps.solution[rows]] = rows - starts[steps.solution[rows]]
    return found


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros_like(whole, np.float64), where=whole > 0)
