"""Figures show the data they were given: positions, intervals, names, and nothing lost. Any warning fails a test."""

import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from stepward.report.figures import (
    bars,
    forest,
    frontier,
    looks,
    parallelism,
    png,
    reliability,
    robustness,
    search_tree,
    training,
    trials,
)
from stepward.report.figures.frontier import solve_curve
from stepward.report.figures.style import COLOURS, name_lines, name_points, new_figure
from stepward.report.figures.tree import layout

pytestmark = pytest.mark.filterwarnings("error")
STYLES = looks(["prm", "exact", "distance"])


def table(*rows):
    return pa.Table.from_pylist(list(rows))


def lines(axes, gid):
    """(x, y) of the lines drawn for one name."""
    return [line.get_xydata() for line in axes.get_lines() if line.get_gid() == gid]


def markers(axes):
    """All points drawn as markers, as a set of rounded pairs."""
    drawn = [line.get_xydata() for line in axes.get_lines() if line.get_marker() not in ("", "None", None)]
    return {(round(float(x), 6), round(float(y), 6)) for points in drawn for x, y in points}


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def drawn(figure):
    """The PNG, so that every figure is really rendered, as an array."""
    return np.asarray(Image.open(io.BytesIO(png(figure))).convert("L"))


def test_frontier_draws_the_steps_of_every_problem_and_the_points_of_every_budget():
    rows = [(arm, b, r) for arm, r in (("prm", 0.75), ("distance", 0.5)) for b in (10.0, 100.0)]
    points = table(*({"arm": a, "budget": b, "solve_rate": r, "low": r - 0.1, "high": r + 0.1} for a, b, r in rows))
    costs = {"prm": [2.0, 5.0, 5.0, np.inf], "distance": [10.0, 100.0, np.inf, np.inf]}
    outcomes = table(*({"arm": a, "expansions_at_solve": c} for a, cs in costs.items() for c in cs))
    figure = frontier(points, outcomes, STYLES)
    [axes] = figure.axes
    [curve] = lines(axes, "prm")
    assert curve.tolist() == [[1, 0], [2, 0.25], [5, 0.75], [100, 0.75]]
    [curve] = lines(axes, "distance")
    assert curve.tolist() == [[1, 0], [10, 0.25], [100, 0.5]]
    assert {y for _, y in markers(axes)} == {0.75, 0.5}
    assert axes.get_xscale() == "log"
    assert {"prm", "distance"} <= set(texts(figure))
    assert drawn(figure).min() < 100


def test_a_solve_curve_ends_at_the_budget():
    steps, share = solve_curve(np.array([3.0, 50.0, np.inf]), 20.0)
    assert steps.tolist() == [1, 3, 20] and share == pytest.approx([0, 1 / 3, 1 / 3])


def test_reliability_has_one_panel_a_calibration_and_the_counts_below():
    rows = [
        {
            "arm": arm, "calibration": calibration, "num_rows": n, "mean_prediction": p, "mean_target": p + gap,
            "low": p + gap - 0.02, "high": p + gap + 0.02,
        }
        for arm, gap in (("prm", 0.05), ("exact", 0.0))
        for calibration in ("none", "temperature")
        for p, n in ((0.2, 30), (0.7, 31))
    ]  # fmt: skip
    figure = reliability(table(*rows), STYLES)
    upper, lower = figure.axes[:2], figure.axes[2:]
    assert [axes.get_title(loc="left") for axes in upper] == ["as trained", "after temperature scaling"]
    for axes in upper:
        [curve] = lines(axes, "prm")
        assert curve == pytest.approx(np.array([[0.2, 0.25], [0.7, 0.75]]))
        [diagonal] = lines(axes, "perfect")
        assert diagonal.tolist() == [[0, 0], [1, 1]]
    heights = {round(path.vertices[:, 1].max()) for c in lower[0].collections for path in c.get_paths()}
    assert heights == {30, 31}
    drawn(figure)


