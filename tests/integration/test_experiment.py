"""A whole experiment on a small configuration: every stage, the report, tracking; again at once; and bad settings."""

import os
import subprocess
import sys
import time

import pytest
import yaml

from stepward.core.artifacts import Artifact
from stepward.core.config import parse_config
from stepward.core.wing import find_wing
from stepward.runtime.experiment import run_experiment, stages
from stepward.runtime.experiment_settings import artifact_name, experiment_job

SPACE = {
    "subset.num_rows": 300,
    "optimisation.num_epochs": 2,
    "learner.hidden_width": 8,
    "optimisation.learning_rate": {"loguniform": [1e-3, 1e-2]},
}
SMALL = {
    "label": {
        "problems": {"num_train": 60, "num_validation": 20, "num_test": 40},
        "mining": {"per_problem": 10},
        "labels": {"num_rollouts_train": 8},
    },
    "prm": {"optimisation": {"num_epochs": 2}, "learner": {"hidden_width": 16, "depth": 1}},
    "tune": {"search": {"num_samples": 2}, "scheduler": {"kind": "none"}},
    "evaluate": {
        "budgets": [10, 20],
        "num_resamples": 200,
        "searches": {"best_first": {"search": {"kind": "best_first"}, "budget": 40}},
        "values": {"max_states": 80, "max_parents": 30},
        "dividend": {"num_parents": 30, "num_candidates": [2]},
    },
}
STAGES = {
    ("label", "small"),
    ("train", "small-prm"),
    ("train", "small-hmm"),
    ("tune", "small"),
    ("evaluate", "small"),
    ("report", "small"),
}


def settings_file(folder, **changes):
    (folder / "space.yaml").write_text(yaml.safe_dump(SPACE))
    given = {
        **SMALL,
        "name": "small",
        "store": f"{folder}/artifacts",
        "tracking": {"uri": f"sqlite:///{folder}/mlflow.db"},
    }
    given["tune"] = {**SMALL["tune"], "space": f"{folder}/space.yaml"}
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump({**given, **changes}))
    return str(path)


def job(*arguments):
    return parse_config(experiment_job(find_wing("walk")), list(arguments))


@pytest.mark.ray
def test_a_whole_experiment_runs_is_tracked_and_is_over_at_once_the_second_time(ray_cluster, tmp_path):
    settings = job(settings_file(tmp_path))
    made = run_experiment(settings)
    store = f"{tmp_path}/artifacts"
    for stage, name in STAGES:
        assert Artifact(store, "walk", stage, name).open().seed == 0
    guides = Artifact(store, "walk", "evaluate", "small").manifest().identity["guides"]
    assert guides["prm"]["artifact"] == "small-prm" and guides["hmm"]["artifact"] == "small-hmm"
    assert made.report.num_missing == 0

    text = str(made)
    rates = made.evaluated.metrics
    for guide in ("prm", "hmm", "exact", "distance", "random"):
        [line] = [line for line in text.splitlines() if line.startswith(f"  {guide} ") and " solved at " in line]
        assert f"{rates[f'{guide}/solve_rate_at_20']:.3f}" in line
    assert "trivial rival" in text.splitlines()[0]  # the first thing that is said
    assert f"{store}/walk/report/small/report.html" in text
    assert f"mlflow ui --backend-store-uri sqlite:///{tmp_path}/mlflow.db" in text

    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("walk").experiment_id])
    assert {f"{stage}/{name}" for stage, name in STAGES} <= {run.info.run_name for run in runs}
    assert "small" in {run.info.run_name for run in runs}  # the parent, named after the experiment
    assert {run.info.status for run in runs} == {"FINISHED"}

    before = {a.url: a.manifest().created for a in (Artifact(store, "walk", *key) for key in STAGES)}
    started = time.monotonic()
    again = run_experiment(settings)
    assert again.evaluated.was_finished and again.report.was_finished
    assert time.monotonic() - started < made.seconds / 3
    assert {a.url: a.manifest().created for a in (Artifact(store, "walk", *key) for key in STAGES)} == before


def test_the_default_experiment_makes_what_the_jobs_make_without_arguments():
    settings = job()
    made = {(stage.artifact.stage, stage.artifact.name) for stage in stages(settings)}
    assert made == {
        ("label", "default"), ("train", "prm"), ("train", "hmm"), ("tune", "default"), ("evaluate", "default"),
        ("report", "default"),
    }  # fmt: skip
    assert [stage.title for stage in stages(settings)] == [
        "Label",
        "Train prm",
        "Train hmm",
        "Tune",
        "Evaluate",
        "Report",
    ]
    assert {stage.settings.tracking.experiment for stage in stages(settings)} == {"default"}


def test_stages_share_what_the_experiment_says_and_keep_what_is_their_own():
    settings = job("name=mine", "seed=3", "store=elsewhere", "evaluate.seed=5", "label.name=old", "prm.learner.depth=1")
    found = {stage.title: stage.settings for stage in stages(settings)}
    assert {block.store for block in found.values()} == {"elsewhere"}
    assert {title: block.seed for title, block in found.items() if block.seed != 3} == {"Evaluate": 5}
    assert found["Label"].name == "old" and found["Train prm"].label == "old" and found["Evaluate"].labels == "old"
    assert found["Tune"].label == "old" and found["Report"].label == "old" and found["Report"].evaluate == "mine"
    assert found["Train prm"].name == "mine-prm" and found["Evaluate"].guides["prm"].artifact == "mine-prm"
    assert found["Train hmm"].learner.kind == "hmm" and found["Train prm"].learner.depth == 1
    assert artifact_name(settings, "tune") == "mine"


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("label.store=other", r"label\.store: expected store once, for the whole experiment"),
        ("evaluate.tracking.enabled=false", r"evaluate\.tracking: expected tracking once"),
        ("evaluate.budgts=[10]", r"evaluate\.budgts: there is no such setting; did you mean 'evaluate\.budgets'"),
        ("seed=-1", r"seed: .*greater than or equal to 0"),
    ],
)
def test_settings_that_cannot_be_are_explained(argument, message):
    with pytest.raises(ValueError, match=message):
        job(argument)


def test_the_job_lists_every_setting_and_refuses_unknown_ones(tmp_path, project_root):
    command = [sys.executable, str(project_root / "jobs/experiment.py")]
    ran = {
        "capture_output": True,
        "text": True,
        "cwd": tmp_path,
        "timeout": 300,
        "env": os.environ | {"MPLBACKEND": "Agg"},
    }
    shown = subprocess.run([*command, "--help-all"], **ran)
    assert shown.returncode == 0
    for name in (
        "--label.labels.num_rollouts_train",
        "--prm.learner.depth",
        "--tune.space",
        "--report.headline_budget",
    ):
        assert name in shown.stdout
    refused = subprocess.run([*command, "labl.seed=1"], **ran)
    assert refused.returncode == 2 and "labl" in refused.stderr and list(tmp_path.iterdir()) == []
