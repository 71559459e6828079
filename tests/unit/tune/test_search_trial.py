"""Trials of a sweep over how searches are guided, and the space of math that ships."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stepward.core.config import override
from stepward.core.wing import find_wing
from stepward.evaluate.trial import ArmTrial, arm_trial_settings, judge_trial, trial_inputs
from stepward.rewards.guides import CompositeGuide
from stepward.tune import make_plan, tune_settings
from walk_artifacts import make_labels

GUIDED_BY = {name: {"weights.prm": 0.0, f"weights.{name}": 1.0} for name in ("exact", "distance", "random")}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    make_labels(folder)
    return folder


def trial(store: Path, domain: str = "walk", **changes: Any) -> ArmTrial:
    return override(arm_trial_settings(find_wing(domain)), {"store": str(store), "expansions": 20}, changes)


def losses(store: Path, guide: str, **changes: Any) -> np.ndarray:
    return judge_trial(trial(store, **GUIDED_BY[guide], **changes))[0]


def test_a_better_guide_leaves_fewer_problems_unsolved(store: Path) -> None:
    exact, distance, random = (losses(store, guide).mean() for guide in ("exact", "distance", "random"))
    assert exact <= distance < random


def test_losses_are_of_validation_problems_by_id_and_costs_are_means(store: Path) -> None:
    found, costs = judge_trial(trial(store, **GUIDED_BY["exact"], num_problems=5))
    assert np.array_equal(found, losses(store, "exact")[:5])
    assert set(found) <= {0.0, 1.0} and 0 < costs["mean_expansions"] <= 20


def test_the_budget_is_hard(store: Path) -> None:
    _, costs = judge_trial(trial(store, **GUIDED_BY["random"], expansions=3))
    assert costs["mean_expansions"] <= 3


def test_weights_are_exponents_on_the_log_scale(store: Path) -> None:
    weights = {"weights.prm": 3.0, "weights.distance": 1.0}
    both = trial(store, scale="logs", **weights, **{"search.scoring.aggregation": "sum"})
    made = both.guides()["trial"]
    assert isinstance(made, CompositeGuide) and made.log_scale
    assert {name: (part.weight, part.transform) for name, part in made.parts.items()} == {
        "prm": (3.0, "log"),
        "distance": (1.0, "none"),
    }
    assert set(trial_inputs(both)) == {"train/prm"}


def test_one_guide_is_that_guide_unless_its_logs_are_asked_for(store: Path) -> None:
    assert set(trial(store).guides()) == {"prm"}
    plain = losses(store, "exact")
    logs = losses(store, "exact", scale="logs")
    assert np.array_equal(plain, logs), "the order of children is the same"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights.prm": 0.0}, "weights: expected one above 0"),
        ({"weights.pmr": 1.0}, "no such setting; did you mean 'weights.prm'"),
        ({"answer": "vote"}, "solutions of 'walk' state no answer, got vote"),
        ({"scale": "logs", "search.scoring.aggregation": "product"}, "expected sum with scale=logs"),
        ({"search.kind": "beam", "search.num_samples": 3}, "search.num_samples: there is no such setting"),
    ],
)
def test_settings_that_cannot_be_are_refused(store: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trial(store, **changes)


def test_logs_weigh_no_votes(store: Path) -> None:
    with pytest.raises(ValueError, match="logs weigh no votes"):
        trial(store, "math", answer="vote", scale="logs")


def test_the_space_of_math_is_possible(project_root: Path) -> None:
    settings = {"space": f"{project_root}/tune_spaces/math_search.yaml", "of": "searches"}
    plan = make_plan(override(tune_settings(find_wing("math")), settings, {}))
    assert plan.num_trials == 16
    assert {one["search"]["kind"] for one in plan.trials} == {"best_first", "beam", "dvts"}