def test_bars_are_sorted_and_say_their_values():
    rows = [("prm", 0.86), ("exact", 1.0), ("distance", -0.2)]
    figure = bars(table(*({"arm": a, "value": v, "low": v - 0.05, "high": v + 0.05} for a, v in rows)), STYLES, "rho")
    [axes] = figure.axes
    assert [patch.get_width() for patch in axes.patches] == [-0.2, 0.86, 1.0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["distance", "prm", "exact"]
    assert texts(figure) == ["−0.200", "0.860", "1.000"]
    low, high = axes.get_xlim()
    assert low < -0.25 and high > 1.05
    drawn(figure)


def test_robustness_puts_factors_in_order_whatever_the_order_of_rows():
    rows = [
        {"arm": "prm", "factor": f, "value": v, "low": v, "high": v} for f, v in ((2.0, 0.9), (0.5, 0.4), (1.0, 0.8))
    ]
    figure = robustness(table(*rows), STYLES, "share solved")
    [axes] = figure.axes
    [curve] = lines(axes, "prm")
    assert curve.tolist() == [[0, 0.4], [1, 0.8], [2, 0.9]]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.5 B", "B", "2 B"]
    drawn(figure)


def test_parallelism_shows_promise_beside_what_happened():
    rows = [
        {
            "arm": a,
            "num_candidates": k,
            "single": 0.3,
            "predicted": p,
            "realised": r,
            "low": r - p - 0.02,
            "high": r - p + 0.02,
        }
        for a, p in (("prm", 0.6), ("exact", 0.52))
        for k, r in ((2, 0.5), (4, 0.55))
    ]
    figure = parallelism(table(*rows), STYLES)
    [axes] = figure.axes
    assert [patch.get_height() for patch in axes.patches] == [0.5, 0.55]
    assert {y for _, y in markers(axes)} == {0.3, 0.6, 0.52}
    spans = [path.vertices[:, 1] for c in axes.collections for path in c.get_paths()]
    assert all(span.min() <= p <= span.max() for span, p in zip(spans, (0.6, 0.6, 0.52, 0.52), strict=True))
    drawn(figure)


def test_a_forest_fills_only_what_survives_holm():
    rows = [
        {"label": "prm at 10", "arm": "prm", "difference": 0.1, "low": 0.05, "high": 0.15, "holm_p_value": 0.001},
        {"label": "exact at 10", "arm": "exact", "difference": -0.01, "low": -0.04, "high": 0.02, "holm_p_value": 0.6},
    ]
    figure = forest(table(*rows), STYLES)
    [axes] = figure.axes
    shown = {
        line.get_xdata()[0]: line.get_markerfacecolor() for line in axes.get_lines() if line.get_marker() != "None"
    }
    assert shown == {0.1: STYLES["prm"].colour, -0.01: "white"}
    assert texts(figure) == ["−0.010 [−0.040, +0.020]", "+0.100 [+0.050, +0.150] *"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["exact at 10", "prm at 10"]
    drawn(figure)


def test_training_marks_the_epoch_that_was_kept():
    history = pa.table({"step": [1, 2, 3], "train_loss": [0.6, 0.5, 0.4], "validation_loss": [0.65, 0.55, 0.56]})
    names = {"train_loss": "training", "validation_loss": "validation"}
    figure = training(history, names, label="loss (nats)", best=2)
    [axes] = figure.axes
    [curve] = lines(axes, "validation")
    assert curve.tolist() == [[1, 0.65], [2, 0.55], [3, 0.56]]
    assert [2, 2] in [list(line.get_xdata()) for line in axes.get_lines()]
    assert {"training", "validation", "kept"} == set(texts(figure))
    drawn(figure)


def test_trials_have_a_panel_a_parameter_and_a_star_for_the_winner():
    rates = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2]
    kinds = ["bce", "binomial"] * 3
    loss = [0.5, 0.4, None, 0.2, 0.3, 0.6]
    rows = pa.table({"config/lr": rates, "config/objective": kinds, "loss": loss})
    figure = trials(rows, "loss", best=3)
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_xlabel() for axes in panels] == ["lr", "objective"]
    assert panels[0].get_xscale() == "log" and panels[1].get_xscale() == "linear"
    [points] = lines(panels[0], "config/lr")
    assert points[:, 0].tolist() == rates
    assert np.isnan(points[2, 1]) and points[3, 1] == 0.2
    stars = [line.get_xydata().tolist() for line in panels[0].get_lines() if line.get_marker() == "*"]
    assert stars == [[[3e-3, 0.2]]]
    assert [label.get_text() for label in panels[1].get_xticklabels()] == ["bce", "binomial"]
    drawn(figure)


