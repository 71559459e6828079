"""The tracking store: no secret is shown, no half database stays, and a missing driver is said before any work."""

import json
import logging
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from stepward.console.outcome import report
from stepward.core.artifacts import Artifact
from stepward.core.config import Config
from stepward.runtime.tracking import Tracking, log_artifact, track
from stepward.runtime.tracking_job import Tracked, stored_artifacts
from stepward.runtime.tracking_store import TrackingStoreError, require_driver, without_secrets, writing

SECRET = "hunter2"


def artifact_in(root: Path, name: str = "a") -> Artifact:
    artifact = Artifact(str(root), "walk", "evaluate", name)
    artifact.begin({})
    artifact.folder.write_json("metrics.json", {"x": 1.0})
    artifact.finish(identity={}, seed=0, digest=name)
    return artifact


@pytest.mark.parametrize("text", [
    f"postgresql://me:{SECRET}@db/x", f"mysql+pymysql://me:{SECRET}/@%20@db:3306/x?ssl=1", f"http://{SECRET}@h:5000",
    f"cannot reach https://me:{SECRET}@host/path now", f"postgresql://db/x?user=me&password={SECRET}&sslmode=require",
    f"http://h/?access_token={SECRET}", f"mssql://h/x?Pwd={SECRET}",
])  # fmt: skip
def test_secrets_of_a_uri_are_hidden(text: str) -> None:
    assert SECRET not in without_secrets(text)
    assert "***" in without_secrets(text)


@pytest.mark.parametrize("text", ["sqlite:////tmp/a@b/mlflow.db", "http://127.0.0.1:5000", "no uri @ all"])
def test_texts_without_secrets_stay(text: str) -> None:
    assert without_secrets(text) == text


def test_what_is_said_and_noted_of_a_store_has_no_password(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking, artifact = Tracking(uri=f"http://me:{SECRET}@127.0.0.1:9", timeout=1), artifact_in(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert track(artifact, tracking) is None
    assert "Not tracked" in caplog.text
    assert SECRET not in caplog.text
    monkeypatch.setattr("stepward.runtime.tracking.log_artifact", lambda *_: "run")
    assert track(artifact, tracking) == "run"
    assert SECRET not in artifact.folder.read_bytes("tracked.json").decode()
    assert SECRET not in str(Tracked({}, tracking.place))


def test_a_missing_driver_is_said_before_work_and_fails_no_finished_artifact(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    tracking = Tracking(uri=f"oracle://me:{SECRET}@db/x")  # no test environment has this driver

    class Job(Config):
        tracking: Tracking

    def never(_: Job) -> None:
        raise AssertionError("work began")

    with pytest.raises(SystemExit):
        report(never, Job(tracking=tracking))
    said = capsys.readouterr().err
    assert "expected an installed driver for oracle" in said and SECRET not in said
    Tracking(uri=tracking.uri, enabled=False).check()
    assert track(artifact_in(tmp_path), tracking) is None
    assert "The artifact is complete" in caplog.text
    for uri in ("sqlite:///x.db", "http://h:5000", "databricks://profile", "file:///x"):
        require_driver(uri)


def test_whatever_goes_wrong_in_logging_fails_no_job(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> str:
        raise pa.ArrowInvalid("ragged")

    monkeypatch.setattr("stepward.runtime.tracking.log_artifact", broken)
    assert track(artifact_in(tmp_path), Tracking(uri=f"sqlite:///{tmp_path}/m.db")) is None
    assert "could not be logged (ArrowInvalid: ragged)" in caplog.text
    assert "in broken" in caplog.text, "its place is shown"


def test_lists_of_unequal_length_are_states_too() -> None:
    from stepward.runtime.tracked_model import state_table

    table = state_table(pd.DataFrame({"ragged": [[1, 2], [3]], "even": [[1, 2], [3, 4]], "empty": [None, [1]]}))
    assert pa.types.is_list(table["ragged"].type) and pa.types.is_list(table["empty"].type)
    assert pa.types.is_fixed_size_list(table["even"].type)
    assert table["ragged"].to_pylist() == [[1, 2], [3]]


MAKE = """
import sys
from stepward.runtime.tracking_store import writing
print("ready", flush=True)
with writing(sys.argv[1]):
    pass
"""


@pytest.mark.slow
def test_a_kill_while_the_database_is_made_leaves_none(tmp_path: Path) -> None:
    """At several moments of its making; the next job makes it and logs."""
    database = tmp_path / "mlflow.db"
    for wait in (1.0, 2.0, 3.0, 4.0):
        with subprocess.Popen([sys.executable, "-c", MAKE, f"sqlite:///{database}"], stdout=subprocess.PIPE) as making:
            assert making.stdout is not None
            making.stdout.readline()
            time.sleep(wait)
            making.kill()
    assert log_artifact(artifact_in(tmp_path), Tracking(uri=f"sqlite:///{database}"))
    assert {path.name for path in tmp_path.glob("*.db*")} <= {"mlflow.db", "mlflow.db.lock"}
    assert not list(tmp_path.glob(".mlflow.db*"))


def test_a_database_is_whole_when_it_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made under another name by whoever comes first; the tables that a full disk left are gone with the next try."""
    from mlflow import MlflowClient

    database, made = tmp_path / "mlflow.db", []

    def full(client: MlflowClient, **_: object) -> None:
        Path(client.tracking_uri.removeprefix("sqlite:///")).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "search_experiments", full)
        with pytest.raises(OSError, match="No space"), writing(f"sqlite:///{database}"):
            made.append("entered")
    assert not made and not database.exists() and not list(tmp_path.glob(".mlflow.db*"))


@pytest.mark.parametrize("content", ["half", "none", "text"])
def test_a_file_that_is_no_whole_database_is_said_with_what_to_do(tmp_path: Path, content: str) -> None:
    database = tmp_path / "mlflow.db"
    if content == "text":
        database.write_text("not a database, but long enough to be taken for one" * 20)
    else:
        with sqlite3.connect(database) as connection:
            connection.execute(
                "create table experiments (id int)" if content == "half" else "create table mine (x int)"
            )
    with (
        pytest.raises(TrackingStoreError, match=r"whole MLflow database in .*move the file away"),
        writing(f"sqlite:///{database}"),
    ):
        raise AssertionError("entered")


def test_one_damaged_manifest_does_not_stop_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good, bad = artifact_in(tmp_path, "good"), artifact_in(tmp_path, "bad")
    bad.folder.write_bytes("manifest.json", json.dumps({"created": "now"}).encode())
    assert [artifact.url for artifact in stored_artifacts(str(tmp_path))] == [good.url]
    assert bad.url in caplog.text
