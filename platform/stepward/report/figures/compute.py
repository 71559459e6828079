"""Solve rate against computation, one line an arm: choices among sampled solutions, and searches that steer."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure

from stepward.report.figures.style import FAINT, INK, Look, intervals, name_lines, name_points, new_figure
from stepward.report.tables import by_arm

GIGA = 1e9
DOUBLINGS = (1, 2, 4, 8, 16, 32, 64)


def compute_frontier(
    points: pa.Table, styles: dict[str, Look], searches: pa.Table | None = None, budgets: tuple[float, ...] = ()
) -> Figure:
    """Mean FLOPs a problem, the guide's reading included, against the share solved.

    Args:
        points: arm, size, flops, solve_rate, low, high; one row a number of samples. Intervals are drawn at doublings.
        styles: arm -> look.
        searches: search, guide, flops, solve_rate: single points, drawn as crosses with their names.
        budgets: FLOPs at which arms are compared, drawn as dashed lines.
    """
    figure, axes = new_figure(3.9)
    ends = {}
    for name, rows in by_arm(points).items():
        order = np.argsort(rows["flops"].to_numpy())
        flops, rate, low, high = (rows[c].to_numpy()[order] for c in ("flops", "solve_rate", "low", "high"))
        flops = flops / GIGA
        axes.plot(flops, rate, color=styles[name].colour, linewidth=1.3, alpha=0.75, gid=name)
        shown = np.isin(rows["size"].to_numpy()[order], DOUBLINGS)
        intervals(axes, flops[shown], rate[shown], low[shown], high[shown], styles[name])
        ends[name] = float(rate[-1])
    named = []
    for row in [] if searches is None else searches.to_pylist():
        at = row["flops"] / GIGA, row["solve_rate"]
        axes.plot(*at, "x", color=styles[row["guide"]].colour, markersize=7, zorder=5)
        named.append((row["search"], *at))
    for budget in budgets:
        axes.axvline(budget / GIGA, color=FAINT, linewidth=0.8, linestyle=(0, (2, 3)), zorder=1)
    axes.set_xscale("log")
    axes.set_xticks([budget / GIGA for budget in budgets], [f"{budget / GIGA:.2g}" for budget in budgets], rotation=45)
    axes.minorticks_off()
    axes.set(ylim=(max(0.0, float(points["low"].to_numpy().min()) - 0.05), 1.02))
    axes.set_xlabel("GFLOP a problem, guide included (log scale; dashed: budgets)", color=INK)
    axes.set_ylabel("share of problems solved", color=INK)
    name_lines(axes, ends, styles)
    name_points(axes, named)
    return figure
