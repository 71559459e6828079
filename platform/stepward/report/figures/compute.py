"""Solve rate against computation, one line an arm: choices among sampled solutions, and searches that steer."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure

from stepward.report.figures.style import FAINT, INK, Look, intervals, name_lines, new_figure
from stepward.report.tables import by_arm


def compute_frontier(
    points: pa.Table, styles: dict[str, Look], searches: pa.Table | None = None, budgets: tuple[float, ...] = ()
) -> Figure:
    """Mean FLOPs a problem, the guide's reading included, against the share solved.

    Args:
        points: arm, flops, solve_rate, low, high; one row a number of samples.
        styles: arm -> look.
        searches: search, guide, flops, solve_rate: single points, drawn as crosses with their names.
        budgets: FLOPs at which arms are compared, drawn as dashed lines.
    """
    figure, axes = new_figure(3.9)
    ends = {}
    for name, rows in by_arm(points).items():
        order = np.argsort(rows["flops"].to_numpy())
        flops, rate, low, high = (rows[c].to_numpy()[order] for c in ("flops", "solve_rate", "low", "high"))
        axes.plot(flops, rate, color=styles[name].colour, linewidth=1.3, alpha=0.75, gid=name)
        intervals(axes, flops, rate, low, high, styles[name])
        ends[name] = float(rate[-1])
    for row in [] if searches is None else searches.to_pylist():
        axes.plot(row["flops"], row["solve_rate"], "x", color=styles[row["guide"]].colour, markersize=7, zorder=5)
        axes.annotate(
            row["search"], (row["flops"], row["solve_rate"]), xytext=(4, -9), textcoords="offset points", fontsize=6.5,
            color=INK,
        )  # fmt: skip
    for budget in budgets:
        axes.axvline(budget, color=FAINT, linewidth=0.8, linestyle=(0, (2, 3)), zorder=1)
    axes.set_xscale("log")
    axes.set(ylim=(max(0.0, float(points["low"].to_numpy().min()) - 0.05), 1.02))
    axes.set_xlabel("FLOPs a problem, the guide included (log scale; dashed: the budgets compared)", color=INK)
    axes.set_ylabel("share of problems solved", color=INK)
    name_lines(axes, ends, styles)
    return figure
