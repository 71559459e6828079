"""Solve rate against cost. A run is one number a problem: the cost at which it was solved, infinite if it never was.

Every curve, area and comparison follows from those arrays: a problem is solved within a budget if its cost is no
larger. That holds for searches that stop nowhere before the budget (the run with the largest budget contains all
smaller ones). Cost may be in any one unit: expansions, model evaluations, tokens, FLOPs, seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Real

from stepward.core.registry import lookup
from stepward.statistics.binomial import binomial_interval
from stepward.statistics.paired import ArmComparison, holm_adjusted, paired_comparison


@dataclass(frozen=True)
class FrontierPoint:
    """Solve rate within one budget, with its Wilson interval over problems."""

    budget: float
    num_problems: int
    num_solved: int
    solve_rate: float
    low: float
    high: float


@dataclass(frozen=True)
class FrontierComparison:
    """One arm against the reference within one budget."""

    budget: float
    comparison: ArmComparison


def solve_frontier(
    costs: Real[np.ndarray, " n"], budgets: Real[np.ndarray, " b"], *, confidence: float = 0.95
) -> list[FrontierPoint]:
    """The solve rate at every budget.

    Args:
        costs: cost at which each problem was solved, >= 0; infinite where it was not.
        budgets: in the unit of the costs, in any order.
    """
    _check(costs)
    solved = (costs[None, :] <= budgets[:, None]).sum(axis=1)
    low, high = binomial_interval(solved, np.full(len(budgets), len(costs)), confidence=confidence)
    return [
        FrontierPoint(float(budget), len(costs), int(k), float(k / len(costs)), float(lo), float(hi))
        for budget, k, lo, hi in zip(budgets, solved, low, high, strict=True)
    ]


def compare_frontiers(
    costs: Mapping[str, Real[np.ndarray, " _"]],
    reference: str,
    budgets: Real[np.ndarray, " b"],
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
    num_resamples: int = 10_000,
) -> list[FrontierComparison]:
    """Paired difference in solve rate of every arm to the reference at every budget, budget by budget.

    Holm's adjustment is over the whole table, all arms and all budgets. Arguments as in `compare_arms`, with costs
    instead of outcomes.
    """
    lookup(costs, reference, kind="arm")
    for values in costs.values():
        _check(values)
    keys = [(float(budget), name) for budget in budgets for name in costs if name != reference]
    rows = [
        paired_comparison(
            costs[name] <= budget,
            costs[reference] <= budget,
            names=(name, reference),
            rng=rng,
            confidence=confidence,
            num_resamples=num_resamples,
        )
        for budget, name in keys
    ]
    return [FrontierComparison(budget, row) for (budget, _), row in zip(keys, holm_adjusted(rows), strict=True)]


def frontier_area(
    costs: Real[np.ndarray, " n"],
    *,
    max_budget: float | int,
    min_budget: float | int = 0.0,
    scale: Literal["linear", "log"] = "linear",
) -> Float[np.ndarray, " n"]:
    """Each problem's share of the area under the frontier; the mean over problems is that area, in [0, 1].

    The frontier is a mean of steps, one a problem, so its area is a mean of what remains of the budget axis to the
    right of each step: exact, and paired like any other outcome (`compare_arms` takes it).

    Args:
        costs: as in `solve_frontier`.
        max_budget, min_budget: the part of the axis that counts; 0 <= min_budget < max_budget.
        scale: "log" weighs every doubling of the budget alike, and needs min_budget > 0.
    """
    _check(costs)
    if scale not in ("linear", "log"):
        raise ValueError(f"Expected scale 'linear' or 'log', got {scale!r}.")
    if not 0 <= min_budget < max_budget < np.inf or (scale == "log" and min_budget == 0):
        raise ValueError(
            "Expected 0 <= min_budget < max_budget, finite, and min_budget > 0 on the log scale; "
            f"got {min_budget}, {max_budget}."
        )
    met = np.clip(np.asarray(costs, np.float64), min_budget, max_budget)
    if scale == "log":
        return np.log(max_budget / met) / np.log(max_budget / min_budget)
    return (max_budget - met) / (max_budget - min_budget)


def outcomes_at_cost(
    cost: float | int, mean_costs: Float[np.ndarray, " k"], outcomes: Real[np.ndarray, "k n"]
) -> Float[np.ndarray, " n"]:
    """Outcomes at a cost between two runs of one method, for comparisons at matched cost.

    Methods such as best-of-N are run at a few sizes, whose mean costs never meet those of another method. Interpolated
    linearly in the logarithm of the cost, a problem at a time: the mean is the interpolated solve rate, and the array
    is paired with that of any other method (as fractions, so `compare_arms` tests it by sign flips).

    Args:
        cost: the common cost, within the range of `mean_costs`; this never extrapolates.
        mean_costs: mean cost of each run over the problems, > 0, all different.
        outcomes: outcome of each problem in each run.
    """
    order = np.argsort(mean_costs)
    points, rows = np.asarray(mean_costs, np.float64)[order], np.asarray(outcomes, np.float64)[order]
    if not (points > 0).all() or (np.diff(points) == 0).any():
        raise ValueError(f"Expected positive and different mean costs, got {mean_costs}.")
    if not points[0] <= cost <= points[-1]:
        raise ValueError(
            f"Expected a cost within the measured range [{points[0]:g}, {points[-1]:g}], got {cost:g}: "
            "run the method at that size, or compare at another cost."
        )
    upper = min(int(np.searchsorted(points, cost, side="right")), len(points) - 1)
    lower = max(upper - 1, 0)
    if lower == upper:
        return rows[0]
    weight = np.log(cost / points[lower]) / np.log(points[upper] / points[lower])
    return (1 - weight) * rows[lower] + weight * rows[upper]


def pareto_mask(costs: Real[np.ndarray, " k"], rates: Real[np.ndarray, " k"]) -> Bool[np.ndarray, " k"]:
    """Runs that no other run beats: none is at most as costly and at least as good, and better in one of the two.

    Runs equal in both are kept together.
    """
    cheaper, better = costs[:, None] <= costs[None, :], rates[:, None] >= rates[None, :]
    strictly = (costs[:, None] < costs[None, :]) | (rates[:, None] > rates[None, :])
    return np.logical_not((cheaper & better & strictly).any(axis=0))


def _check(costs: np.ndarray) -> None:
    if len(costs) == 0 or not (costs >= 0).all():
        raise ValueError("Expected one cost >= 0 a problem (infinite where unsolved), for at least one problem.")
