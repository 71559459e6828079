"""How an outcome changes when problems get more or fewer steps than the reward model was trained for."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure

from stepward.report.figures.style import INK, Look, intervals, name_lines, new_figure
from stepward.report.tables import by_arm


def robustness(rows: pa.Table, styles: dict[str, Look], label: str) -> Figure:
    """One line a guide over the step budgets.

    Args:
        rows: arm, factor (of the step budget B), value, low, high.
        styles: arm -> look.
        label: what the value is, for the axis.
    """
    factors = np.unique(rows["factor"].to_numpy())
    figure, axes = new_figure(3.2)
    groups = by_arm(rows)
    for number, (name, points) in enumerate(groups.items()):
        points = points.sort_by("factor")
        x = np.searchsorted(factors, points["factor"].to_numpy()) + 0.04 * (number - (len(groups) - 1) / 2)
        value, low, high = (points[column].to_numpy() for column in ("value", "low", "high"))
        axes.plot(x, value, color=styles[name].colour, linewidth=1.3, alpha=0.75, gid=name)
        intervals(axes, x, value, low, high, styles[name])
    axes.set_xticks(range(len(factors)), [f"{factor:g} B" if factor != 1 else "B" for factor in factors])
    axes.set_xlabel("steps a problem may take (B: as in training)", color=INK)
    axes.set_ylabel(label, color=INK)
    low = min(0.0, float(np.nanmin(rows["low"].to_numpy())))
    axes.set(ylim=(low, 1.02), xlim=(-0.25, len(factors) - 0.75))
    name_lines(
        axes, {name: float(points.sort_by("factor")["value"].to_numpy()[-1]) for name, points in groups.items()}, styles
    )
    return figure
