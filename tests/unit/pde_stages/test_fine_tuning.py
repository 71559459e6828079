"""A surrogate that goes on from another, and whole experiments without Ray."""

from pathlib import Path

import numpy as np
import pytest
import yaml

import stepward as sw
import stepward.domains.pde
from pde_artifacts import PROBLEMS
from stepward.core.config import override
from stepward.core.wing import find_wing
from stepward.domains.pde.surrogates import load_surrogate
from stepward.runtime.experiment_settings import experiment_job

NEW = PROBLEMS | {"families": ["kelvin"]}
NET = {"kind": "unet", "width": 8}


def test_a_surrogate_goes_on_from_another_with_its_scales_and_gets_better_on_the_new_flows(tmp_path):
    old = {"store": str(tmp_path), "problems": PROBLEMS | {"families": ["riemann"]}, "surrogate": NET}
    sw.pretrain("pde", name="old", fit={"epochs": 4, "batch_size": 8, "learning_rate": 4e-3}, **old)
    new = {"store": str(tmp_path), "problems": NEW, "surrogate": NET, "base": "artifacts/pde/pretrain/old"}
    begun = sw.pretrain("pde", name="begun", fit={"epochs": 1, "learning_rate": 1e-9}, **new)
    tuned = sw.pretrain("pde", name="tuned", fit={"epochs": 8, "batch_size": 8, "learning_rate": 2e-3}, **new)
    before, after = (made.folder.read_json("metrics.json")["one_step_nrmse"] for made in (begun, tuned))
    assert after < 0.9 * before and "pretrain/old" in tuned.manifest().inputs
    scales = [load_surrogate(made.url).step_scale.numpy() for made in (begun, tuned)]
    first = load_surrogate(f"{tmp_path}/pde/pretrain/old")
    assert np.array_equal(*scales) and np.array_equal(scales[0], first.step_scale.numpy())
    with pytest.raises(ValueError, match="another architecture"):
        sw.pretrain("pde", name="other", **new | {"surrogate": {"kind": "unet", "width": 4}})


def test_an_experiment_runs_here_with_trainings_that_were_added_and_others_left_out(tmp_path):
    settings = {
        "domain": "pde", "name": "mine", "store": str(tmp_path), "leave_out": ["corrector", "critic", "tune"],
        "pretrain": {"surrogate": NET, "fit": {"epochs": 1}},
        "more_pretrained": {
            "again": {"surrogate": NET, "fit": {"epochs": 1}, "base": "artifacts/pde/pretrain/default"}
        },
        "label": {"problems": NEW, "labels": {"num_candidates": 4, "num_kept": 3}, "mining": {"share": 0.5}},
        "prm": {"learner": {"width": 4, "depth": 1}, "optimisation": {"num_epochs": 1}, "min_headroom": -1},
        "evaluate": {
            "num_candidates": 3, "num_resamples": 200, "guides": {"prm": {"kind": "trained", "artifact": "prm"}},
            "arms": {
                "old": {"proposer": {"kind": "deterministic"}}, "prm": {"guide": "prm"},
                "again": {"proposer": {"kind": "deterministic", "surrogate": "artifacts/pde/pretrain/again"}},
            },
            "references": ["old"], "oracle": None, "rankings": None, "pictures": None,
        },
    }  # fmt: skip
    path = tmp_path / "mine.yaml"

    path.write_text(yaml.safe_dump(settings))
    evaluation = sw.experiment(str(path))
    assert set(evaluation.table("trials")["arm"]) >= {"old", "prm", "again"}
    inputs = evaluation.artifact.manifest().inputs
    assert {"pretrain/mine", "pretrain/mine-again", "train/mine-prm"} <= set(inputs)
    job = experiment_job(find_wing("pde"))
    with pytest.raises(ValueError, match=r"leave_out: expected blocks among .*got 'label'"):
        override(job, {"leave_out": ["label"]}, {})
    with pytest.raises(ValueError, match="'prm' is a block already"):
        override(job, {"more_trained": {"prm": {}}}, {})


SMALL = {
    "pretrain.surrogate.width": 8, "pretrain.fit.epochs": 8, "pretrain.fit.learning_rate": 4e-3,
    "more_pretrained.one_frame.surrogate.width": 8, "more_pretrained.one_frame.fit.epochs": 8,
    "more_pretrained.two_frames.surrogate.width": 8, "more_pretrained.two_frames.fit.epochs": 2,
    "label.problems.num_train": 16, "label.problems.num_validation": 4, "label.problems.num_test": 8,
    "label.problems.cells": 16, "prm.optimisation.num_epochs": 2, "prm.min_headroom": -1, "evaluate.num_resamples": 200,
}  # fmt: skip


@pytest.mark.slow  # twenty seconds: three surrogates, labels, a reward model and thirteen arms
def test_the_preset_of_a_hidden_constant_shows_on_a_small_scale_what_choosing_is_worth(tmp_path):
    preset = Path(stepward.domains.pde.__file__).parent / "presets" / "hidden.yaml"
    settings = [f"{name}={value}" for name, value in SMALL.items()]
    found = sw.experiment(str(preset), "domain=pde", f"store={tmp_path}", *settings).table("ablation").set_index("arm")
    errors = found["fixed_nrmse"]
    assert {"one_frame", "two_frames", "constant", "read_off_state", "prm", "prm_keeps"} <= set(errors.index)
    assert errors["oracle"] < errors["look_back"] < errors["random"] and errors["told"] < errors["one_frame"]
