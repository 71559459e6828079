"""Rollouts of several arms: error against time, and error against what it cost."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from stepward.report.figures.style import INK, Look, name_lines, new_figure
from stepward.report.tables import by_arm
from stepward.report.text import count

PANELS = {"mean_nfe": "forward passes\nof the surrogate", "mean_flops": "FLOPs,\nscorers included"}


def error_over_time(rows: pa.Table, styles: dict[str, Look], label: str) -> Figure:
    """One line an arm with its interval as a band.

    Args:
        rows: arm, step, mean, low, high.
        styles: arm -> look.
        label: the error, for the axis.
    """
    figure, axes = new_figure(3.6)
    ends = {}
    for name, part in by_arm(rows).items():
        step, mean, low, high = (
            part[column].to_numpy(zero_copy_only=False) for column in ("step", "mean", "low", "high")
        )
        axes.fill_between(step, low, high, color=styles[name].colour, alpha=0.12, linewidth=0)
        axes.plot(step, mean, styles[name].marker + "-", ms=3.5, color=styles[name].colour, linewidth=1.4, gid=name)
        there = np.isfinite(mean)
        if there.any():
            ends[name] = float(mean[there][-1])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("step of the rollout", color=INK)
    axes.set_ylabel(label, color=INK)
    name_lines(axes, ends, styles)
    return figure


def error_over_cost(rows: pa.Table, styles: dict[str, Look], label: str) -> Figure:
    """One point an arm in each of two panels: against forward passes, and against FLOPs with the scorer's.

    Args:
        rows: arm, error, mean_nfe, mean_flops; arms without a network have a cost of 0 and stand at the left edge.
        styles: arm -> look.
        label: the error, for the axis.

    Arms far above the others, which would press those together, stand at the upper edge, their error beside the name.
    """
    figure, axes = new_figure(2.0 + 0.22 * len(rows), ncols=2, sharey=True)
    errors = rows["error"].to_numpy(zero_copy_only=False).astype(float)
    top = upper_edge(errors)
    ends, names = {}, {}
    for row in rows.to_pylist():
        if np.isfinite(row["error"]):
            name = row["arm"] if row["error"] <= top else f"{row['arm']} ↑ {row['error']:.3f}"
            ends[name], names[name] = min(float(row["error"]), top), styles[row["arm"]]
    for panel, (column, words) in zip(axes, PANELS.items(), strict=True):
        spent = rows[column].to_numpy(zero_copy_only=False).astype(float)
        least = spent[spent > 0].min() / 2 if (spent > 0).any() else 1.0
        places = np.where(spent > 0, spent, least)
        for x, row in zip(places, rows.to_pylist(), strict=True):
            look = styles[row["arm"]]
            y = min(row["error"], top)
            panel.plot(x, y, look.marker, color=look.colour, ms=6, mec="white", gid=row["arm"], zorder=4)
        panel.set_xscale("log")
        panel.minorticks_off()
        ticks = np.geomspace(places.min(), places.max(), 3) if places.max() > places.min() else places[:1]
        panel.set_xticks(ticks, [count(float(f"{tick:.0e}")) for tick in ticks], rotation=30)
        panel.set_xlabel(words, color=INK)
    axes[0].set_ylabel(label, color=INK)
    name_lines(axes[1], ends, names)
    return figure


def upper_edge(errors: Float[np.ndarray, " n"]) -> float:
    """Where to cut an axis of errors: two and a half times as far above the least as the median is."""
    finite = errors[np.isfinite(errors)]
    if not len(finite):
        return float("inf")
    edge = float(finite.min() + 2.5 * (np.median(finite) - finite.min()))
    return edge if edge > finite.min() else float("inf")
