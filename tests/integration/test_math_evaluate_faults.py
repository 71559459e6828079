"""kill -9 of a worker and of the driver while solutions are sampled, searched for and judged: nothing is lost."""

import json
import subprocess
from pathlib import Path

import pytest
import torch

from integration.test_label_faults import command, environment, started, wait_until, workers
from integration.test_math_label_faults import undisturbed
from stepward.core.artifacts import Artifact
from stepward.core.config import parse_config
from stepward.core.wing import find_wing
from stepward.evaluate.stage import finish
from stepward.evaluate.work import EvaluateWork
from stepward.runtime.evaluation import evaluate_job

pytestmark = [pytest.mark.ray, pytest.mark.slow]

NO_NAMES = ["domain=math", "tracking.enabled=false", "cluster.num_cpus=2", "cluster.object_store_mb=80"]
LABELS = ["problems.num_train=1", "problems.num_validation=1", "problems.num_test=48", "labels.num_rollouts_train=1",
          "labels.num_rollouts_validation=1", "labels.num_rollouts_test=2"]  # fmt: skip
GUIDES = {"likelihood": {"kind": "likelihood"}, "length": {"kind": "length"}, "random": {"kind": "random"}}
SEARCHES = {"beam": {"search": {"kind": "beam", "width": 2, "num_candidates": 2, "num_solutions": 2}, "budget": 12}}


def test_killed_while_evaluating(project_root: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    settings = [*NO_NAMES, "pool.shard_size=4", "samples.sizes=[1,2,4]", "samples.budgets=[1,2,4]", "samples.budget=4",
                "samples.champions=[likelihood]", "values.max_states=60", "values.max_parents=6",
                "values.sibling_rollouts=4", "values.num_children=2", "dividend.num_parents=6",
                f"guides={json.dumps(GUIDES)}", f"searches={json.dumps(SEARCHES)}"]  # fmt: skip
    for store in ("alone", "disturbed"):
        undisturbed([*NO_NAMES, *LABELS, f"store={tmp_path / store}"])
    job = parse_config(evaluate_job(find_wing("math")), [*settings, f"store={tmp_path / 'alone'}"])
    work = EvaluateWork(job, shard_size=48)
    job.artifact("evaluate").begin(job.identity())
    work.prepare()
    while work.left():
        for item in work.left():
            work.do(item)
    expected = finish(work, 0.0)

    settings.append("store=disturbed")
    artifact, log = Artifact(str(tmp_path / "disturbed"), "math", "evaluate", "default"), tmp_path / "driver.log"

    def shards() -> list[str]:
        return artifact.folder.files("shards")

    with started(project_root, tmp_path, *settings, job="evaluate.py") as driver:
        wait_until(lambda: len(shards()) >= 2, driver, log, limit=300)
        workers(driver)[0].kill()
        done = len(shards())
        wait_until(lambda: len(shards()) >= done + 3, driver, log, limit=300)  # the job goes on
        driver.kill()
    assert not artifact.finished, "too fast to be disturbed"
    again = subprocess.run(
        command(project_root, *settings, job="evaluate.py"),
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    manifest = artifact.open()
    assert manifest.digest == expected.digest, "all tables but for the seconds"
    assert manifest.rows == expected.rows
