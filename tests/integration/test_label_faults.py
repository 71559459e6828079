"""Faults that really happen to the label job: killed workers and drivers, rows that raise or kill, a full disk.

Every run is the job as a user starts it, on a Ray cluster of its own. What an undisturbed run makes is computed here,
in this process, without Ray.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from stepward.core.artifacts import Artifact, ArtifactError, Manifest
from stepward.core.config import parse_config
from stepward.core.wing import find_wing
from stepward.label import CountTask, LabelWork, finish, plan
from stepward.runtime.labelling import LabelJob, label_job

pytestmark = pytest.mark.ray

FAULTY = Path(__file__).parent / "faulty"
COMMON = ["domain=faulty", "tracking.enabled=false", "cluster.num_cpus=2", "cluster.object_store_mb=80"]
SMALL = ["problems.num_validation=1", "problems.num_test=1", "labels.num_rollouts_validation=8",
         "labels.num_rollouts_test=8", "labels.num_rollouts_train=8"]  # fmt: skip


@pytest.fixture(autouse=True)
def _plug_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FAULTY))


def environment() -> dict[str, str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    return inherited | {"PYTHONPATH": str(FAULTY), "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}


def command(root: Path, *settings: str, job: str = "label.py") -> list[str]:
    return [sys.executable, str(root / "jobs" / job), *COMMON, *settings]


def run(root: Path, cwd: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(root, *settings), cwd=cwd, env=environment(), capture_output=True, text=True, timeout=150
    )


@contextlib.contextmanager
def started(root: Path, cwd: Path, *settings: str, job: str = "label.py") -> Iterator[psutil.Process]:
    """The job in the background; whatever it started is ended, by process id, at the end."""
    with (cwd / "driver.log").open("w") as log:
        process = psutil.Popen(command(root, *settings, job=job), cwd=cwd, env=environment(), stdout=log, stderr=log)
    family: list[psutil.Process] = []
    try:
        yield process
        family = process.children(recursive=True)
    finally:
        for member in [process, *family]:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        process.wait(timeout=30)


def job_settings(*settings: str) -> LabelJob:
    return parse_config(label_job(find_wing("faulty")), [*COMMON, *settings])


def undisturbed(*settings: str) -> Manifest:
    """The artifact of these settings, made in this process."""
    job = job_settings(*settings)
    artifact, task = job.artifact("label"), CountTask(job)
    work = LabelWork(artifact, job.identity())
    artifact.begin(job.identity())
    plan(job, work, job.pool.batch_size)
    for batch in work.left():
        work.begin(batch)
        work.commit(batch, *task(work.rows(batch)))
    return finish(job, work, time.monotonic())


def wait_until(condition, process: psutil.Process, log: Path, limit: float = 120) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert process.poll() is None, f"the driver ended:\n{log.read_text()}"
        assert time.monotonic() < deadline, f"not in {limit} s:\n{log.read_text()}"
        time.sleep(0.05)


def workers(driver: psutil.Process) -> list[psutil.Process]:
    """Actor processes of the pool; Ray writes the class of an actor into its command line."""
    found = []
    for child in driver.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if any("MapWorker" in word for word in child.cmdline()):
                found.append(child)
    return found


@pytest.mark.slow  # many processes of Ray, a quarter of a minute on quiet cores
def test_killed_worker_and_killed_driver(project_root: Path, tmp_path: Path) -> None:
    """kill -9 of a worker, then of the driver, then the same command: the files of an undisturbed run, byte by byte."""
    settings = ["problems.num_train=40", "pool.batch_size=40", "proposer.seconds=0.03", *SMALL]
    expected = undisturbed(f"store={tmp_path / 'undisturbed'}", *settings)
    settings.append("store=disturbed")
    artifact = Artifact(str(tmp_path / "disturbed"), "faulty", "label", "default")
    work = LabelWork(artifact, {})
    with started(project_root, tmp_path, *settings) as driver:
        log = tmp_path / "driver.log"
        wait_until(lambda: len(work.done()) >= 3, driver, log)
        workers(driver)[0].kill()
        done = len(work.done())
        wait_until(lambda: len(work.done()) >= done + 4, driver, log)  # the job goes on
        assert len(work.done()) < 42, "too fast to be disturbed"
        driver.kill()
    assert not artifact.finished
    with pytest.raises(ArtifactError, match=r"(?s)unfinished.*jobs/label.py"):
        artifact.open()
    before = {name: artifact.folder.read_bytes(name) for name in artifact.folder.files("labels")}
    again = run(project_root, tmp_path, *settings)
    assert again.returncode == 0, again.stderr
    manifest = artifact.open()
    assert manifest.rows == expected.rows
    assert manifest.digest == expected.digest
    assert {n: f["sha256"] for n, f in manifest.files.items()} == {n: f["sha256"] for n, f in expected.files.items()}
    assert all(artifact.folder.read_bytes(name) == content for name, content in before.items())
    redone = manifest.facts["batches_begun"] - manifest.facts["batches"]
    assert 0 <= redone <= 1 + 2, "at most one batch a worker: one worker was killed, and two with the driver"


@pytest.mark.slow  # many processes of Ray, a quarter of a minute on quiet cores
def test_rows_that_raise_and_rows_that_kill(project_root: Path, tmp_path: Path) -> None:
    """Bad rows of the user's file, rows that raise and rows that kill their process are dead letters."""
    lines = [{"id": f"p{i}", "start": i, "target": i + 7} for i in range(10)]
    bad = [
        {"id": "far", "start": 3, "target": 700},
        {"id": "p1", "start": 1, "target": 2},
        {"id": "half", "start": 1.5},
    ]
    text = [json.dumps(line) for line in lines + bad] + ["{not json"]
    (tmp_path / "mine.jsonl").write_text("\n".join(text))
    settings = ["problems.path=mine.jsonl", "mining.per_problem=2", "mining.max_depth=2", "pool.batch_size=8",
                "proposer.raise_at=2", "proposer.die_at=5", f"store={tmp_path}", *SMALL]  # fmt: skip
    done = run(project_root, tmp_path, *settings)
    assert done.returncode == 0, done.stderr
    artifact = Artifact(str(tmp_path), "faulty", "label", "default")
    manifest = artifact.open()
    dead = {row["id"]: row["error"] for row in artifact.folder.read_table("dead_letters.parquet").to_pylist()}
    assert {"mine.jsonl:11", "mine.jsonl:12", "mine.jsonl:13", "mine.jsonl:14"} <= set(dead)
    assert all("ArithmeticError: start 2" in dead[f"p2/{i}"] for i in range(2))
    assert all("process died 2 times" in dead[f"p5/{i}"] for i in range(2))
    assert len(dead) == 8
    labels = artifact.folder.read_table("labels")
    assert sorted(labels["id"].to_pylist()) == sorted(
        f"p{i}/{j}" for i in range(10) for j in range(2) if i not in (2, 5)
    )
    assert manifest.rows["labels"] == len(labels) == 16
    assert "8 dead letters" in done.stdout

    nowhere = run(project_root, tmp_path, *settings, "cluster.address=127.0.0.1:1")
    assert nowhere.returncode == 0, "a finished job must not even look for a cluster"
    assert "Already finished" in nowhere.stdout
    other = run(project_root, tmp_path, *settings, "seed=1", "cluster.address=127.0.0.1:1")
    assert other.returncode == 1
    assert "is finished with other settings (seed: there 0, wanted 1)" in other.stderr
    (tmp_path / "mine.jsonl").write_text("\n".join(text[:5]))
    changed = run(project_root, tmp_path, *settings, "cluster.address=127.0.0.1:1")
    assert changed.returncode == 1
    assert "problems_sha256" in changed.stderr


