"""The whole label stage in this process, for notebooks, and for labels that ask for no work."""

from __future__ import annotations

import time
from typing import Any

from stepward.console.progress import progress
from stepward.core.artifacts import Artifact
from stepward.label.continuations import IN_FLIGHT
from stepward.label.mining import MineTask, MiningWork, mines_in_workers
from stepward.label.settings import LabelSettings
from stepward.label.stage import finish, plan, plan_mined, plan_mining
from stepward.label.work import LabelWork

__all__ = ["make_labels"]

BATCH = 200  # rows a batch: what is lost at most when the process is stopped


def make_labels(job: LabelSettings, batch_size: int = BATCH) -> Artifact:
    """The finished label artifact of some settings; one that is finished is left as it is.

    Raises:
        ValueError: no problem or no row could be used, or the artifact is of other settings.
    """
    artifact, identity, started = job.artifact("label"), job.identity(), time.monotonic()
    work = LabelWork(artifact, identity)
    with artifact.claim(identity, overwrite=job.overwrite) as finished:
        if not finished:
            job.check_inputs()
            if not work.planned:
                _mine(job, work, (job.labels.POOL or {}).get("batch_size", batch_size))
            _do(job.labels.task(job, IN_FLIGHT), work, "Labelling")
            finish(job, work, started)
    return artifact


def _mine(job: LabelSettings, work: LabelWork, batch_size: int) -> None:
    if not mines_in_workers(job):
        plan(job, work, batch_size)
        return
    mining = MiningWork(work.artifact, job.identity())
    if not mining.planned:
        plan_mining(job, mining, BATCH)
    _do(MineTask(job), mining, "Mining")
    plan_mined(job, work, mining, batch_size)


def _do(task: Any, work: LabelWork, title: str) -> None:
    """Every batch that is not done."""
    batches, left = work.batches(), work.left()
    with progress(title, sum(batches.values()), sum(batches.values()) - sum(batches[b] for b in left)) as advance:
        for batch in left:
            work.commit(batch, *task(work.rows(batch)))
            advance(batches[batch])
