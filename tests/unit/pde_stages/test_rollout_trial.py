"""Trials of a sweep over how rollouts are guided, and the spaces that ship."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest

from pde_artifacts import do_all, rollout_settings_of
from stepward.core.config import override
from stepward.core.wing import find_wing
from stepward.evaluate.rollouts.trial import RolloutTrial, roll_out_trial, rollout_trial_settings, trial_inputs
from stepward.tune import make_plan, tune_settings


def trial(store: Path, **changes: Any) -> RolloutTrial:
    return override(rollout_trial_settings(find_wing("pde")), {"store": str(store), "num_candidates": 4}, changes)


def test_a_trial_of_one_guide_is_the_arm_of_that_guide(store: Path) -> None:
    settings = rollout_settings_of(
        store, name="validated", split="validation", arms={"prm": {"guide": "prm"}}, references=["prm"], ranked=[],
        num_pictures=0,
    )  # fmt: skip
    arm = do_all(settings).rollouts()
    errors, cost = roll_out_trial(trial(store))
    assert np.allclose(errors, np.mean(arm["nrmse"].to_pylist(), axis=1), rtol=1e-4)
    assert cost["mean_flops"] == pytest.approx(pc.mean(arm["flops"]).as_py())


def test_rules_differ_where_they_should_and_agree_where_they_must(store: Path) -> None:
    argmax, _ = roll_out_trial(trial(store))
    beam, _ = roll_out_trial(trial(store, rule="beam"))
    assert np.allclose(beam, argmax, rtol=1e-5), "a beam of one is the argmax"
    sharp, _ = roll_out_trial(trial(store, rule="mean", temperature=1e-3))
    soft, _ = roll_out_trial(trial(store, rule="mean", temperature=5.0))
    assert not np.allclose(sharp, soft, rtol=1e-3)
    none, free = roll_out_trial(trial(store, **{"weights.prm": 0.0}))
    assert free["mean_scored"] == 0 and not np.allclose(none, argmax, rtol=1e-3)
    _, ahead = roll_out_trial(trial(store, lookahead=1))
    assert ahead["mean_nfe"] > free["mean_nfe"]


def test_rollouts_that_blow_up_fail_the_trial(store: Path) -> None:
    with pytest.raises(ValueError, match="2 of 2 rollouts blew up"):
        roll_out_trial(trial(store, blow_up=1e-9))


def test_inputs_are_the_surrogate_and_the_guides_with_a_weight(store: Path) -> None:
    assert set(trial_inputs(trial(store))) == {"pretrain/default", "train/prm"}
    assert set(trial_inputs(trial(store, **{"weights.prm": 0.0, "weights.arm": 1.0}))) == {"pretrain/default"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 2}, "width: expected 1 without rule=beam"),
        ({"rule": "beam", "width": 3}, "expected a divisor of num_candidates = 4, got 3"),
        ({"weights.pmr": 1.0}, "no such setting; did you mean 'weights.prm'"),
    ],
)
def test_settings_that_cannot_be_are_refused(store: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trial(store, **changes)


SPACES = [("pde_prm", "train", 12), ("pde_weights", "rollouts", 16), ("pde_search", "rollouts", 16),
          ("pde_beam", "rollouts", 6)]  # fmt: skip


@pytest.mark.parametrize(("space", "of", "num"), SPACES)
def test_spaces_that_ship_are_possible(project_root: Path, space: str, of: str, num: int) -> None:
    settings = override(
        tune_settings(find_wing("pde")), {"space": f"{project_root}/tune_spaces/{space}.yaml", "of": of}, {}
    )
    assert make_plan(settings).num_trials == num


def test_rollouts_are_not_swept_where_problems_are_solved(project_root: Path) -> None:
    settings = override(tune_settings(find_wing("walk")), {"of": "rollouts"}, {})
    with pytest.raises(ValueError, match="expected a domain whose outcomes are errors, not 'walk'"):
        make_plan(settings)
