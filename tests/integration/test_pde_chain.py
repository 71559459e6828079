"""Surrogate rollouts through the jobs: pretrain, label, train, tune, evaluate and report, on Ray and tracked."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from pde_artifacts import make_pretrained, make_rankings, make_reward, rollout_settings_of
from stepward.core.artifacts import Artifact
from stepward.core.config import override, parse_config
from stepward.core.storage import Folder
from stepward.core.wing import find_wing
from stepward.domains.pde.rewards import load_reward
from stepward.evaluate.work import EvaluateWork
from stepward.runtime.evaluation import evaluate_job, run_evaluate
from stepward.runtime.experiment import run_experiment
from stepward.runtime.experiment_settings import experiment_job
from stepward.runtime.labelling import label_job, run_label

pytestmark = pytest.mark.ray

PROBLEMS = {"num_train": 4, "num_validation": 2, "num_test": 4, "cells": 16, "num_steps": 6, "horizon": 4}
TINY = {
    "name": "tiny",
    "pretrain": {"surrogate": {"width": 8}, "fit": {"epochs": 2, "batch_size": 8}},
    "corrector": {"surrogate": {"kind": "corrected", "width": 8, "depth": 2}, "fit": {"epochs": 1}},
    "label": {"problems": PROBLEMS, "mining": {"share": 0.5}, "labels": {"num_candidates": 8, "num_kept": 5}},
    "prm": {"learner": {"width": 4, "depth": 1}, "optimisation": {"num_epochs": 2}, "min_headroom": -1},
    "critic": {
        "learner": {"kind": "feature_critic", "hidden": 4},
        "optimisation": {"num_epochs": 1},
        "min_headroom": -1,
    },
    "tune": {"scheduler": {"kind": "none"}},
    "evaluate": {
        "num_candidates": 3,
        "num_resamples": 200,
        "arms": {
            "deterministic": {"proposer": {"kind": "deterministic"}},
            "corrected": {"proposer": {"kind": "deterministic", "surrogate": "artifacts/pde/pretrain/corrected"}},
            "prm": {"guide": "prm"},
            "prm_mean": {"guide": "prm", "search": {"kind": "weighted_mean", "num_candidates": 3}},
            "critic": {"guide": "critic"},
            "oracle": {"guide": "oracle"},
        },
    },
}
SPACE = {"objective.margin": {"grid": [0.1, 0.5]}, "objective.kind": "two_hinge", "optimisation.num_epochs": 1}


@pytest.mark.slow  # many processes of Ray, a quarter of a minute on quiet cores
def test_rankings_and_rollouts_on_a_pool_are_those_of_one_process(ray_cluster: str, tmp_path: Path) -> None:
    alone, pooled = tmp_path / "alone", tmp_path / "pooled"
    make_pretrained(alone)
    make_rankings(alone)
    make_reward(alone)
    pooled.mkdir()
    for stage in ("pretrain", "train"):
        (pooled / "pde").mkdir(exist_ok=True)
        (pooled / "pde" / stage).symlink_to(alone / "pde" / stage)
    near = Artifact(str(alone), "pde", "label", "default")
    identity = near.manifest().identity
    values = {name: identity[name] for name in ("domain", "problems", "mining", "labels")}
    wing = find_wing("pde")
    job = override(label_job(wing), values | {"store": str(pooled), "tracking": {"enabled": False}}, {})
    made = run_label(job)
    assert made.manifest.rows == near.manifest().rows and made.manifest.identity == identity
    assert np.allclose(_best(near.folder), _best(Folder(made.url)), rtol=1e-4)

    chosen = {name: {"guide": name} for name in ("prm", "oracle")} | {
        "deterministic": {"proposer": {"kind": "deterministic"}}
    }
    settings = rollout_settings_of(pooled, arms=chosen, references=["deterministic"], pictures=None)
    values = settings.model_dump(mode="json") | {"tracking": {"enabled": False}}
    done = run_evaluate(override(evaluate_job(wing), values, {}))
    table = Artifact(str(pooled), "pde", "evaluate", "default").folder.read_table("tables/trials.parquet")
    work = EvaluateWork(settings, 16)
    work.do("trials/arms/prm/0-16")
    mine = work.folder.read_table("shards/trials/arms/prm/0-16.parquet").sort_by("problem_id")
    pool = table.filter(np.array(table["arm"].to_pylist()) == "prm").sort_by("problem_id")
    assert np.allclose(np.array(mine["nrmse"].to_pylist()), np.array(pool["nrmse"].to_pylist()), rtol=1e-4)
    assert "oracle" in str(done) and "gain" in str(done)


@pytest.mark.slow
def test_the_whole_experiment_runs_is_tracked_and_is_passed_over_when_it_is_done(
    ray_cluster: str, tmp_path: Path
) -> None:
    import mlflow

    space = tmp_path / "space.yaml"
    space.write_text(yaml.safe_dump(SPACE))
    configuration = tmp_path / "experiment.yaml"
    configuration.write_text(yaml.safe_dump(TINY | {"domain": "pde"}))
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    arguments = [str(configuration), f"store={tmp_path}/store", f"tracking.uri={uri}", f"tune.space={space}"]
    made = run_experiment(parse_config(experiment_job(find_wing("pde")), arguments))
    names = {
        "pretrain": ["tiny", "tiny-corrector"], "label": ["tiny"], "train": ["tiny-critic", "tiny-prm"],
        "tune": ["tiny"], "evaluate": ["tiny"], "report": ["tiny"],
    }  # fmt: skip
    for stage, artifacts in names.items():
        for name in artifacts:
            Artifact(f"{tmp_path}/store", "pde", stage, name).open()
    inputs = Artifact(f"{tmp_path}/store", "pde", "evaluate", "tiny").manifest().inputs
    assert {"label", "pretrain/tiny", "pretrain/tiny-corrector", "train/tiny-prm", "train/tiny-critic"} <= set(inputs)
    page = Path(made.report.page).read_text()
    assert "Ablation" in page and "Fields" in page and made.report.num_missing == 0
    assert load_reward(f"{tmp_path}/store/pde/train/tiny-prm").num_parameters > 0

    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("pde").experiment_id
    runs = {run.info.run_name: run for run in client.search_runs([experiment])}
    tracked = [set(runs[arm].data.metrics) for arm in TINY["evaluate"]["arms"]]
    assert all({"nrmse", "well_vrmse", "gain", "mean_flops"} <= found for found in tracked)
    metrics = Folder(f"{tmp_path}/store/pde/evaluate/tiny").read_json("metrics.json")
    assert runs["prm"].data.metrics["nrmse"] == pytest.approx(metrics["prm/nrmse"])
    assert all(run.info.status == "FINISHED" for run in runs.values())

    again = run_experiment(parse_config(experiment_job(find_wing("pde")), arguments))
    assert again.evaluated.was_finished and again.report.was_finished


def _best(folder: Folder) -> np.ndarray:
    table = folder.read_table("labels", ["id", "errors"]).sort_by("id")
    column = table["errors"].combine_chunks()
    column = column.chunk(0) if hasattr(column, "num_chunks") else column
    return column.to_numpy_ndarray().min(axis=1)