@pytest.mark.slow
def test_a_proposer_that_cannot_be_built_does_not_claim_the_name(project_root: Path, tmp_path: Path) -> None:
    settings = ["problems.num_train=2", f"store={tmp_path}", *SMALL]
    failed = run(project_root, tmp_path, *settings, "proposer.unbuildable=true")
    assert failed.returncode == 1 and "no weights here" in failed.stderr
    again = run(project_root, tmp_path, *settings)
    assert again.returncode == 0, again.stderr


@pytest.mark.slow
def test_a_row_that_hangs_costs_itself_alone_and_the_exit_code_says_so(project_root: Path, tmp_path: Path) -> None:
    lines = [json.dumps({"id": f"p{i}", "start": i, "target": i + 7}) for i in range(4)]
    (tmp_path / "mine.jsonl").write_text("\n".join(lines))
    settings = ["problems.path=mine.jsonl", "mining.per_problem=1", "pool.num_actors=1", "pool.time_limit=3",
                "proposer.hang_at=2", f"store={tmp_path}", *SMALL]  # fmt: skip
    done = run(project_root, tmp_path, *settings)
    assert done.returncode == 3, done.stderr
    assert "1 dead letters in dead_letters.parquet (1 took longer than pool.time_limit)" in done.stdout
    artifact = Artifact(str(tmp_path), "faulty", "label", "default")
    [dead] = artifact.folder.read_table("dead_letters.parquet").to_pylist()
    assert dead["id"].startswith("p2/") and "longer than a row may" in dead["error"]
    assert artifact.open().rows["labels"] == 3


@pytest.mark.slow
def test_full_disk(project_root: Path, tmp_path: Path) -> None:
    """On a real file system that is full, the job says so and keeps what is done; with more room it goes on."""
    store = tmp_path / "small"
    store.mkdir()
    settings = ["problems.num_train=40", "pool.batch_size=40", *SMALL]
    job = " ".join(command(project_root, *settings, f"store={store}"))
    script = f"""
        mount -t tmpfs -o size=560k tmpfs {store} || exit 77
        {job}; echo "first $?"; ls {store}/faulty/label/default/labels | wc -l
        mount -o remount,size=64m {store}
        {job}; echo "second $?"; cp -r {store} {tmp_path / "kept"}
    """
    if shutil.which("unshare") is None:
        pytest.skip("no unshare here, so no small file system of our own")
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=200,
    )
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip("not allowed to mount a small file system here")
    assert "first 1" in done.stdout, done.stdout + done.stderr
    assert "No space left on device" in done.stderr
    assert "Free some space, then run the same command again" in done.stderr
    assert "second 0" in done.stdout, done.stdout + done.stderr
    kept = Artifact(str(tmp_path / "kept"), "faulty", "label", "default").open()
    expected = undisturbed(*settings, f"store={tmp_path / 'undisturbed'}")
    assert kept.digest == expected.digest
