"""One look for every figure: colours told apart by everybody, one size, names beside the lines instead of a legend.

Colours: Okabe and Ito 2008, "Color universal design", without yellow and black, which do not show on paper or lines.
Every arm has a marker of its own as well, so that no figure depends on colour alone.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Real
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.optimize import isotonic_regression

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
INK, FAINT = "#333333", "#9a9a9a"
WIDTH = 5.8  # inches; shown 680 pixels wide at most, so that 10 points stay readable on a phone
DPI = 200
FONT = 10.0


class Look(NamedTuple):
    """How an arm is drawn in every figure."""

    colour: str
    marker: str


def looks(arms: Iterable[str]) -> dict[str, Look]:
    """A look for every arm, in the order given. Colours repeat after six arms, markers after nine."""
    names = dict.fromkeys(arms)
    return {name: Look(COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]) for i, name in enumerate(names)}


def new_figure(height: float, **subplots: Any) -> tuple[Figure, Any]:
    """A figure of the common width and its axes (see `Figure.subplots`); bound to no window and no global state."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(**subplots)
    for each in np.ravel(axes):
        _plain(each)
    return figure, axes


def png(figure: Figure) -> bytes:
    """The figure as a PNG file; the same figure gives the same bytes."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": None})
    return stream.getvalue()


def intervals(
    axes: Axes,
    x: Real[np.ndarray, " n"],
    y: Real[np.ndarray, " n"],
    low: Real[np.ndarray, " n"],
    high: Real[np.ndarray, " n"],
    look: Look,
) -> None:
    """Markers with their vertical intervals."""
    axes.vlines(x, low, high, color=look.colour, linewidth=1.6, zorder=3)
    axes.plot(x, y, look.marker, color=look.colour, markersize=5.5, markeredgecolor="white", zorder=4)


def name_lines(axes: Axes, ends: dict[str, float], styles: dict[str, Look]) -> None:
    """Names beside the right edge, each as near to the end of its line as the others allow."""
    if not ends:
        return
    names = sorted(ends, key=lambda name: ends[name])
    low, high = axes.get_ylim()
    rows = axes.get_window_extent().height / axes.figure.dpi * 72 / (1.25 * FONT)  # lines of text that fit
    gap = (high - low) / max(rows, 1)
    steps = np.arange(len(names)) * gap
    # Least squares under order and distance; clipping its solution is optimal under the upper bound as well.
    places = (
        np.minimum(isotonic_regression(np.array([ends[name] for name in names]) - steps).x, high - steps[-1]) + steps
    )
    for name, place in zip(names, places, strict=True):
        axes.annotate(
            name,
            (1.0, place),
            xytext=(6, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            color=styles[name].colour,
            fontsize=FONT,
            fontweight="bold",
        )


def _plain(axes: Axes) -> None:
    """No frame, a faint grid, readable numbers."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(colors=INK, labelsize=FONT - 1)
    axes.xaxis.label.set(color=INK, fontsize=FONT)
    axes.yaxis.label.set(color=INK, fontsize=FONT)
    axes.title.set(color=INK, fontsize=FONT)
    axes.grid(True, color="#e6e6e6", linewidth=0.7)
    axes.set_axisbelow(True)
