"""How guides order candidates: the true rank of the candidate that stands at each place of a guide's order."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from stepward.report.figures.style import FAINT, INK, Look, name_lines, new_figure


def candidate_order(ranks: dict[str, Float[np.ndarray, " k"]], styles: dict[str, Look]) -> Figure:
    """One line a guide; a perfect guide is the diagonal, a blind one a level line in the middle.

    Args:
        ranks: guide -> mean true rank (0 best, 1 worst) of the candidate it puts first, second, …
        styles: guide -> look.
    """
    figure, axes = new_figure(3.4)
    ends = {}
    for name, values in ranks.items():
        place = np.linspace(0, 1, len(values))
        look, every = styles[name], max(1, len(values) // 12)
        axes.plot(place, values, look.marker + "-", ms=4, markevery=every, color=look.colour, linewidth=1.2, gid=name)
        ends[name] = float(values[-1])
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_xlabel("place in the guide's order (0: scored best)", color=INK)
    axes.set_ylabel("mean true rank (0: least error)", color=INK)
    name_lines(axes, ends, styles)
    return figure
