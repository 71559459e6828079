"""Pictures of fields: what an arm saw at one step, what it chose, and what was true."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stepward.core.config import Plain
from stepward.report.figures.style import FONT, INK, new_figure

SHOWN = 5  # candidates of a step, evenly spaced by score
FIELDS, ERRORS = "viridis", "RdBu_r"


def fields(row: Plain) -> Figure:
    """One step: state, surrogate's own answer, choice, truth and error above; candidates by score below.

    Args:
        row: arrays [H, W] state, deterministic, choice, truth; candidates [k, H, W], candidate_scores and
            candidate_errors [k]; chosen.
    """
    figure, axes = new_figure(3.1, nrows=2, ncols=SHOWN)
    shown = np.stack([row[name] for name in ("state", "deterministic", "choice", "truth")])
    span = float(shown.min()), float(shown.max())
    for panel, name in zip(axes[0], ("state", "deterministic", "choice", "truth"), strict=False):
        _image(panel, row[name], name, span)
    _error(axes[0, 4], row["choice"] - row["truth"], "choice − truth")
    difference = row["candidates"] - row["deterministic"]
    largest = float(np.abs(difference).max()) or 1.0
    for panel, index in zip(axes[1], spread(row["candidate_scores"], SHOWN), strict=False):
        mark = " ←" if index == row["chosen"] else ""
        words = f"score {row['candidate_scores'][index]:.2f}{mark}\nerror {row['candidate_errors'][index]:.4f}"
        _image(panel, difference[index], words, (-largest, largest), ERRORS)
    for panel in axes[1, len(row["candidates"]) :]:
        panel.set_visible(False)
    axes[1, 0].set_ylabel("candidate −\ndeterministic", fontsize=FONT - 4, color=INK)
    return figure


def spread(scores: Float[np.ndarray, " k"], num: int) -> list[int]:
    """At most `num` candidates evenly spaced by score, the best first."""
    order = np.argsort(-scores, kind="stable")
    places = np.unique(np.linspace(0, len(order) - 1, min(num, len(order))).round().astype(int))
    return [int(order[place]) for place in places]


def _image(panel: Axes, values: np.ndarray, title: str, span: tuple[float, float], colours: str = FIELDS) -> None:
    panel.imshow(values.T, origin="lower", cmap=colours, vmin=span[0], vmax=span[1], interpolation="nearest")
    panel.set_title(title, fontsize=FONT - 4, color=INK)
    panel.set(xticks=[], yticks=[])
    panel.grid(False)


def _error(panel: Axes, values: np.ndarray, title: str) -> None:
    largest = float(np.abs(values).max()) or 1.0
    _image(panel, values, title, (-largest, largest), ERRORS)
