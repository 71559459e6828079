"""Statistics of an evaluation: paired comparisons, power, calibration, ranking, frontiers at matched cost, coverage.

Arrays in, numbers and small frozen records out. Nothing here knows a domain, and no comparison comes without a paired
interval. Randomness is a `numpy.random.Generator`, passed by keyword.
"""

from stepward.evaluate.samples.voting import best_of_n, majority_vote, oracle_bound, right_at, weighted_vote
from stepward.statistics.binomial import INTERVALS, binomial_interval
from stepward.statistics.bootstrap import Estimate, bootstrap_mean
from stepward.statistics.calibration import (
    CalibrationError,
    ReliabilityBin,
    brier_score,
    debiased_brier,
    equal_mass_bins,
    expected_calibration_error,
    reliability_curve,
)
from stepward.statistics.coverage import Coverage, coverage, expected_coverage, randomised_coverage
from stepward.statistics.frontier import (
    FrontierComparison,
    FrontierPoint,
    compare_frontiers,
    frontier_area,
    outcomes_at_cost,
    pareto_mask,
    solve_frontier,
)
from stepward.statistics.paired import (
    ArmComparison,
    compare_arms,
    holm,
    holm_adjusted,
    mcnemar,
    paired_comparison,
    sign_flip_test,
)
from stepward.statistics.parallelism import ParallelismDividend, any_success, parallelism_dividend
from stepward.statistics.power import (
    MinimumDetectableEffect,
    detectable_mean_difference,
    detectable_rate_difference,
    mcnemar_power,
)
from stepward.statistics.ranking import sibling_accuracy, sibling_spearman, spearman, top1_regret

__all__ = [
    "INTERVALS", "binomial_interval",
    "Estimate", "bootstrap_mean",
    "CalibrationError", "ReliabilityBin", "brier_score", "debiased_brier", "equal_mass_bins",
    "expected_calibration_error", "reliability_curve",
    "Coverage", "coverage", "expected_coverage", "randomised_coverage",
    "FrontierComparison", "FrontierPoint", "compare_frontiers", "frontier_area", "outcomes_at_cost", "pareto_mask",
    "solve_frontier",
    "ArmComparison", "compare_arms", "holm", "holm_adjusted", "mcnemar", "paired_comparison", "sign_flip_test",
    "ParallelismDividend", "any_success", "parallelism_dividend",
    "MinimumDetectableEffect", "detectable_mean_difference", "detectable_rate_difference", "mcnemar_power",
    "sibling_accuracy", "sibling_spearman", "spearman", "top1_regret",
    "best_of_n", "majority_vote", "oracle_bound", "right_at", "weighted_vote",
]  # fmt: skip