def tree_rows():
    parent = [-1, 0, 0, 2, 2]
    return pa.table(
        {
            "node": np.arange(5),
            "parent": np.array(parent),
            "depth": np.array([0, 1, 1, 2, 2]),
            "score": np.array([0.0, 0.1, 0.9, 0.2, 1.0]),
            "text": ["7", "6", "14", "13", "28"],
            "expanded": np.array([0, -1, 1, -1, -1]),
            "solution": [True, False, True, False, True],
        }
    )


def test_a_search_tree_names_its_states_and_draws_the_way_to_the_solution_thick():
    figure = search_tree(tree_rows())
    axes = figure.axes[0]
    assert texts(figure) == ["7", "1", "6", "14", "2", "13", "28"]
    thick = [line.get_xdata()[[0, -1]].tolist() for line in axes.get_lines() if line.get_linewidth() == 2]
    assert thick == [[0, 1], [1, 2]]
    assert len(axes.get_lines()) == 4
    drawn(figure)


def test_leaves_of_a_tree_keep_their_distance_and_parents_stand_amid_their_children():
    y = layout(np.array([-1, 0, 0, 0, 2, 2]))
    assert sorted(y[[1, 4, 5, 3]].tolist()) == [-3, -2, -1, 0]
    assert y[2] == (y[4] + y[5]) / 2 and y[0] == (y[1] + y[3]) / 2


def test_names_beside_lines_never_overlap_and_stay_below_the_top():
    figure, axes = new_figure(3.0)
    axes.set_ylim(0, 1)
    ends = dict(zip("abcde", (0.99, 0.985, 0.98, 0.3, 0.31), strict=True))
    name_lines(axes, ends, looks(ends))
    heights = sorted(text.xy[1] for text in axes.texts)
    gap = 1.25 * 10 / (axes.get_window_extent().height / figure.dpi * 72)
    assert np.diff(heights).min() >= gap * 0.999 and heights[-1] <= 1
    order = sorted(axes.texts, key=lambda text: text.xy[1])
    assert [text.get_text() for text in order] == ["d", "e", "c", "b", "a"]


def test_names_beside_points_avoid_one_another_and_stay_inside():
    """Four points so near to one another that names on one side of all of them would overlap."""
    figure, axes = new_figure(3.0)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    points = [("first_of_four", 0.9, 0.50), ("second", 0.92, 0.52), ("third_name", 0.9, 0.54), ("fourth", 0.93, 0.56)]
    name_points(axes, points)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert {text.get_text() for text in axes.texts} == {name for name, _, _ in points}, "each name once"
    assert not any(box.overlaps(other) for i, box in enumerate(boxes) for other in boxes[:i])
    assert all(box.x1 <= axes.get_window_extent().x1 for box in boxes)


def test_every_arm_looks_different_even_without_colour():
    found = looks(f"arm{i}" for i in range(9))
    assert len(set(found.values())) == 9 and len({look.marker for look in found.values()}) == 9
    assert [look.colour for look in found.values()][:6] == list(COLOURS)


def test_a_figure_gives_the_same_bytes_again():
    rows = table({"arm": "prm", "value": 0.5, "low": 0.4, "high": 0.6})
    assert png(bars(rows, STYLES, "x")) == png(bars(rows, STYLES, "x"))
