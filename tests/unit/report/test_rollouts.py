"""The report of an evaluation of rollouts: what its sections say, drawn from a small artifact."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pde_artifacts import ARMS, do_all, make_pretrained, make_rankings, make_reward, rollout_settings_of
from stepward.core.artifacts import Artifact
from stepward.evaluate.stage import finish
from stepward.report import build_page, read_sources, render
from stepward.report.figures import looks
from stepward.report.figures.candidates import candidate_order
from stepward.report.figures.fields import fields, spread
from stepward.report.figures.rollouts import error_over_cost, upper_edge
from stepward.report.sections.errors import _true_ranks
from stepward.runtime.reporting import ReportJob, find_sources


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pde")
    make_pretrained(root)
    make_rankings(root)
    make_reward(root)
    finish(do_all(rollout_settings_of(root)), 1.0)
    return root


def test_the_page_answers_with_the_pictured_arm_and_shows_every_arm(store: Path) -> None:
    one = {stage: Artifact(str(store), "pde", stage, "default") for stage in ("evaluate", "label", "tune")}
    sources = read_sources(**one, trains=[])
    page = build_page(sources)
    assert "by prm" in page.title and any("perfect choice" in sentence for sentence in page.answer)
    titles = [section.title for section in page.sections]
    assert titles[:2] == ["What is compared", "Trivial rivals"] and "trivial rivals" in page.answer[0]
    assert titles[2:6] == ["Ablation", "Paired comparisons", "Error against time", "Error against computation"]
    assert titles[6:8] == ["Fields", "Ranking of candidates"]
    ablation = next(block for block in page.sections[2].blocks if block.kind == "grid")
    assert [row[0] for row in ablation.rows] == [*ARMS, "constant", "read_off_state", "near_deterministic"]
    metrics = one["evaluate"].folder.read_json("metrics.json")
    assert ablation.rows[list(ARMS).index("prm")][1] == f"{metrics['prm/nrmse']:.4f}"
    lacking = {section.title for section in page.sections if any(block.kind == "gap" for block in section.blocks)}
    assert lacking == {"Training", "Tuning"}, "these artifacts were not made"
    assert "PDEBench nRMSE" in render(page)


def test_the_surrogate_is_among_what_the_report_was_made_from_and_so_is_its_command(store: Path) -> None:
    sources = find_sources(ReportJob(domain="pde", store=str(store)))
    assert [source.role for source in sources.usable()][:2] == ["pretrain/default", "label/default"]
    made = next(section for section in build_page(sources).sections if section.title == "Made from")
    commands = next(block for block in reversed(made.blocks) if block.kind == "verbatim").text
    assert commands.splitlines()[0].startswith("python jobs/pretrain.py name=default domain=pde")


def test_arms_far_above_the_others_stand_at_the_edge_with_their_error() -> None:
    table = pa.table({"arm": ["a", "b", "c", "wild", "lost"], "error": [0.10, 0.11, 0.12, 0.5, np.nan],
                      "mean_nfe": [10.0, 10, 20, 10, 10], "mean_flops": [1e9, 2e9, 3e9, 1e9, 1e9]})  # fmt: skip
    assert upper_edge(table["error"].to_numpy()) == pytest.approx(0.1 + 2.5 * 0.015)  # median of the four is .115
    assert upper_edge(np.full(3, 0.2)) == np.inf and upper_edge(np.array([np.nan])) == np.inf
    figure = error_over_cost(table, looks(["a", "b", "c", "wild", "lost"]), "error")
    assert {text.get_text() for text in figure.axes[1].texts} == {"a", "b", "c", "wild ↑ 0.500"}


def test_candidates_are_shown_from_the_best_score_to_the_worst() -> None:
    scores = np.array([0.1, 0.9, -1.0, 0.5, 0.0, 0.7])
    assert spread(scores, 3) == [1, 3, 2] or spread(scores, 3) == [1, 0, 2]
    assert spread(scores[:2], 5) == [1, 0]
    rng = np.random.default_rng(0)
    row = {name: rng.normal(size=(8, 8)) for name in ("state", "deterministic", "choice", "truth")}
    row |= {
        "candidates": rng.normal(size=(2, 8, 8)),
        "candidate_scores": scores[:2],
        "candidate_errors": scores[:2] + 2,
    }
    figure = fields(row | {"chosen": 1})
    shown = [axes.get_title() for axes in figure.axes if axes.get_visible()]
    assert shown[5].startswith("score 0.90 ←") and "error 2.90" in shown[5] and len(shown) == 7


def test_equal_scores_are_a_level_line_wherever_the_best_candidate_is_stored() -> None:
    rows = pa.table({"scores": [[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]], "errors": [[0.1, 0.2, 0.3], [0.2, 0.1, 0.3]]})
    assert np.allclose(_true_ranks(rows.slice(0, 1)), 0.5)
    assert np.allclose(_true_ranks(rows.slice(1, 1)), [0.25, 0.25, 1.0])


def test_a_perfect_guide_is_the_diagonal() -> None:
    figure = candidate_order({"perfect": np.linspace(0, 1, 5), "blind": np.full(5, 0.5)}, looks(["perfect", "blind"]))
    [perfect] = [line for line in figure.axes[0].lines if line.get_gid() == "perfect"]
    assert np.array_equal(perfect.get_xdata(), perfect.get_ydata())
