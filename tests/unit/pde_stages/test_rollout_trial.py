"""Trials of a sweep over how rollouts are guided, and the spaces that ship."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest

from pde_artifacts import do_all, rollout_settings_of
from stepward.core.config import override
from stepward.core.wing import find_wing
from stepward.evaluate.trial import ArmTrial, arm_trial_settings, judge_trial, trial_inputs
from stepward.tune import make_plan, tune_settings

CHOICE = {"kind": "beam", "width": 1, "num_candidates": 4, "deduplicate": False}
MEAN = {"kind": "weighted_mean", "num_candidates": 4}


def trial(store: Path, **changes: Any) -> ArmTrial:
    return override(arm_trial_settings(find_wing("pde")), {"store": str(store), "search": CHOICE}, changes)


def test_a_trial_of_one_guide_is_the_arm_of_that_guide(store: Path) -> None:
    settings = rollout_settings_of(
        store, name="validated", split="validation", arms={"prm": {"guide": "prm"}}, references=["prm"], rankings=None,
        pictures=None, rivals=[],
    )  # fmt: skip
    arm = do_all(settings).tables()["trials"]
    errors, cost = judge_trial(trial(store))
    assert np.allclose(errors, np.mean(arm["nrmse"].to_pylist(), axis=1), rtol=1e-4)
    assert cost["mean_flops"] == pytest.approx(pc.mean(arm["flops"]).as_py())


def test_rules_differ_where_they_should_and_agree_where_they_must(store: Path) -> None:
    argmax, _ = judge_trial(trial(store))
    sharp, _ = judge_trial(trial(store, search=MEAN | {"temperature": 1e-3}))
    soft, _ = judge_trial(trial(store, search=MEAN | {"temperature": 5.0}))
    assert np.allclose(sharp, argmax, rtol=1e-3), "a mean of weight 1 for the best is the best"
    assert not np.allclose(sharp, soft, rtol=1e-3)
    none, free = judge_trial(trial(store, **{"weights.prm": 0.0}))
    assert free["mean_scored"] == 0 and not np.allclose(none, argmax, rtol=1e-3)
    _, ahead = judge_trial(trial(store, lookahead=1))
    assert ahead["mean_nfe"] > free["mean_nfe"]


def test_rollouts_that_blow_up_fail_the_trial(store: Path) -> None:
    with pytest.raises(ValueError, match="2 of 2 trials blew up"):
        judge_trial(trial(store, blow_up=1e-9))


def test_inputs_are_the_surrogate_and_the_guides_with_a_weight(store: Path) -> None:
    assert set(trial_inputs(trial(store))) == {"pretrain/default", "train/prm"}
    assert set(trial_inputs(trial(store, **{"weights.prm": 0.0, "weights.arm": 1.0}))) == {"pretrain/default"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"measure": "mse"}, "Unknown measure 'mse'"),
        ({"answer": "vote"}, "solutions of 'pde' state no answer, got vote"),
        ({"weights.pmr": 1.0}, "no such setting; did you mean 'weights.prm'"),
    ],
)
def test_settings_that_cannot_be_are_refused(store: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trial(store, **changes)


SPACES = [("pde_prm", "train", 12), ("pde_weights", "searches", 16), ("pde_search", "searches", 16),
          ("pde_beam", "searches", 6)]  # fmt: skip


@pytest.mark.parametrize(("space", "of", "num"), SPACES)
def test_spaces_that_ship_are_possible(project_root: Path, space: str, of: str, num: int) -> None:
    settings = override(
        tune_settings(find_wing("pde")), {"space": f"{project_root}/tune_spaces/{space}.yaml", "of": of}, {}
    )
    assert make_plan(settings).num_trials == num
