"""Tracking from artifacts: what runs there are, that they are closed, and that nothing is logged twice or lost."""

import logging
import re
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs

import numpy as np
import pyarrow as pa
import pytest
from tests.walk_artifacts import make_labels, make_trained

from stepward.core.artifacts import Artifact
from stepward.core.tracked_run import flatten, metric_name
from stepward.core.wing import find_wing
from stepward.rewards.factory import load_trained
from stepward.runtime.tracking import Tracking, log_artifact, track
from stepward.runtime.tracking_job import TrackSettings, run_track, stored_artifacts

IDENTITY = {"model": {"width": 128, "layers": [1, 2]}, "note": "x" * 7000}


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """One store for the module: making its tables takes some seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('tracking')}/mlflow.db"


@pytest.fixture
def client(database):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=database)


def make_artifact(root, name="default", stage="evaluate", digest="d", inputs=None):
    artifact = Artifact(str(root), "walk", stage, name)
    if artifact.begin(IDENTITY):
        return artifact
    folder = artifact.folder
    folder.write_json("metrics.json", {"prm/solve_rate@20": 0.95, "unsolved": float("inf"), "count": 3})
    folder.write_table("history.parquet", pa.table({"step": np.arange(1500), "loss": np.linspace(1, 0, 1500)}))
    folder.write_table("tables/frontier.parquet", pa.table({"arm": ["prm", "distance"], "solve_rate": [0.9, 0.8]}))
    folder.write_table("tables/outcomes.parquet", pa.table({"problem": np.arange(5000)}))
    folder.write_bytes("figures/frontier.png", b"\x89PNG not really")
    for arm, rate in (("prm", 0.9), ("distance", 0.8)):
        folder.write_json(f"runs/{arm}/params.json", {"guide": {"kind": arm}})
        folder.write_json(f"runs/{arm}/metrics.json", {"solve_rate_at_20": rate})
        steps = pa.table({"step": [10, 20], "solve_rate": [rate / 2, rate]})
        folder.write_table(f"runs/{arm}/history.parquet", steps)
    artifact.finish(identity=IDENTITY, seed=7, digest=digest, inputs=inputs, rows={"problems": 10}, cost={"seconds": 2})
    return artifact


def runs_under(client, parent):
    experiment = client.get_experiment_by_name("walk").experiment_id
    return client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'")


def test_an_artifact_becomes_a_closed_run_with_everything_in_it(tmp_path, database, client):
    label = make_artifact(tmp_path, stage="label")
    artifact = make_artifact(tmp_path, inputs={"label": label})
    run = client.get_run(log_artifact(artifact, Tracking(uri=database, experiment="whole")))
    assert run.info.status == "FINISHED"
    assert run.data.params["model.width"] == "128"
    assert run.data.params["model.layers"] == "[1, 2]"
    assert run.data.params["seed"] == "7"
    assert len(run.data.params["note"]) == 6000
    assert run.data.metrics["prm/solve_rate_at_20"] == 0.95
    assert run.data.metrics["rows/problems"] == 10
    assert "unsolved" not in run.data.metrics  # infinite: there is nothing to draw
    history = client.get_metric_history(run.info.run_id, "loss")
    assert sorted(point.step for point in history) == list(range(1500))
    assert run.data.tags["stepward.fingerprint"] == artifact.manifest().fingerprint
    assert run.data.tags["stepward.artifact"] == artifact.url
    [data] = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("label", label.manifest().fingerprint)
    assert label.url in data.dataset.source
    tables = {file.path for file in client.list_artifacts(run.info.run_id, "tables")}
    assert tables == {"tables/frontier.json", "tables/frontier.parquet", "tables/outcomes.parquet"}
    assert [file.path for file in client.list_artifacts(run.info.run_id, "figures")] == ["figures/frontier.png"]
    assert client.get_run(run.data.tags["mlflow.parentRunId"]).info.run_name == "whole"


def test_arms_are_child_runs_that_can_be_put_side_by_side(tmp_path, database, client):
    run = log_artifact(make_artifact(tmp_path), Tracking(uri=database, experiment="arms"))
    arms = {arm.info.run_name: arm for arm in runs_under(client, run)}
    assert set(arms) == {"prm", "distance"}
    assert {name: arm.data.metrics["solve_rate_at_20"] for name, arm in arms.items()} == {"prm": 0.9, "distance": 0.8}
    assert all(arm.info.status == "FINISHED" for arm in arms.values())
    curve = client.get_metric_history(arms["prm"].info.run_id, "solve_rate")
    assert [(point.step, point.value) for point in curve] == [(10, 0.45), (20, 0.9)]


def test_the_links_of_an_experiment_find_the_runs_they_compare(tmp_path, database, client):
    """The search in the link is one that MLflow understands, and finds the arms alone."""
    log_artifact(make_artifact(tmp_path), Tracking(uri=database))
    experiment = client.get_experiment_by_name("walk")
    links = re.findall(r"\[Compare (\w+)\]\((.*?)\)", experiment.tags["mlflow.note.content"])
    assert [name for name, _ in links] == ["guides", "trials"]
    found = {}
    for name, link in links:
        assert link.startswith(f"#/experiments/{experiment.experiment_id}/runs?")
        [wanted] = parse_qs(link.split("?")[1])["searchFilter"]
        found[name] = {run.info.run_name for run in client.search_runs([experiment.experiment_id], wanted)}
    assert found == {"guides": {"prm", "distance"}, "trials": set()}


def test_what_was_tracked_is_noted_so_that_a_finished_job_ends_at_once(tmp_path, database, monkeypatch, caplog):
    tracking, artifact = Tracking(uri=database, experiment="noted"), make_artifact(tmp_path)
    run = track(artifact, tracking)

    def never(*_):
        raise AssertionError("this store need not be asked again")

    monkeypatch.setattr("stepward.runtime.tracking.log_artifact", never)
    assert track(artifact, tracking) == run
    assert artifact.open().digest == "d"  # the note is beside the artifact, not in it
    elsewhere = Tracking(uri=f"sqlite:///{tmp_path}/other.db")
    assert track(artifact, elsewhere) is None, "another store has to be asked"
    assert "need not be asked again" in caplog.text


def test_logging_again_adds_nothing_and_new_content_adds_a_run(tmp_path, database, client):
    tracking = Tracking(uri=database, experiment="again")
    first = log_artifact(make_artifact(tmp_path), tracking)
    assert log_artifact(make_artifact(tmp_path), tracking) == first
    parent = client.get_run(first).data.tags["mlflow.parentRunId"]
    assert len(runs_under(client, parent)) == 1
    other = log_artifact(make_artifact(tmp_path, name="other", digest="changed"), tracking)
    assert {run.info.run_id for run in runs_under(client, parent)} == {first, other}


def test_an_attempt_that_failed_is_closed_and_replaced(tmp_path, database, client, monkeypatch):
    from stepward.runtime import tracking as module

    tracking, artifact = Tracking(uri=database, experiment="failed"), make_artifact(tmp_path)

    def full_disk(*_):
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, "_log_files", full_disk)
        assert track(artifact, tracking) is None
    experiment = client.get_experiment_by_name("walk").experiment_id
    mine = (
        f"tags.`stepward.experiment` = 'failed' and tags.`stepward.fingerprint` = '{artifact.manifest().fingerprint}'"
    )
    [left] = client.search_runs([experiment], mine)
    assert left.info.status == "FAILED"
    run = track(artifact, tracking)
    assert [found.info.run_id for found in client.search_runs([experiment], mine)] == [run]
    assert client.search_runs([experiment], "attributes.status = 'RUNNING'") == []


def test_trials_of_a_sweep_are_closed_child_runs(tmp_path, database, client):
    artifact = Artifact(str(tmp_path), "walk", "tune", "sweep")
    artifact.begin({})
    trials = pa.table(
        {"trial": ["a", "b"], "config/lr": [0.1, 0.01], "loss": [0.5, 0.4], "status": ["done", "stopped"]}
    )
    artifact.folder.write_table("trials.parquet", trials)
    artifact.finish(identity={}, seed=0, digest="t")
    run = log_artifact(artifact, Tracking(uri=database, experiment="sweep"))
    found = {child.info.run_name: child for child in runs_under(client, run)}
    assert {name: child.data.params["lr"] for name, child in found.items()} == {"trial/a": "0.1", "trial/b": "0.01"}
    assert found["trial/b"].data.metrics == {"loss": 0.4}
    assert found["trial/b"].data.tags["stepward.status"] == "stopped"
    assert {child.info.status for child in found.values()} == {"FINISHED"}


def test_a_trained_reward_model_can_be_loaded_and_predicts_from_a_frame(tmp_path, database, client):
    import mlflow

    labels = make_labels(tmp_path, num_train=3, num_test=3)
    artifact = make_trained(tmp_path, labels)
    run = client.get_run(log_artifact(artifact, Tracking(uri=database, experiment="model")))
    [output] = run.outputs.model_outputs
    logged = client.get_logged_model(output.model_id)
    assert logged.experiment_id == run.info.experiment_id
    files = [path.name for path in Path(logged.artifact_location.removeprefix("file://")).rglob("*") if path.is_file()]
    assert "weights.safetensors" in files
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".pt", ".pth"))]
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(database)
    try:
        model = mlflow.pyfunc.load_model(f"models:/{output.model_id}")
    finally:
        mlflow.set_tracking_uri(before)
    rows = labels.folder.read_table("labels/test-000000.parquet")
    wing = find_wing("walk")
    states = wing.states(rows)
    expected = load_trained(artifact.folder, wing).score(states, states)
    np.testing.assert_allclose(model.predict(rows.to_pandas()), expected, atol=1e-6)  # rounding of float32 alone
    assert model.metadata.signature.inputs.input_names()[:2] == ["id", "problem_id"]


def test_an_unreachable_server_costs_a_warning_and_the_command_logs_later(tmp_path, database, client, caplog, capfd):
    artifact = make_artifact(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        closed = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with caplog.at_level(logging.WARNING):
            assert track(artifact, Tracking(uri=closed, timeout=1)) is None
    assert f"python jobs/track.py --artifact {artifact.url}" in caplog.text
    assert artifact.open().digest == "d"  # the result is untouched
    settings = TrackSettings(artifact=artifact.url, tracking=Tracking(uri=database, experiment="later"))
    tracked = run_track(settings)
    assert client.get_run(tracked.runs[artifact.url]).info.status == "FINISHED"


def test_every_artifact_of_a_store_is_found_oldest_first(tmp_path):
    label = make_artifact(tmp_path, stage="label")
    evaluate = make_artifact(tmp_path, inputs={"label": label})
    unfinished = Artifact(str(tmp_path), "walk", "train", "half")
    unfinished.begin({})
    assert {a.url for a in stored_artifacts(str(tmp_path))} == {label.url, evaluate.url}
    with pytest.raises(ValueError, match="expected finished artifacts below"):
        stored_artifacts(str(tmp_path / "elsewhere"))


def test_the_job_says_what_is_missing(tmp_path, project_root: Path):
    command = [sys.executable, str(project_root / "jobs/track.py"), "--artifact", f"{tmp_path}/walk/train/none"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 1
    assert "expected a finished walk train artifact, but it does not exist" in done.stderr
    assert not (tmp_path / "mlflow.db").exists()


def test_names_and_settings_are_made_fit_for_trackers():
    assert metric_name("solve_rate@20/prm[a]") == "solve_rate_at_20/prm_a_"
    assert flatten({"a": {"b": 1, "c": {}}, "d": None}) == {"a.b": "1", "a.c": "{}", "d": "null"}
