"""Parallelism dividend: the success of k candidates together, predicted from single ones, against what happened."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure

from stepward.report.figures.style import FAINT, FONT, INK, Look, new_figure
from stepward.report.tables import by_arm, distinct


def parallelism(rows: pa.Table, styles: dict[str, Look]) -> Figure:
    """For each number of candidates: one alone, the product's promise for each source of p, the realised rate.

    Args:
        rows: arm (source of the probabilities), num_candidates, single, predicted, realised, low, high (interval of
            realised minus predicted).
        styles: arm -> look.
    """
    sizes = sorted(distinct(rows, "num_candidates"))
    groups = by_arm(rows)
    figure, axes = new_figure(3.4)
    shown = {row["num_candidates"]: row["realised"] for row in rows.to_pylist()}
    places = np.arange(len(sizes))
    axes.bar(places, [shown[size] for size in sizes], width=0.8, color="#dddddd", label="realised", zorder=1)
    for number, (name, points) in enumerate(groups.items()):
        offset = 0.8 * ((number + 0.5) / len(groups) - 0.5)
        for row in points.to_pylist():
            x = sizes.index(row["num_candidates"]) + offset
            # The interval of (realised - predicted) around the realised rate is where the prediction could have lain.
            axes.vlines(
                x, row["realised"] - row["high"], row["realised"] - row["low"], color=styles[name].colour, lw=1.6
            )
            axes.plot(x, row["predicted"], styles[name].marker, color=styles[name].colour, ms=6, mec="white", zorder=4)
            axes.plot(x, row["single"], styles[name].marker, mfc="white", mec=styles[name].colour, ms=5, zorder=4)
        axes.plot([], [], styles[name].marker, color=styles[name].colour, label=f"1 − ∏(1 − p) by {name}")
    axes.plot([], [], "o", mfc="white", mec=FAINT, label="one candidate alone")
    axes.set_xticks(places, [f"k = {size}" for size in sizes])
    axes.set_ylim(0, 1.02)
    axes.grid(False, axis="x")
    axes.set_xlabel("candidates of one state", color=INK)
    axes.set_ylabel("probability that one succeeds", color=INK)
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside upper left", frameon=False, fontsize=FONT - 1, ncols=2
    )
    return figure
