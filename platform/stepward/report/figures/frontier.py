"""Solve rate against cost, one line a guide."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure

from stepward.report.figures.style import FAINT, INK, Look, intervals, name_lines, new_figure
from stepward.report.tables import by_arm


def frontier(points: pa.Table, outcomes: pa.Table, styles: dict[str, Look], unit: str = "expansions") -> Figure:
    """The frontier: steps are all problems, markers with intervals the budgets of the table.

    Args:
        points: arm, budget, solve_rate, low, high; and num_problems, num_exhausted where searches ran out of nodes.
        outcomes: arm and expansions_at_solve (infinite where unsolved), one row a problem and arm.
        styles: arm -> look.
        unit: of budgets and costs, for the axis.
    """
    figure, axes = new_figure(3.6)
    budgets = np.unique(points["budget"].to_numpy())
    for name, rows in by_arm(outcomes).items():
        cost, rate = solve_curve(rows["expansions_at_solve"].to_numpy(), float(budgets.max()))
        axes.step(cost, rate, where="post", color=styles[name].colour, linewidth=1.3, alpha=0.75, gid=name)
    groups = by_arm(points)
    for position, (name, rows) in enumerate(groups.items()):
        dodge = 1 + 0.045 * (position - (len(groups) - 1) / 2)
        columns = (rows[column].to_numpy() for column in ("budget", "solve_rate", "low", "high"))
        budget, rate, low, high = columns
        intervals(axes, budget * dodge, rate, low, high, styles[name])
        if "num_exhausted" in rows.column_names:  # the gap that no budget closes
            gap = rows["num_exhausted"].to_numpy()[-1] / rows["num_problems"].to_numpy()[-1]
            ends, top = [budget[-1] * dodge] * 2, [rate[-1], rate[-1] + gap]
            axes.plot(ends, top, color=styles[name].colour, linewidth=2.2, linestyle=(0, (1, 1)), zorder=2)
    for budget in budgets:
        axes.axvline(budget, color=FAINT, linewidth=0.8, linestyle=(0, (2, 3)), zorder=1)
    axes.set_xscale("log")
    axes.set_xticks(budgets, [f"{budget:g}" for budget in budgets])
    axes.minorticks_off()
    axes.set(xlim=(1, budgets.max() * 1.15), ylim=(0, 1.02))
    axes.set_xlabel(f"{unit} a problem (log scale; dashed: the budgets compared)", color=INK)
    axes.set_ylabel("share of problems solved", color=INK)
    name_lines(axes, {name: float(rows["solve_rate"].to_numpy()[-1]) for name, rows in groups.items()}, styles)
    return figure


def solve_curve(costs: np.ndarray, largest: float) -> tuple[np.ndarray, np.ndarray]:
    """(cost, share solved at that cost or less) from cost 1 to `largest`; a step function, changing at its costs."""
    met = np.sort(costs[np.isfinite(costs) & (costs <= largest)])
    steps = np.unique(np.concatenate([[1.0], met, [largest]]))
    return steps, np.searchsorted(met, steps, side="right") / max(len(costs), 1)
