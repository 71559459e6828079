"""The server of `cluster/mlflow_server.sh` on a real PostgreSQL: log-in asked for, runs in the database."""

import glob
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mlflow_server import answers, end, free_port
from stepward.runtime.tracking import NOTE, Tracking, track
from walk_artifacts import make_labels

SECRET = "a-secret-of-the-database"


@pytest.fixture
def database() -> Iterator[str]:
    """URL of an empty database of a PostgreSQL of its own, which runs as somebody who is not root."""
    psycopg2 = pytest.importorskip("psycopg2", reason="psycopg2 is not installed")
    pytest.importorskip("flask_wtf", reason="Flask-WTF, which MLflow's log-in needs, is not installed")
    programs = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb")) or list(filter(None, [shutil.which("initdb")]))
    if not programs:
        pytest.skip("PostgreSQL (Debian package postgresql) is not installed")
    folder, port = Path(tempfile.mkdtemp(prefix="sw-pg-", dir="/tmp")), free_port()
    (folder / "secret").write_text(SECRET)
    user: dict[str, str] = {}
    if os.geteuid() == 0:
        user = {"user": "postgres"}
        for path in (folder, folder / "secret"):
            shutil.chown(path, "postgres")
    tools, data = Path(programs[-1]).parent, folder / "data"
    words = ["-D", str(data), "-U", "mlflow", "-A", "scram-sha-256", "--pwfile", str(folder / "secret")]
    subprocess.run([tools / "initdb", *words], check=True, capture_output=True, cwd=folder, **user)
    words = ["-D", str(data), "-p", str(port), "-k", str(folder), "-h", "127.0.0.1", "-F"]
    server = subprocess.Popen([tools / "postgres", *words], cwd=folder, stderr=subprocess.DEVNULL, **user)
    try:
        url = f"postgresql://mlflow:{SECRET}@127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while True:
            with suppress(psycopg2.OperationalError):
                connection = psycopg2.connect(f"{url}/postgres")
                break
            assert server.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)
        connection.autocommit = True
        connection.cursor().execute("create database mlflow")
        connection.close()
        yield f"{url}/mlflow"
    finally:
        server.terminate()
        server.wait(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow  # two servers start
def test_artifacts_are_tracked_behind_a_log_in(
    database: str, project_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    psycopg2 = pytest.importorskip("psycopg2")
    port, password = free_port(), "a-long-password-of-the-first-user"
    monkeypatch.setenv("PATH", f"{project_root}/.venv/bin:{Path(sys.executable).parent}:{os.environ['PATH']}")
    own = {
        "MLFLOW_DB": database.replace(":", "+psycopg2:", 1),
        "MLFLOW_AUTH_ADMIN_PASSWORD": password,
        "MLFLOW_PORT": str(port),
    }
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen(
            ["sh", str(project_root / "cluster/mlflow_server.sh"), str(tmp_path / "files")],
            env=os.environ | own, cwd=tmp_path, stdout=log, stderr=log,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 180
        while not answers(url):
            assert server.poll() is None and time.monotonic() < deadline, (tmp_path / "server.log").read_text()
            time.sleep(0.3)
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{url}/api/2.0/mlflow/experiments/search?max_results=5", timeout=30)
        artifact, tracking = make_labels(tmp_path / "store", num_train=4, num_test=4, per_problem=2), Tracking(uri=url)
        assert track(artifact, tracking) is None, "nobody gets in without a password"
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)
        run = track(artifact, tracking)
        assert run is not None and track(artifact, tracking) == run
        with psycopg2.connect(database) as connection, connection.cursor() as cursor:
            cursor.execute("select status from runs where run_uuid = %s", [run])
            assert cursor.fetchone() == ("FINISHED",)
        for written in (tmp_path / "server.log", Path(artifact.folder.path, NOTE)):
            assert password not in written.read_text() and SECRET not in written.read_text()
    finally:
        end(server)
