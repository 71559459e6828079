"""Reliability diagram: what was predicted against what happened, before and after calibration, with bin counts."""

from __future__ import annotations

import pyarrow as pa
from matplotlib.figure import Figure

from stepward.report.figures.style import FAINT, FONT, INK, Look, intervals, new_figure
from stepward.report.tables import by, by_arm

WORDS = ("predicted success probability", "true success probability", "rows a bin")
TITLES = {"none": "as trained", "temperature": "after temperature scaling", "isotonic": "after isotonic regression"}


def reliability(bins: pa.Table, styles: dict[str, Look], words: tuple[str, str, str] = WORDS) -> Figure:
    """One column a calibration; above the curve, below the number of rows in every bin.

    Args:
        bins: arm, calibration ("none", "temperature", "isotonic"), num_rows, mean_prediction, mean_target, low, high.
        styles: arm -> look.
        words: what is predicted, what is true, what is counted.
    """
    panels = by(bins, "calibration")
    shape = {"nrows": 2, "ncols": len(panels), "sharex": True, "sharey": "row", "squeeze": False}
    figure, axes = new_figure(4.0 if len(panels) > 1 else 4.6, **shape, gridspec_kw={"height_ratios": [4, 1]})
    for column, (calibration, rows) in enumerate(panels.items()):
        upper, lower = axes[0, column], axes[1, column]
        upper.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (4, 3)), gid="perfect")
        upper.set_title(TITLES.get(calibration, calibration), fontsize=FONT, color=INK, loc="left")
        for name, curve in by_arm(rows).items():
            values = {c: curve[c].to_numpy() for c in ("mean_prediction", "mean_target", "low", "high", "num_rows")}
            x = values["mean_prediction"]
            upper.plot(
                x, values["mean_target"], color=styles[name].colour, linewidth=1, alpha=0.6, label=name, gid=name
            )
            intervals(upper, x, values["mean_target"], values["low"], values["high"], styles[name])
            lower.vlines(x, 0, values["num_rows"], color=styles[name].colour, linewidth=3, gid=name)
        upper.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        lower.set_ylim(bottom=0)
        lower.set_xlabel(words[0], color=INK)
    axes[0, 0].set_ylabel(words[1], color=INK)
    axes[1, 0].set_ylabel(words[2], color=INK)
    axes[0, 0].legend(frameon=False, fontsize=FONT - 1, loc="upper left", labelcolor="linecolor", handlelength=1.2)
    return figure
