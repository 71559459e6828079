"""One number an arm: bars with intervals, values written at their ends."""

from __future__ import annotations

import pyarrow as pa
from matplotlib.figure import Figure

from stepward.report.figures.style import FONT, INK, Look, new_figure
from stepward.report.text import rate


def bars(rows: pa.Table, styles: dict[str, Look], label: str, *, lowest: float = 0.0, highest: float = 1.0) -> Figure:
    """Horizontal bars, best first.

    Args:
        rows: arm, value, low, high.
        styles: arm -> look.
        label: what the value is, for the axis.
        lowest, highest: the range that is always shown; it grows where the data leave it.
    """
    data = sorted(rows.to_pylist(), key=lambda row: row["value"])
    figure, axes = new_figure(0.9 + 0.42 * len(data))
    for place, row in enumerate(data):
        colour = styles[row["arm"]].colour
        axes.barh(place, row["value"], height=0.62, color=colour, alpha=0.85)
        axes.hlines(place, row["low"], row["high"], color=INK, linewidth=1.6, zorder=3)
        end = max(row["value"], row["high"], 0.0)
        text = rate(row["value"])
        axes.annotate(text, (end, place), xytext=(5, 0), textcoords="offset points", va="center", fontsize=FONT - 1)
    axes.set_yticks(range(len(data)), [row["arm"] for row in data])
    least, most = min([lowest, *(row["low"] for row in data)]), max([highest, *(row["high"] for row in data)])
    axes.set_xlim(least - 0.03 * (least < 0), most + 0.1 * (most - least))
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.grid(False, axis="y")
    axes.set_xlabel(label, color=INK)
    return figure
