"""Sections of the report: each from sources to a `Section`, or `MissingError` where its data are not there."""

from stepward.report.sections.benchmarks import benchmark_section
from stepward.report.sections.making import (
    cost_section,
    label_section,
    training_section,
    tuning_section,
)
from stepward.report.sections.provenance import provenance_section
from stepward.report.sections.samples import matched_section, sample_answer, samples_section, steering_section
from stepward.report.sections.setting import Setting, setting
from stepward.report.sections.solving import answer, comparison_section, frontier_section, searches_section
from stepward.report.sections.tree import tree_section
from stepward.report.sections.values import (
    calibration_section,
    coverage_section,
    dividend_section,
    ranking_section,
    robustness_section,
)

__all__ = [
    "Setting", "answer", "benchmark_section", "calibration_section", "comparison_section", "cost_section",
    "coverage_section", "dividend_section", "frontier_section", "label_section", "matched_section",
    "provenance_section", "ranking_section", "robustness_section", "sample_answer", "samples_section",
    "searches_section", "setting", "steering_section", "training_section", "tree_section", "tuning_section",
]  # fmt: skip
