"""kill -9 while a language model that the project has never seen mines and labels GSM8K: nothing is lost or changed."""

import subprocess
import time
from pathlib import Path

import pytest
import torch

from integration.test_label_faults import command, environment, started, wait_until, workers
from stepward.core.artifacts import Artifact, Manifest
from stepward.core.config import parse_config
from stepward.core.wing import find_wing
from stepward.label import LabelWork, MineTask, MiningWork, finish, plan_mined, plan_mining
from stepward.runtime.labelling import label_job
from unit.math.foreign_models import foreign_folder

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def undisturbed(settings: list[str]) -> Manifest:
    """The artifact of these settings, made batch by batch in this process."""
    job = parse_config(label_job(find_wing("math")), settings)
    artifact, identity = job.artifact("label"), job.identity()
    work, mining = LabelWork(artifact, identity), MiningWork(artifact, identity)
    artifact.begin(identity)
    plan_mining(job, mining, job.pool.mining_batch_size)
    mine = MineTask(job)
    for batch in mining.left():
        mining.begin(batch)
        mining.commit(batch, *mine(mining.rows(batch)))
    plan_mined(job, work, mining, job.pool.batch_size)
    task = job.labels.task(job, job.pool.in_flight)
    for batch in work.left():
        work.begin(batch)
        work.commit(batch, *task(work.rows(batch)))
    return finish(job, work, time.monotonic())


def test_killed_while_mining_and_while_labelling(project_root: Path, shared_data: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    model = foreign_folder(tmp_path / "model", "qwen2", padded=False, hidden_size=48)
    questions = (shared_data / "gsm8k" / "test.jsonl").read_text().splitlines()[:24]
    (tmp_path / "test.jsonl").write_text("\n".join(questions))
    settings = ["domain=math", "problems.source=gsm8k", f"problems.path={tmp_path / 'test.jsonl'}",
                "problems.file_split=test", "mining.samples_per_problem=3", "pool.mining_batch_size=1",
                "pool.batch_size=5", "labels.num_rollouts_test=6", "labels.log_rollouts=true",
                "tracking.enabled=false", "cluster.num_cpus=2", "cluster.object_store_mb=80",
                *(f"{part}.{key}" for part in ("proposer", "mining.model")
                  for key in (f"model={model}", "max_steps=3", "max_step_tokens=40"))]  # fmt: skip
    expected = undisturbed([*settings, f"store={tmp_path / 'undisturbed'}"])
    settings.append("store=disturbed")
    artifact = Artifact(str(tmp_path / "disturbed"), "math", "label", "default")
    work, mining, log = LabelWork(artifact, {}), MiningWork(artifact, {}), tmp_path / "driver.log"
    with started(project_root, tmp_path, *settings) as driver:
        wait_until(lambda: len(mining.done()) >= 2, driver, log, limit=300)
        workers(driver)[0].kill()
        done = len(mining.done())
        wait_until(lambda: len(mining.done()) >= done + 3, driver, log, limit=300)  # the job goes on
        assert len(mining.done()) < 24, "too fast to be disturbed"
        driver.kill()
    assert not work.scratch.exists("plan.json"), "killed while mining"
    mined = {name: mining.folder.read_bytes(name) for name in mining.folder.files("labels")}
    with started(project_root, tmp_path, *settings) as driver:
        wait_until(lambda: len(work.done()) >= 3, driver, log, limit=300)
        driver.kill()
    assert not artifact.finished
    kept = {name: artifact.folder.read_bytes(name) for part in ("labels", "rollouts")
            for name in artifact.folder.files(part)}  # fmt: skip
    again = subprocess.run(
        command(project_root, *settings), cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=400
    )
    assert again.returncode == 0, again.stderr
    manifest = artifact.open()
    assert manifest.rows == expected.rows
    assert {n: f["sha256"] for n, f in manifest.files.items()} == {n: f["sha256"] for n, f in expected.files.items()}
    assert manifest.digest == expected.digest
    assert len(mined) >= 5 and len(kept) >= 6
    assert all(artifact.folder.read_bytes(name) == content for name, content in kept.items())
