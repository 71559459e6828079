"""The label stage, killed at every single operation on storage and run again: nothing is lost, doubled or changed."""

import shutil
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from kill_points import every_point, kill
from stepward.core import registry
from stepward.core.artifacts import Manifest
from stepward.core.config import parse_config
from stepward.core.wing import find_wing
from stepward.label import CountTask, LabelWork, finish, plan
from stepward.label import stage as stage_module
from stepward.label.mining import read_problems
from stepward.runtime.labelling import LabelJob, label_job

SMALL = ["problems.num_train=2", "problems.num_validation=1", "problems.num_test=1", "mining.per_problem=2",
         "labels.num_rollouts_train=2", "labels.num_rollouts_validation=2", "labels.num_rollouts_test=2"]  # fmt: skip
LABELS: dict[tuple[int, str], Any] = {}  # by seed and batch


def job_of(store: Path, *more: str) -> LabelJob:
    return _job(*more).model_copy(update={"store": str(store)})


@lru_cache
def _job(*more: str) -> LabelJob:
    return parse_config(label_job(find_wing("walk")), ["pool.batch_size=2", *SMALL, *more])


@pytest.fixture(autouse=True, scope="module")
def _fast() -> Iterator[None]:
    """What a stage computes is computed once: this is about what it writes, some hundred times over."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "plugin_points", lru_cache(registry.plugin_points))
        patch.setattr(stage_module, "mined_endings", lambda *_: {})
        problems = {seed: read_problems(_job(f"seed={seed}")) for seed in (0, 1)}
        patch.setattr(stage_module, "read_problems", lambda settings: problems[settings.seed])
        yield


def stage(job: LabelJob) -> Manifest:
    """What `run_label` does, in this process."""
    artifact = job.artifact("label")
    with artifact.claim(job.identity(), overwrite=job.overwrite) as finished:
        if finished:
            return artifact.open()
        work = LabelWork(artifact, job.identity())
        if not work.planned:
            plan(job, work, job.pool.batch_size)
        for batch in work.left():
            work.begin(batch)
            if (job.seed, batch) not in LABELS:
                LABELS[job.seed, batch] = CountTask(job)(work.rows(batch))
            work.commit(batch, *LABELS[job.seed, batch])
        return finish(job, work, time.monotonic())


def described(manifest: Manifest) -> dict[str, str]:
    return {name: entry["sha256"] for name, entry in manifest.files.items()}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return stage(job_of(tmp_path_factory.mktemp("undisturbed")))


def assert_whole(job: LabelJob, expected: Manifest, point: tuple[int, str]) -> None:
    artifact = job.artifact("label")
    manifest = artifact.open()
    assert (manifest.digest, described(manifest)) == (expected.digest, described(expected)), point
    assert sorted(artifact.folder.files()) == sorted([*expected.files, "manifest.json"]), point
    assert not artifact.scratch.files(), point
    by_others = pq.read_table(f"{artifact.folder.path}/labels")  # as any tool reads a folder of Parquet files
    assert len(by_others) == len(artifact.folder.read_table("labels")) == expected.rows["labels"], point


def test_killed_anywhere_and_run_again(tmp_path: Path, expected: Manifest) -> None:
    for number, point in enumerate(every_point(lambda: stage(job_of(tmp_path / "count")))):
        job = job_of(tmp_path / str(number))
        kill(lambda job=job: stage(job), *point)
        stage(job)
        assert_whole(job, expected, point)


def test_killed_anywhere_and_made_anew_with_other_settings(tmp_path: Path, expected: Manifest) -> None:
    """`overwrite=true` after a stop of other settings, as the job's own message advises."""
    for number, point in enumerate(every_point(lambda: stage(job_of(tmp_path / "count")))):
        if point[1] != "after":
            continue
        store = tmp_path / str(number)
        kill(lambda store=store: stage(job_of(store, "seed=1")), *point)
        job = job_of(store, "overwrite=true")
        stage(job)
        assert_whole(job, expected, point)


def test_a_replacement_that_is_killed_anywhere_leaves_a_whole_artifact_or_none(
    tmp_path: Path, expected: Manifest
) -> None:
    old, new = tmp_path / "old", "overwrite=true"
    stage(job_of(old, "seed=1"))
    shutil.copytree(old, tmp_path / "count")
    for number, point in enumerate(every_point(lambda: stage(job_of(tmp_path / "count", new)))):
        store = tmp_path / str(number)
        shutil.copytree(old, store)
        kill(lambda store=store: stage(job_of(store, new)), *point)
        artifact = job_of(store).artifact("label")
        if artifact.finished:
            artifact.open()
        stage(job_of(store, new))
        assert_whole(job_of(store), expected, point)
