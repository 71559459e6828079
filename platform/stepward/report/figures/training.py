"""Training curve: a loss of the training rows and of held-out rows, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from stepward.report.figures.style import COLOURS, FAINT, FONT, INK, Look, name_lines, new_figure


def training(history: pa.Table, columns: Mapping[str, str], *, label: str, best: int | None = None) -> Figure:
    """One line a column over the steps.

    Args:
        history: step and the columns.
        columns: column -> name beside its line.
        label: what the columns measure, for the axis.
        best: step whose weights were kept.
    """
    figure, axes = new_figure(3.0)
    styles = {name: Look(COLOURS[i], "o") for i, name in enumerate(columns.values())}
    steps, ends = history["step"].to_numpy(), {}
    for column, name in columns.items():
        values = history[column].to_numpy(zero_copy_only=False).astype(float)
        there = np.isfinite(values)
        axes.plot(steps[there], values[there], "o-", ms=3, color=styles[name].colour, linewidth=1.4, gid=name)
        if there.any():
            ends[name] = float(values[there][-1])
    if best is not None:
        axes.axvline(best, color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
        at = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "xytext": (-3, 0)}
        axes.annotate("kept", (best, 1), fontsize=FONT - 2, color=INK, ha="right", va="top", **at)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch", color=INK)
    axes.set_ylabel(label, color=INK)
    name_lines(axes, ends, styles)
    return figure
