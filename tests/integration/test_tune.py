"""The tune stage on Ray: a whole sweep, failed trials, suggested trials, and a driver that is killed in the middle."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml
from scipy.special import expit

from stepward.core.artifacts import Artifact, ArtifactError
from stepward.core.config import parse_config
from stepward.core.wing import find_wing
from stepward.runtime.training import train_job
from stepward.runtime.tuning import TuneJob, TuneResult, TuningError, run_tune, tune_job
from stepward.train import TrainSettings, problem_losses, read_labels, state_arrays, training
from stepward.tune import make_plan
from walk_artifacts import make_labels

pytestmark = pytest.mark.ray

PLUGIN = Path(__file__).parent / "slow_learner"
SPACE = {
    "optimisation.num_epochs": 4,
    "optimisation.batch_size": 64,
    "learner.depth": 1,
    "subset.num_rows": 300,
    "learner.hidden_width": {"integers": [4, 16]},
    "subset.num_rollouts": {"grid": [4, 64]},
    # the second is accepted as a setting, and raises when the labels turn out to have no such column
    "objective": {"grid": [{"kind": "soft_bce"}, {"kind": "pairwise", "group_by": "nowhere"}]},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    make_labels(folder)
    return folder


def settings(store: Path, space: dict[str, Any], *options: str) -> TuneJob:
    file = store / f"{abs(hash(str(space)))}.yaml"
    file.write_text(yaml.safe_dump(space))
    tracking = f"tracking.uri=sqlite:///{store}/mlflow.db"
    return parse_config(tune_job(find_wing("walk")), [f"store={store}", f"space={file}", tracking, *options])


def rows_of(job: TuneJob) -> list[dict[str, Any]]:
    return job.artifact("tune").folder.read_table("trials.parquet").to_pylist()


def trained_here(job: TuneJob) -> list[tuple[TrainSettings, Any, np.ndarray]]:
    """Every trial of a sweep in this process, without Ray: its settings, last checkpoint, losses of its best epoch."""
    plan, made = make_plan(job), []
    folder = job.artifact("label", job.label).folder
    labels, validation = (read_labels(folder, job.wing, split) for split in ("train", "validation"))
    for values in plan.trials or []:
        wanted = plan.space.settings(job.train_class, job.base(), values | {"learner.seconds": 0})
        *_, last = training(wanted.learning.task(wanted, wanted.subset.of(labels, job.seed), validation, "cpu"))
        reward = wanted.learner.reward(state_arrays(last.best))
        losses = problem_losses(validation, expit(reward.logits(validation.states).astype(np.float64)))
        made.append((wanted, last, losses))
    return made


@pytest.fixture(scope="module")
def sweep(ray_cluster: str, store: Path) -> tuple[TuneJob, TuneResult]:
    job = settings(store, SPACE, "search.num_samples=1", "scheduler.kind=none")
    return job, run_tune(job)


def test_a_sweep_and_its_failed_trials(sweep: tuple[TuneJob, TuneResult]) -> None:
    """Trials that raise are rows with their error; the others are what they are without Ray, and the best one wins."""
    job, made = sweep
    rows = rows_of(job)
    failed = [row for row in rows if row["status"] == "failed"]
    assert len(rows) == 4 and len(failed) == 2
    assert all("expected a column 'nowhere'" in row["error"] and row["validation_loss"] is None for row in failed)
    done = [row for row in rows if row["status"] == "finished"]
    space, folder = make_plan(job).space, job.artifact("label").folder
    labels, validation = (read_labels(folder, job.wing, split) for split in ("train", "validation"))
    for row in done:
        values = {name: row[f"config/{name}"] for name in ("learner.hidden_width", "subset.num_rollouts")}
        wanted = space.settings(job.train_class, job.base(), values)
        *_, last = training(wanted.learning.task(wanted, wanted.subset.of(labels, job.seed), validation, "cpu"))
        assert row["validation_loss"] == pytest.approx(last.progress.best_loss, rel=1e-6)
        assert row["epochs"] == 4 and row["num_rollouts"] == values["subset.num_rollouts"] and row["num_rows"] == 300
    best = min(done, key=lambda row: row["validation_loss"])
    assert made.manifest.facts["winner"] == best["id"]
    assert f"trial {best['id']} wins" in str(made) and "2 failed" in str(made) and "best.yaml" in str(made)
    assert {row["behind"] == 0 for row in done if row["id"] == best["id"]} == {True}
    assert {path.split("/")[0] for path in job.artifact("tune").folder.files()} == {
        "trials.parquet", "history.parquet", "best.yaml", "metrics.json", "manifest.json", "tracked.json",
    }  # fmt: skip


def test_the_winner_is_accepted_by_the_train_job(sweep: tuple[TuneJob, TuneResult]) -> None:
    job, made = sweep
    wanted = parse_config(train_job(find_wing("walk")), [made.best])
    winner = next(row for row in rows_of(job) if row["id"] == made.manifest.facts["winner"])
    assert wanted.learner.hidden_width == winner["config/learner.hidden_width"]
    assert wanted.subset.num_rollouts == winner["config/subset.num_rollouts"]
    assert (wanted.subset.num_rows, wanted.optimisation.num_epochs) == (None, 4)  # all rows
    assert wanted.artifact("label", wanted.label).finished


def test_trials_are_closed_child_runs_with_their_histories(sweep: tuple[TuneJob, TuneResult]) -> None:
    import mlflow

    job, _ = sweep
    client = mlflow.MlflowClient(tracking_uri=job.tracking.uri)
    experiment = client.get_experiment_by_name("walk").experiment_id
    runs = {run.info.run_name: run for run in client.search_runs([experiment])}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    trial = runs["trial/0000"]
    assert trial.data.tags["mlflow.parentRunId"] == runs["tune/default"].info.run_id
    points = client.get_metric_history(trial.info.run_id, "train_loss")
    assert sorted(point.step for point in points if point.step) == [1, 2, 3, 4]
    assert {trial.data.tags["stepward.status"] for name, trial in runs.items() if name.startswith("trial/")} == {
        "finished", "failed",
    }  # fmt: skip


def test_a_finished_sweep_returns_at_once_and_another_space_is_refused(sweep: tuple[TuneJob, TuneResult]) -> None:
    job, made = sweep
    again = run_tune(job)
    assert again.was_finished and again.manifest == made.manifest
    other = settings(Path(job.store), {**SPACE, "learner.depth": 2}, "search.num_samples=1", "scheduler.kind=none")
    with pytest.raises(ArtifactError, match="space"):
        run_tune(other)


def test_all_trials_failed(ray_cluster: str, store: Path) -> None:
    space = {**SPACE, "objective": {"grid": [SPACE["objective"]["grid"][1]]}}  # type: ignore[index]
    job = settings(store, space, "name=broken", "search.num_samples=1", "scheduler.kind=none")
    with pytest.raises(TuningError, match=r"all 2 trials failed(?s:.*)nowhere"):
        run_tune(job)
    assert not job.artifact("tune").folder.exists(), "nothing to go on with: the name is free for another space"


def test_optuna_suggests_and_asha_stops(ray_cluster: str, store: Path) -> None:
    """A learning rate far too small is behind after the first epoch, so that its trials do not reach the last."""
    space = {
        "optimisation.num_epochs": 9,
        "optimisation.batch_size": 64,
        "learner.hidden_width": 16,
        "learner.depth": {"integers": [1, 2]},
        "learner.activation": {"choice": ["relu", "silu"]},
        "optimisation.learning_rate": {"loguniform": [1e-7, 1e-2]},
    }
    search = ("search.kind=optuna", "search.num_samples=8", "scheduler.grace_epochs=1", "pool.max_concurrent=1")
    job = settings(store, space, "name=suggested", "tracking.enabled=false", *search)
    made = run_tune(job)
    rows = rows_of(job)
    assert len(rows) == 8 and made.manifest.facts["stopped"] >= 1
    assert all((row["epochs"] < 9) == (row["status"] == "stopped") for row in rows)
    assert {row["config/learner.activation"] for row in rows} <= {"relu", "silu"}
    assert all(1e-7 <= row["config/optimisation.learning_rate"] <= 1e-2 for row in rows)
    best = next(row for row in rows if row["id"] == made.manifest.facts["winner"])
    assert best["validation_loss"] == min(row["validation_loss"] for row in rows)


def test_searches_are_swept_without_training(ray_cluster: str, store: Path) -> None:
    """Against exact values all six actions solve more than a random one of them."""
    space = {"weights.prm": 0.0, "weights.exact": 1.0, "expansions": 20, "search.num_candidates": {"grid": [1, 6]}}
    job = settings(store, space, "of=searches", "name=searches", "scheduler.kind=none")
    made = run_tune(job)
    losses = {row["config/search.num_candidates"]: row["validation_loss"] for row in rows_of(job)}
    assert losses[6] < losses[1] and made.manifest.facts["unit"] == "share of problems not solved"
    assert all(row["mean_expansions"] <= 20 and row["num_rows"] == 10 for row in rows_of(job))
    assert yaml.safe_load(Path(made.best).read_text())["search"]["num_candidates"] == 6


def test_optuna_that_is_not_there(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    space = {"learner.depth": {"integers": [1, 2]}, "optimisation.num_epochs": 4}
    with pytest.raises(ValueError, match=r"pip install 'stepward\[optuna\]'"):
        run_tune(settings(store, space, "name=absent", "search.kind=optuna"))


def command(root: Path, *words: str) -> list[str]:
    return [sys.executable, str(root / "jobs" / "tune.py"), "tracking.enabled=false", "cluster.num_cpus=2", *words]


def environment() -> dict[str, str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    return inherited | {"PYTHONPATH": str(PLUGIN), "OMP_NUM_THREADS": "1"}


def test_a_misspelt_field_is_found_before_ray_starts(project_root: Path, tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text("optimisation.learningrate: {loguniform: [1e-3, 1e-2]}\n")
    # an address at which nothing listens: connecting to Ray would take long and fail otherwise
    words = (f"store={tmp_path}", "space=space.yaml", "cluster.address=127.0.0.1:1")
    done = subprocess.run(
        command(project_root, *words), cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert "did you mean 'optimisation.learning_rate'?" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "walk").exists()


@pytest.mark.slow
def test_a_trial_whose_worker_is_killed_is_tried_again_and_one_that_raises_is_not(
    project_root: Path, tmp_path: Path
) -> None:
    make_labels(tmp_path)
    log = tmp_path / "begun.log"
    learner = {"kind": "slow", "log": str(log), "dies": str(tmp_path / "died"), "depth": 1}
    space = {"optimisation.num_epochs": 2, "subset.num_rows": 100, "learner.hidden_width": {"grid": [4, 5]},
             "objective": {"grid": [{"kind": "soft_bce"}, {"kind": "pairwise", "group_by": "nowhere"}]},
             **{f"learner.{name}": value for name, value in learner.items()}}  # fmt: skip
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(space))
    words = (f"store={tmp_path}", "space=space.yaml", "search.num_samples=1", "scheduler.kind=none",
             "pool.max_concurrent=1", "cluster.object_store_mb=80", "tracking.enabled=false")  # fmt: skip
    done = subprocess.run(
        command(project_root, *words), cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert "The workers of 1 trials died" in done.stderr
    rows = Artifact(str(tmp_path), "walk", "tune", "default").folder.read_table("trials.parquet").to_pylist()
    assert sorted(row["status"] for row in rows) == ["failed", "failed", "finished", "finished"]
    failed = [row for row in rows if row["status"] == "failed"]
    assert all("nowhere" in row["error"] for row in failed)
    assert len(log.read_text().split()) <= 2 * (4 + 1), (
        "two modules a trial, and one trial more: of the worker that died"
    )


@pytest.mark.slow
def test_a_killed_driver_goes_on(project_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """kill -9 in the third of four trials, then the same command: the first two are not run again, the third goes on.

    All trials end as they do in this process with nobody disturbing them.
    """
    monkeypatch.syspath_prepend(str(PLUGIN))
    make_labels(tmp_path)
    log, widths = tmp_path / "begun.log", [4, 5, 6, 7]
    space = {"optimisation.num_epochs": 6, "learner.kind": "slow", "learner.seconds": 0.15, "learner.log": str(log),
             "learner.depth": 1, "learner.hidden_width": {"grid": widths}}  # fmt: skip
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(space))
    words = (f"store={tmp_path}", "space=space.yaml", "search.num_samples=1", "scheduler.kind=none",
             "pool.max_concurrent=1", "cluster.object_store_mb=80")  # fmt: skip
    with (tmp_path / "driver.log").open("w") as out:
        driver = psutil.Popen(command(project_root, *words), cwd=tmp_path, env=environment(), stdout=out, stderr=out)
    deadline = time.monotonic() + 180
    while "6" not in (log.read_text().split() if log.exists() else []):
        assert driver.poll() is None and time.monotonic() < deadline, (tmp_path / "driver.log").read_text()
        time.sleep(0.05)
    time.sleep(2)  # the state of a sweep is at most a second old, and an epoch of the third trial is over
    family = driver.children(recursive=True)
    driver.send_signal(signal.SIGKILL)
    driver.wait(timeout=30)
    psutil.wait_procs(family, timeout=30)
    artifact, before = Artifact(str(tmp_path), "walk", "tune", "default"), Counter(log.read_text().split())
    assert not artifact.finished and "7" not in before
    done = subprocess.run(
        command(project_root, *words), cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert "Going on with the sweep" in done.stderr
    after = Counter(log.read_text().split())
    assert [after[str(w)] == before[str(w)] for w in widths] == [True, True, False, False]
    job = parse_config(tune_job(find_wing("walk")), [f"store={tmp_path}", f"space={tmp_path}/space.yaml", *words[2:]])
    rows = rows_of(job)
    assert [row["config/learner.hidden_width"] for row in rows] == widths
    history = artifact.folder.read_table("history.parquet").to_pylist()
    for row, (_, last, losses) in zip(rows, trained_here(job), strict=True):
        assert row["status"] == "finished"
        mine = [{k: v for k, v in step.items() if k != "trial"} for step in history if step["trial"] == row["id"]]
        assert mine == [{"step": e.pop("epoch"), **e} for e in (dict(e) for e in last.progress.history)]
        assert row["validation_loss"] == pytest.approx(float(losses.mean()), rel=1e-5)
