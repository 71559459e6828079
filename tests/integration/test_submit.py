"""The local recipe of docs/operations.md: `ray start --head` with a token, then `ray job submit --working-dir .`.

The head is a cluster of its own, on free ports and a folder of its own; it is ended by its process id.
"""

import contextlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyarrow.dataset as pads
import pytest

pytestmark = pytest.mark.ray

PORTS = (
    "--port",
    "--ray-client-server-port",
    "--dashboard-port",
    "--dashboard-agent-listen-port",
    "--dashboard-agent-grpc-port",
    "--runtime-env-agent-port",
    "--metrics-export-port",
)
# Where Ray unpacks what `--working-dir` uploaded, and what a driver hands on as `py_modules`.
UPLOADED = r"/\S*?/runtime_resources/working_dir_files/_ray_pkg_\w+/platform/stepward"
HANDED_ON = r"/\S*?/runtime_resources/py_modules_files/_ray_pkg_\w+/stepward"


@dataclass
class Head:
    """A running head node: `url` of its jobs interface, and the environment in which `ray` commands reach it."""

    url: str
    env: dict[str, str]

    def submit(self, project: Path, *entrypoint: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        command = [ray_command(), "job", "submit", "--working-dir", ".", "--", *entrypoint]
        return subprocess.run(
            command,
            cwd=project,
            env=self.env,
            text=True,
            timeout=timeout,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )


def ray_command() -> str:
    return str(Path(sys.executable).with_name("ray"))


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on. Held together, so that they differ from one another."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for held in sockets:
            held.bind(("127.0.0.1", 0))
        return [held.getsockname()[1] for held in sockets]
    finally:
        for held in sockets:
            held.close()


def wait_until_up(url: str, token: str, process: subprocess.Popen[bytes], log: Path, limit: float = 150) -> None:
    request = urllib.request.Request(f"{url}/api/version", headers={"Authorization": f"Bearer {token}"})
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the head ended:\n{log.read_text()}"
        try:
            with urllib.request.urlopen(request, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.5)
    raise AssertionError(f"no head after {limit} s:\n{log.read_text()}")


def end(process: subprocess.Popen[bytes]) -> None:
    """End the head and whatever it started, by process id."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    process.terminate()
    _, alive = psutil.wait_procs(family, timeout=15)
    for survivor in alive:
        with contextlib.suppress(psutil.NoSuchProcess):  # it may end by itself meanwhile
            survivor.kill()
    process.wait(timeout=15)


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    folder = Path(tempfile.mkdtemp(prefix="swh-", dir="/tmp"))  # short: Unix socket paths end at 107 bytes
    token = secrets.token_hex(32)
    (folder / "token").write_text(token)
    (folder / "token").chmod(0o600)
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    url = f"http://127.0.0.1:{ports['--dashboard-port']}"
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    env = inherited | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
        "RAY_API_SERVER_ADDRESS": url,
    }
    command = [ray_command(), "start", "--head", "--block", "--num-cpus=2", "--disable-usage-stats"]
    command += ["--include-dashboard=true", "--dashboard-host=127.0.0.1", f"--temp-dir={folder / 'ray'}"]
    command += ["--object-store-memory=200000000", *(f"{name}={port}" for name, port in ports.items())]
    log = folder / "head.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=env, stdout=output, stderr=output, start_new_session=True)
    try:
        wait_until_up(url, token, process, log)
        yield Head(url, env)
    finally:
        end(process)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def project(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project: what is uploaded lies elsewhere than what is installed, and has artifacts beside it."""
    copy = tmp_path_factory.mktemp("project")
    for name in ("platform", "jobs"):
        shutil.copytree(project_root / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in (".gitignore", "pyproject.toml"):
        shutil.copy(project_root / name, copy / name)
    (copy / "artifacts").mkdir()
    (copy / "artifacts" / "large.bin").write_bytes(b"0" * 1000)
    return copy


def test_label_job_as_a_user_submits_it(head: Head, project: Path, tmp_path: Path) -> None:
    """The driver runs the upload and hands it to its workers; rows arrive; what .gitignore names stays at home."""
    settings = ["problems.num_train=20", "problems.num_validation=5", "problems.num_test=5", "mining.per_problem=2"]
    settings += ["pool.num_actors=1", "pool.batch_size=30", "tracking.enabled=false", f"store={tmp_path}"]
    done = head.submit(project, "python", "jobs/label.py", *settings)
    assert done.returncode == 0, done.stdout

    said = "".join(done.stdout.split())  # the log wraps long lines
    uploaded = re.search(rf"Driverusesstepwardfrom({UPLOADED})", said)
    assert uploaded, done.stdout
    assert re.search(rf"Workersusestepwardfrom{HANDED_ON}", said), done.stdout

    labels = pads.dataset(tmp_path / "walk" / "label" / "default" / "labels", format="parquet").to_table()
    assert labels.num_rows == (20 + 5 + 5) * 2
    assert len(set(labels["id"].to_pylist())) == labels.num_rows

    unpacked = {path.name for path in Path(uploaded.group(1)).parents[1].iterdir()}
    assert {"platform", "jobs", "pyproject.toml"} <= unpacked
    assert "artifacts" not in unpacked


def test_a_misspelt_setting_fails_the_submission(head: Head, project: Path) -> None:
    done = head.submit(project, "python", "jobs/label.py", "pool.num_actor=1")
    assert done.returncode != 0
    assert "num_actors" in done.stdout, "the message names what was meant"


@pytest.mark.parametrize("token", ["", "0" * 64], ids=["no token", "another token"])
def test_nobody_gets_in_without_the_token(head: Head, token: str) -> None:
    request = urllib.request.Request(
        f"{head.url}/api/jobs/", headers={"Authorization": f"Bearer {token}"} if token else {}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    assert refused.value.code in (401, 403)
