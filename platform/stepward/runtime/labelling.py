"""The label stage on Ray Data: an actor pool over batches of rows, resumable after any kill.

Ray Data sends names of batches; a worker reads the rows of a batch, labels them and writes the file of labels itself.
Ray may run a task twice, which then writes the same bytes under the same name. So a kill costs the batches that were
being made, one a worker, and never leaves half a file or a duplicate (`stepward.label.work` tells the protocol).

A batch that was begun `max_attempts` times and not finished is suspected of killing its workers. It is labelled
row by row in a process of its own; the row it dies at is noted, and after `max_attempts` deaths becomes a dead letter.
A worker that hangs is ended after `time_limit` and counts as dead; a driver that is killed says nothing of a row.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from pydantic import Field, create_model

from stepward.console.outcome import in_words
from stepward.console.progress import progress
from stepward.core.artifacts import Manifest
from stepward.core.config import Plain
from stepward.core.wing import Wing, find_wing
from stepward.label import (
    LabelSettings,
    LabelWork,
    MineTask,
    MiningWork,
    finish,
    label_alone,
    label_settings,
    mines_in_workers,
    plan,
    plan_mined,
    plan_mining,
)
from stepward.label.continuations import IN_FLIGHT
from stepward.runtime.cluster import ClusterSettings, WorkersDiedError, connect, package_path
from stepward.runtime.pools import PoolSettings, actor_pool, limited
from stepward.runtime.tracking import Tracking, track

logger = logging.getLogger("stepward.label")
Phase: TypeAlias = Literal["mine", "label"]
TITLES: dict[Phase, str] = {"mine": "Mining", "label": "Labelling"}


class LabellingError(RuntimeError):
    """The job cannot go on now; what is done is kept, and the same command takes it up."""


class LabelPool(PoolSettings):
    """The actor pool that labels."""

    batch_size: int = Field(2000, ge=1, description="rows a batch: the unit of work and of what a kill can cost")
    mining_batch_size: int = Field(
        50, ge=1, description="problems a batch, where workers mine: the unit of work and of what a kill can cost"
    )
    in_flight: int = Field(IN_FLIGHT, ge=1, description="rollouts a worker advances together; no label depends on it")
    max_attempts: int = Field(2, ge=1, description="deaths after which a batch is suspected, and a row given up")


class LabelJob(LabelSettings):
    """All settings of jobs/label.py; `label_job` narrows them to a domain."""

    pool: LabelPool = Field(LabelPool(), description="workers, batches and retries")
    cluster: ClusterSettings = Field(ClusterSettings(), description="which Ray cluster does the work")
    tracking: Tracking = Field(Tracking(), description="where the finished artifact is logged")


@dataclass(frozen=True)
class Labelled:
    """What a run of the label stage made."""

    url: str
    manifest: Manifest
    seconds: float
    was_finished: bool

    @property
    def exit_code(self) -> int:
        """Not 0 where rows were lost to the time limit: the artifact is whole, but a larger limit might save them."""
        return 3 if self.manifest.facts.get("overran") else 0

    def __str__(self) -> str:
        rows = self.manifest.rows
        splits = ", ".join(f"{rows[name]:,} {name}" for name in rows if name not in ("labels", "dead_letters"))
        made = "Already finished" if self.was_finished else f"Labelled in {self.seconds:.1f} s"
        dead = f"; {rows['dead_letters']:,} dead letters in dead_letters.parquet" if rows["dead_letters"] else ""
        overran = self.manifest.facts.get("overran")
        lost = f" ({overran:,} took longer than pool.time_limit)" if overran else ""
        return f"{made}: {rows['labels']:,} rows ({splits}){dead}{lost}\n{self.url}"


def label_job(wing: Wing) -> type[LabelJob]:
    """Settings of the label job for a domain, with the pool that suits its labels."""
    job: Any = label_settings(wing, LabelJob)
    suits = job.model_fields["labels"].get_default().POOL
    if not suits:
        return job
    pool = (LabelPool, Field(LabelPool(**suits), description=job.model_fields["pool"].description))
    return create_model("LabelJob", __base__=job, __module__=__name__, pool=pool)


def run_label(settings: LabelJob) -> Labelled:
    """Make or finish a label artifact, and track it. A finished one is returned at once.

    Raises:
        ValueError: no problem or no row could be used, or the artifact is of other settings.
        LabellingError: workers cannot work: the storage is full, or the proposer cannot be built.
    """
    started = time.monotonic()
    artifact, identity = settings.artifact("label"), settings.identity()
    work = LabelWork(artifact, identity)
    with artifact.claim(identity, overwrite=settings.overwrite, worth=lambda: _worth(settings, work)) as was_finished:
        if was_finished:
            manifest = artifact.open()
        else:
            settings.check_inputs()
            with explain_stop(artifact.url):
                manifest = _make(settings, work, started)
    track(artifact, settings.tracking)
    return Labelled(artifact.url, manifest, time.monotonic() - started, was_finished)


def _make(settings: LabelJob, work: LabelWork, started: float) -> Manifest:
    """Whatever is left of the work: plan or mine, label, finish."""
    mines = mines_in_workers(settings) and not work.planned
    if not mines and not work.planned:
        plan(settings, work, settings.pool.batch_size)
    if mines or work.left():
        with connect(settings.cluster):
            if mines:
                mine_all(settings, work)
            label_all(settings, work)
    return finish(settings, work, started)


def _worth(settings: LabelJob, work: LabelWork) -> bool:
    """Whether a worker began anything. A plan alone is made again at once, unless workers had to mine it."""
    mining = MiningWork(work.artifact, settings.identity())
    return bool(work.begun() or mining.begun() or (work.planned and mines_in_workers(settings)))


def mine_all(settings: LabelJob, work: LabelWork) -> None:
    """Mine the problems that are not mined, by the pool, and plan the rows."""
    mining = MiningWork(settings.artifact("label"), settings.identity())
    if not mining.planned:
        plan_mining(settings, mining, settings.pool.mining_batch_size)
    label_all(settings, mining, phase="mine")
    plan_mined(settings, work, mining, settings.pool.batch_size)


def label_all(settings: LabelJob, work: LabelWork, phase: Phase = "label") -> None:
    """Rounds of the pool until every batch is done; suspected batches are labelled alone."""
    pool, batches = settings.pool.resolve(), work.batches()
    left = work.left()
    rows_left = sum(batches[batch] for batch in left)
    logger.info("%d of %d batches to %s, by %d workers", len(left), len(batches), phase, pool.num_actors)
    with progress(TITLES[phase], sum(batches.values()), sum(batches.values()) - rows_left) as advance:
        while left:
            begun = work.begun()
            suspects = [batch for batch in left if begun[batch] >= settings.pool.max_attempts]
            fresh = [batch for batch in left if begun[batch] < settings.pool.max_attempts]
            if fresh:
                _pool_round(settings, pool, work, fresh, advance, phase)
            else:
                for batch in suspects:
                    _alone(settings, pool, work, batch, advance, phase)
            now = work.left()
            if now == left and work.begun() == begun:
                raise LabellingError("workers died before they began a batch; their logs are in Ray's session folder")
            if now:
                logger.warning("%d batches are not done (a worker died?): trying them again", len(now))
            left = now


def _pool_round(
    settings: LabelJob,
    pool: LabelPool,
    work: LabelWork,
    batches: list[str],
    advance: Callable[[int], None],
    phase: Phase,
) -> None:
    seen: set[str] = set()
    rows = work.batches()
    for answer in actor_pool(LabelWorker, {"settings": shipped(settings), "phase": phase}, batches, pool):
        if answer["package"] not in seen:
            seen.add(answer["package"])
            logger.info("Workers use stepward from %s", answer["package"])
        if answer["error"]:
            raise LabellingError(f"batch {answer['batch']}: {answer['error']}")
        advance(rows[answer["batch"]])


def _alone(
    settings: LabelJob, pool: LabelPool, work: LabelWork, batch: str, advance: Callable[[int], None], phase: Phase
) -> None:
    """Label one suspected batch in processes of its own, until one of them lives to the end."""
    import ray

    logger.warning("Batch %s was begun %d times and not finished: labelling it row by row", batch, work.begun()[batch])
    task = ray.remote(num_cpus=pool.cpus_per_actor, num_gpus=pool.gpus_per_actor or None, max_retries=0, max_calls=1)
    isolated = task(_label_alone)
    rows = work.batches()[batch]
    for _ in range(1 + rows * pool.max_attempts):  # each death adds to the count of one row
        try:
            answer = ray.get(isolated.remote(shipped(settings), batch, token := uuid.uuid4().hex[:8], phase))
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError):
            work.note_death(batch, token)
            continue
        if answer["error"]:
            raise LabellingError(f"batch {batch}: {answer['error']}")
        logger.warning("Batch %s: %d of %d rows became dead letters", batch, answer["dead"], rows)
        advance(rows)
        return
    raise LabellingError(f"batch {batch}: its processes died before they began a row")


class LabelWorker:
    """An actor of the pool: reads a batch, labels it, writes its labels, answers what it did.

    What goes wrong with a row is a dead letter of the batch. What goes wrong with the worker itself (a proposer that
    cannot be built, a full storage) is an answer with `error`, so that the driver can stop and say so.
    """

    def __init__(self, settings: Plain, phase: Phase = "label") -> None:
        self._shipped, self._phase = settings, phase
        self._bench: tuple[LabelWork, Any] | None = None

    def __call__(self, batch: Mapping[str, Sequence[object]]) -> dict[str, list[object]]:
        """Labels and commits one batch; the answer says what stopped it, if anything did."""
        name = str(batch["item"][0])
        answer = {"batch": name, "error": "", "package": package_path()}
        try:
            work, task = self._bench or bench(self._shipped, self._phase)
            self._bench = work, task
            if not work.is_done(name):  # by an earlier try of this task, whose worker died at a later batch
                work.begin(name)
                with limited(self._shipped["pool"]["time_limit"]):
                    labels, rejected = task(work.rows(name))
                work.commit(name, labels, rejected)
        except Exception as error:
            answer["error"] = in_words(error)
        return {key: [value] for key, value in answer.items()}


def _label_alone(settings: Plain, batch: str, token: str, phase: Phase) -> dict[str, object]:
    try:
        (work, task), pool = bench(settings, phase), settings["pool"]
        limit = pool["time_limit"]
        dead = label_alone(
            work, task, batch, token, pool["max_attempts"], time_limit=limit, limited=lambda: limited(limit)
        )
    except Exception as error:
        return {"dead": 0, "error": in_words(error)}
    return {"dead": dead, "error": ""}


def shipped(settings: LabelJob) -> dict[str, object]:
    """The settings as plain values: classes made for a domain do not travel, their values do."""
    return settings.model_dump(mode="json", exclude={"overwrite", "tracking"})


def bench(values: Plain, phase: Phase = "label") -> tuple[LabelWork, Any]:
    """What a worker needs, from shipped settings."""
    settings = label_job(find_wing(values["domain"])).model_validate(values)
    if phase == "mine":
        return MiningWork(settings.artifact("label"), settings.identity()), MineTask(settings)
    task = settings.labels.task(settings, settings.pool.in_flight)
    return LabelWork(settings.artifact("label"), settings.identity()), task


@contextmanager
def explain_stop(url: str) -> Iterator[None]:
    """Say of what stops the stage that nothing is lost, and how to go on."""
    try:
        yield
    except (LabellingError, WorkersDiedError, OSError) as error:
        hint = "Free some space" if "No space left" in str(error) or "quota" in str(error).lower() else "Mend the cause"
        raise LabellingError(
            f"Labelling stopped: {error}\nEvery finished batch is kept in {url}. {hint}, "
            "then run the same command again: it goes on where it stopped."
        ) from error
