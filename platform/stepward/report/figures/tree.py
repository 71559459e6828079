"""A search tree: one problem, its states as they were proposed, scores as colour, the way to the solution."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from stepward.report.figures.style import FONT, INK, new_figure

ROW = 0.2  # inches a leaf


def search_tree(nodes: pa.Table, label: str = "score of the step") -> Figure:
    """From left to right by depth. A number in a circle is the order of expansion.

    Args:
        nodes: node (0 .. n - 1, parents before children), parent (-1 at the root), depth, score, text (the state),
            expanded (order of expansion, -1 for never), solution (whether it is on the way to the solution found).
        label: of the colour bar.
    """
    parent, depth = nodes["parent"].to_numpy(), nodes["depth"].to_numpy()
    y = layout(parent)
    score, way = nodes["score"].to_numpy(), nodes["solution"].to_numpy(zero_copy_only=False)
    figure, axes = new_figure(max(2.4, 1.0 + ROW * (np.ptp(y) + 1)))
    children = parent >= 0
    colours = ScalarMappable(
        Normalize(score[children].min(), score[children].max()) if children.any() else None, "viridis"
    )
    for node in np.flatnonzero(children).tolist():
        above = int(parent[node])
        style = (
            {"color": INK, "linewidth": 2.0, "zorder": 2}
            if way[node]
            else {"color": "#cccccc", "linewidth": 0.8, "zorder": 1}
        )
        middle = (depth[above] + depth[node]) / 2
        axes.plot([depth[above], middle, middle, depth[node]], [y[above], y[above], y[node], y[node]], **style)
    for node, (text, order) in enumerate(zip(nodes["text"].to_pylist(), nodes["expanded"].to_pylist(), strict=True)):
        red, green, blue, _ = colours.to_rgba(score[node])
        dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.55
        fill = "white" if node == 0 else (red, green, blue)
        box = {
            "boxstyle": "round,pad=0.18",
            "facecolor": fill,
            "edgecolor": INK if way[node] else "none",
            "linewidth": 1.4,
        }
        ink = "white" if dark and node else INK
        axes.text(
            depth[node], y[node], text, fontsize=FONT - 3, ha="center", va="center", color=ink, bbox=box, zorder=3
        )
        if order >= 0:
            at = {"xytext": (0, 8), "textcoords": "offset points"}
            axes.annotate(str(order + 1), (depth[node], y[node]), fontsize=FONT - 3, ha="center", color=INK, **at)
    figure.colorbar(colours, ax=axes, label=label, shrink=0.5, aspect=25)
    axes.set(yticks=[], xticks=range(int(depth.max()) + 1))
    axes.spines["left"].set_visible(False)
    axes.grid(False)
    axes.margins(x=0.08, y=0.03)
    axes.set_xlabel("steps taken", color=INK)
    return figure


def layout(parent: np.ndarray) -> np.ndarray:
    """Height of every node: leaves one below the other in depth-first order, parents midway between their children."""
    children: list[list[int]] = [[] for _ in parent]
    for node, above in enumerate(parent):
        if above >= 0:
            children[above].append(node)
    y, leaf = np.zeros(len(parent)), 0
    waiting = [int(node) for node in np.flatnonzero(parent < 0)[::-1]]
    order = []
    while waiting:
        node = waiting.pop()
        order.append(node)
        if not children[node]:
            y[node], leaf = -leaf, leaf + 1
        waiting += children[node][::-1]
    for node in reversed(order):
        if children[node]:
            y[node] = (y[children[node][0]] + y[children[node][-1]]) / 2
    return y
