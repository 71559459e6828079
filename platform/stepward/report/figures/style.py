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


# Where the name of a point may stand: its offset in points, and which of its edges is there.
SIDES: tuple[dict[str, Any], ...] = (
    {"xytext": (-7, 0), "ha": "right", "va": "center"},
    {"xytext": (7, 0), "ha": "left", "va": "center"},
    {"xytext": (4, -9), "ha": "left", "va": "center"},
    {"xytext": (-4, 9), "ha": "right", "va": "center"},
    {"xytext": (4, 9), "ha": "left", "va": "center"},
    {"xytext": (-4, -9), "ha": "right", "va": "center"},
)


def name_points(axes: Axes, points: list[tuple[str, float, float]]) -> None:
    """Names beside points, each on the side where it covers the fewest other names, points and lines.

    Call it when everything else is drawn and all limits are set.

    Args:
        points: name, x and y of each.
    """
    figure: Any = axes.figure
    figure.draw_without_rendering()  # lays it out
    drawn = [axes.transData.transform(_along(np.asarray(line.get_xydata()))) for line in axes.lines if line.get_gid()]
    inside = axes.get_window_extent()
    crowd = [*drawn, axes.transData.transform([(x, y) for _, x, y in points])] if points else []
    boxes: list[Any] = []
    for name, x, y in sorted(points, key=lambda point: -point[2]):
        best: tuple[float, Any, Any] | None = None
        for side in SIDES:
            text = axes.annotate(name, (x, y), textcoords="offset points", fontsize=6.5, color=INK, **side)
            text.set_in_layout(False)
            box = text.get_window_extent()
            covered = sum(int(_within(box, at).sum()) for at in crowd)
            outside = box.x0 < inside.x0 or box.x1 > inside.x1
            cost = covered + 100 * (sum(box.overlaps(other) for other in boxes) + outside)
            if best is None or cost < best[0]:
                if best is not None:
                    best[1].remove()
                best = (cost, text, box)
            else:
                text.remove()
        assert best is not None, "there are sides to try"
        boxes.append(best[2])


def _along(line: np.ndarray) -> np.ndarray:
    """Many points along a line given by its corners."""
    if len(line) < 2:
        return line
    steps = np.linspace(0, len(line) - 1, 40 * len(line))
    return np.stack([np.interp(steps, np.arange(len(line)), line[:, axis]) for axis in (0, 1)], axis=1)


def _within(box: Any, points: np.ndarray) -> np.ndarray:
    x, y = points[:, 0], points[:, 1]
    return (x > box.x0) & (x < box.x1) & (y > box.y0) & (y < box.y1)


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
