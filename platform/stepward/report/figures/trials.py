"""A sweep: the validation metric of every trial against each parameter that was varied."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stepward.report.figures.style import COLOURS, FONT, INK, new_figure

COLUMNS = 3
FEW = 5  # so many different numbers are choices rather than a range


def trials(rows: pa.Table, metric: str, best: int) -> Figure:
    """One small panel a parameter.

    Args:
        rows: one row a trial: ``config/<parameter>`` columns and the metric (null where a trial failed).
        metric: column of the validation metric.
        best: row of the winner, drawn as a star.
    """
    names = [name for name in rows.column_names if name.startswith("config/")]
    num_columns = min(COLUMNS, max(len(names), 1))
    num_rows = -(-max(len(names), 1) // num_columns)
    figure, axes = new_figure(0.5 + 2.0 * num_rows, nrows=num_rows, ncols=num_columns, sharey=True, squeeze=False)
    values = rows[metric].to_numpy(zero_copy_only=False).astype(float)
    for panel, name in zip(axes.flat, names, strict=False):
        x = _positions(panel, rows[name].to_pylist())
        panel.plot(x, values, "o", color=COLOURS[0], ms=4.5, alpha=0.65, mec="white", gid=name)
        panel.plot(x[best], values[best], "*", color=COLOURS[1], ms=12, mec="white", zorder=4)
        panel.set_xlabel(name.removeprefix("config/"), color=INK, fontsize=FONT - 1)
    for panel in list(axes.flat)[len(names) :]:
        panel.set_visible(False)
    for panel in axes[:, 0]:
        panel.set_ylabel(metric, color=INK, fontsize=FONT - 1)
    return figure


def _positions(panel: Axes, values: Sequence[object]) -> np.ndarray:
    """Where to draw values on the x axis: many different numbers as they are, logarithmic over more than a decade.

    Anything else is a row of categories, in order.
    """
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return _categories(panel, [str(value) for value in values], sorted({str(value) for value in values}))
    numbers = np.array(values, float)
    kinds = np.unique(numbers)
    if len(kinds) <= FEW and len(kinds) < len(values):
        return _categories(panel, [f"{number:g}" for number in numbers], [f"{kind:g}" for kind in kinds])
    if kinds[0] > 0 and kinds[-1] / kinds[0] > 10:
        panel.set_xscale("log")
    return numbers


def _categories(panel: Axes, values: list[str], kinds: list[str]) -> np.ndarray:
    panel.set_xticks(range(len(kinds)), kinds, rotation=20 if len(kinds) > 3 else 0)
    panel.set_xlim(-0.5, len(kinds) - 0.5)
    return np.array([kinds.index(value) for value in values], float)
