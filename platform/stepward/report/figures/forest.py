"""Paired comparisons as a forest plot: differences with their intervals, and which survive Holm's adjustment."""

from __future__ import annotations

import pyarrow as pa
from matplotlib.figure import Figure

from stepward.report.figures.style import FONT, INK, Look, new_figure
from stepward.report.text import signed

LEVEL = 0.05


def forest(rows: pa.Table, styles: dict[str, Look], label: str = "difference in solve rate (95 % interval)") -> Figure:
    """One line a comparison: filled where Holm's p <= .05, hollow where no difference was shown.

    Args:
        rows: label, arm, difference, low, high, holm_p_value; rows of one family, in the order to show.
        styles: arm -> look.
        label: what differs, for the axis.
    """
    data = rows.to_pylist()[::-1]
    figure, axes = new_figure(0.9 + 0.27 * len(data))
    for place, row in enumerate(data):
        look, shown = styles[row["arm"]], row["holm_p_value"] <= LEVEL
        axes.hlines(place, row["low"], row["high"], color=look.colour, linewidth=1.6)
        face = look.colour if shown else "white"
        axes.plot(row["difference"], place, look.marker, mfc=face, mec=look.colour, ms=6, zorder=4)
        text = f"{signed(row['difference'])} [{signed(row['low'])}, {signed(row['high'])}]{' *' if shown else ''}"
        at = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "xytext": (5, 0)}
        axes.annotate(text, (1, place), va="center", fontsize=FONT - 2, color=INK, **at)
    axes.axvline(0, color=INK, linewidth=0.9)
    axes.set_yticks(range(len(data)), [row["label"] for row in data], fontsize=FONT - 2)
    axes.set_ylim(-0.6, len(data) - 0.4)
    axes.grid(False, axis="y")
    axes.set_xlabel(label, color=INK)
    return figure
