"""Figures of the report: one function a figure, from plain tables to a matplotlib `Figure`."""

from stepward.report.figures.bars import bars
from stepward.report.figures.compute import compute_frontier
from stepward.report.figures.forest import forest
from stepward.report.figures.frontier import frontier
from stepward.report.figures.parallelism import parallelism
from stepward.report.figures.reliability import reliability
from stepward.report.figures.robustness import robustness
from stepward.report.figures.style import Look, looks, png
from stepward.report.figures.training import training
from stepward.report.figures.tree import search_tree
from stepward.report.figures.trials import trials

__all__ = [
    "Look", "looks", "png",
    "bars", "compute_frontier", "forest", "frontier", "parallelism", "reliability", "robustness", "search_tree",
    "training", "trials",
]  # fmt: skip
