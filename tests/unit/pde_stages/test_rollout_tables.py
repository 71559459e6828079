"""The tables of a rollout evaluation, against numbers worked out by hand; the artifact that holds them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pde_artifacts import ARMS, do_all, rollout_settings_of
from stepward.core.cost import KINDS
from stepward.core.measures import Measure
from stepward.domains.pde.verifier import MEASURES
from stepward.evaluate.errors import ArmValues, ablation_rows, comparison_rows, step_rows
from stepward.evaluate.pairs import pair_error, pair_reliability
from stepward.evaluate.ranking import ranking_rows
from stepward.evaluate.settings import EvaluateSettings
from stepward.evaluate.stage import finish
from stepward.evaluate.study_settings import RankingStudy

WANTED = {"domain": "pde", "measure": "nrmse", "references": ("base",), "oracle": "best", "guides": {}, "seed": 0,
          "confidence": 0.95, "num_resamples": 500}  # fmt: skip
SETTINGS = EvaluateSettings.model_construct(**WANTED)


def arm(errors: list[list[float]], horizon: int = 2) -> ArmValues:
    """An arm from the error of each step; rows that are shorter than the horizon blew up."""
    columns = {
        "steps": pa.array([len(row) for row in errors]),
        "whole": pa.array([len(row) == horizon for row in errors]),
        "blew_up_at": pa.array([None if len(row) == horizon else len(row) + 1 for row in errors], pa.int32()),
        **{measure.name: pa.array(errors, pa.list_(pa.float64())) for measure in MEASURES},
        **{kind: pa.array([2.0] * len(errors)) for kind in KINDS},
    }
    return ArmValues(pa.table(columns), MEASURES)


FOUND = {
    "base": arm([[0.2, 0.4], [0.4, 0.8], [0.1, 0.3]]),
    "good": arm([[0.1, 0.2], [0.2, 0.4], [0.1]]),  # the third blew up
    "best": arm([[0.05, 0.1], [0.1, 0.2], [0.05, 0.15]]),
}


def test_rollouts_that_blew_up_are_counted_and_averaged_nowhere() -> None:
    rows = {row["arm"]: row for row in ablation_rows(FOUND, SETTINGS, MEASURES)}
    assert rows["good"]["num_problems"] == 2 and rows["good"]["num_blown_up"] == 1
    assert rows["good"]["value"] == pytest.approx((0.15 + 0.3) / 2)
    assert rows["good"]["final_value"] == pytest.approx(0.3)
    assert rows["good"]["poseidon_l1"] == pytest.approx(0.3), "median of the last step"
    # base over the same two problems: .3 and .6, mean .45
    assert rows["good"]["gain"] == pytest.approx(0.5) and rows["good"]["num_pairs"] == 2
    assert rows["base"]["gain"] == 0.0 and rows["best"]["gain"] == pytest.approx(0.775 / 1.1)
    assert rows["good"]["share_of_oracle_gain"] == pytest.approx(0.5 / (0.775 / 1.1))
    step = {(r["arm"], r["step"]): r for r in step_rows(FOUND, SETTINGS, MEASURES) if r["measure"] == "nrmse"}
    assert step["good", 1]["num_problems"] == 3 and step["good", 2]["num_problems"] == 2
    assert step["good", 2]["mean"] == pytest.approx(0.3)


def test_comparisons_are_over_rollouts_that_are_whole_in_both() -> None:
    rows = {row["arm"]: row for row in comparison_rows(FOUND, SETTINGS)}
    assert set(rows) == {"good", "best"}
    assert rows["good"]["num_pairs"] == 2 and rows["good"]["num_lost"] == 1
    assert rows["good"]["difference"] == pytest.approx(0.5)
    assert rows["good"]["mean"] == pytest.approx(0.225) and rows["good"]["reference_mean"] == pytest.approx(0.45)
    assert rows["best"]["holm_p_value"] >= rows["best"]["p_value"]


def test_a_number_has_one_interval_wherever_it_stands() -> None:
    """The gain of an arm in the ablation and in the comparisons had an interval each."""
    ablation = {row["arm"]: row for row in ablation_rows(FOUND, SETTINGS, MEASURES)}
    for row in comparison_rows(FOUND, SETTINGS):
        own = ablation[row["arm"]]
        assert (row["difference"], row["low"], row["high"]) == (own["gain"], own["gain_low"], own["gain_high"])
        assert row["high"] <= 1


def test_a_measure_that_should_be_high_gains_where_it_rises() -> None:
    score = Measure("score", "", higher_is_better=True)

    class Scored(EvaluateSettings):
        @property
        def headline(self) -> Measure:
            return score

    columns = {kind: pa.array([1.0] * 3) for kind in KINDS}
    found = {
        name: ArmValues(pa.table({"score": values, **columns}), (score,))
        for name, values in {"base": [1.0, 2.0, 3.0], "good": [2.0, 4.0, 3.0], "lost": [None, 1.0, 1.0]}.items()
    }
    settings = Scored.model_construct(**WANTED | {"measure": "score"})
    rows = {row["arm"]: row for row in comparison_rows(found, settings)}
    assert rows["good"]["difference"] == pytest.approx(3 / 6) and rows["good"]["mean"] == 3
    assert rows["lost"]["difference"] == pytest.approx(-3 / 5) and rows["lost"]["num_lost"] == 1
    assert rows["lost"]["low"] <= rows["lost"]["difference"] <= rows["lost"]["high"]


def test_intervals_of_rankings_are_over_problems() -> None:
    study = RankingStudy(guides=("prm", "near"), reference="near")
    settings = EvaluateSettings.model_construct(**WANTED, rankings=study)
    table = pa.table(
        {
            "guide": ["prm"] * 3 + ["near"] * 3,
            "id": ["a1", "a2", "b1"] * 2,
            "problem_id": ["a", "a", "b"] * 2,
            **{name: [1.0, 0.5, 0.25, 0.5, 0.5, 0.25] for name in ("pairs", "triplet", "spearman", "regret")},
        }
    )
    prm, near = ranking_rows(table, settings)
    assert prm["num_states"] == 3 and prm["num_problems"] == 2
    assert prm["pairs"] == pytest.approx((0.75 + 0.25) / 2) and prm["pairs_lead"] == pytest.approx((0.25 + 0) / 2)
    assert near.get("pairs_lead") is None


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_pairs_are_reliable_where_chance_follows_the_scores(scale: float) -> None:
    """Errors are drawn so that s beats s' with probability σ(s − s'): a Gumbel variable is added to each score. Scores
    three times as large promise too much: σ(3 d) − σ(d) on average.
    """
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 1, (400, 20))
    errors = -(scores + rng.gumbel(size=scores.shape))
    rows = pair_reliability(scale * scores, errors, np.repeat(np.arange(100), 4), rng=rng)
    assert sum(row["num_rows"] for row in rows) == 400 * 190 and len(rows) == 10
    gaps = np.abs(scores[:, :, None] - scores[:, None, :])[:, *np.triu_indices(20, k=1)]
    promised = float((1 / (1 + np.exp(-scale * gaps)) - 1 / (1 + np.exp(-gaps))).mean())
    # 100 problems of 4 x 190 pairs, of which 19 in 20 share a candidate: about 40 independent comparisons a problem
    tolerance = 4 * 0.5 / np.sqrt(100 * 40)
    assert pair_error(rows) == pytest.approx(promised, abs=tolerance)
    inside = [row["low"] <= row["mean_prediction"] <= row["high"] for row in rows]
    assert sum(inside) >= 7 if scale == 1 else sum(inside) <= 3


def test_the_artifact_holds_one_run_an_arm_with_the_same_metrics(store: Path) -> None:
    settings = rollout_settings_of(store, name="finished")
    work = do_all(settings)
    manifest = finish(work, 1.0)
    folder = settings.artifact("evaluate").folder
    names = [set(folder.read_json(f"runs/{name}/metrics.json")) for name in ARMS]
    shared = {"answer/nrmse", "answer/nrmse_low", "versus/deterministic", "versus/deterministic_low", "cost/nfe"}
    assert all(shared <= found for found in names)
    assert len({frozenset(found - {"versus/best_rival"}) for found in names}) == 1
    assert "versus/best_rival" in names[list(ARMS).index("prm")]
    history = folder.read_table("runs/prm/history.parquet")
    assert history["step"].to_pylist() == [1, 2, 3, 4] and "answer/nrmse_over_steps" in history.column_names
    assert not set(history.column_names) & names[0], "a tracker would show the last step for the whole rollout"
    metrics = folder.read_json("metrics.json")
    assert metrics["prm/nrmse"] == pytest.approx(metrics["prm/value"])
    pairs = folder.read_table("tables/pairs.parquet")
    assert set(pairs["guide"].to_pylist()) == {"prm"} and 0 <= metrics["prm/ranking_pair_calibration_error"] < 0.5
    assert manifest.inputs.keys() == {"label", "train/prm", "pretrain/default"}
    assert not folder.files("shards") and manifest.facts["measure"] == "nrmse"
