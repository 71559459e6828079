"""The evaluate stage on Ray Data: searches and guide studies as items of an actor pool, resumable after any kill."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field

from stepward.console.outcome import in_words
from stepward.console.progress import progress
from stepward.core.artifacts import Manifest
from stepward.core.config import Plain, validate
from stepward.core.wing import Wing, find_wing
from stepward.evaluate.settings import EvaluateSettings, evaluate_settings
from stepward.evaluate.stage import finish, foresight
from stepward.evaluate.summary import line
from stepward.evaluate.trials import needs_tree
from stepward.evaluate.work import EvaluateWork
from stepward.runtime.cluster import ClusterSettings, connect
from stepward.runtime.pools import PoolSettings, actor_pool, limited
from stepward.runtime.scorers import ScorerPool, remote_loader, scorers
from stepward.runtime.tracking import Tracking, track

logger = logging.getLogger("stepward.evaluate")


class EvaluatePool(PoolSettings):
    """The actor pool that searches and judges."""

    shard_size: int = Field(1000, ge=1, description="problems an item of work; no result depends on it")
    scorers: ScorerPool = Field(
        ScorerPool(), description="trained reward models in workers of their own, on GPUs of their own or on a share"
    )

    @property
    def reserved(self) -> dict[str, float]:
        """Ray resources that scorers of their own take, beside those of the searching actors."""
        return self.scorers.reserved


class EvaluateJob(EvaluateSettings):
    """All settings of jobs/evaluate.py; `evaluate_job` narrows them to a domain."""

    pool: EvaluatePool = Field(EvaluatePool(), description="workers and size of their items")
    cluster: ClusterSettings = Field(ClusterSettings(), description="which Ray cluster does the work")
    tracking: Tracking = Field(Tracking(), description="where the finished artifact is logged")


@dataclass(frozen=True)
class Evaluated:
    """What a run of the evaluate stage made."""

    url: str
    manifest: Manifest
    metrics: dict[str, float]
    seconds: float
    was_finished: bool

    def __str__(self) -> str:
        made = "Already finished" if self.was_finished else f"Evaluated in {self.seconds:.1f} s"
        arms, problems = self.manifest.facts["arms"], self.metrics["num_problems"]
        head = f"{made}: {len(arms)} arms on {problems:,.0f} {self.manifest.facts['split']} problems"
        return "\n".join([head, *self.lines, self.url])

    @property
    def lines(self) -> list[str]:
        """How the trained guide stands to its trivial rivals, where it has any; then every arm in a few words."""
        answer = self.manifest.facts.get("rivals", {}).get("answer", "")
        words = {arm: line(arm, self.metrics) for arm in self.manifest.facts["arms"]}
        width = max(map(len, words), default=0)
        arms = [f"  {arm:<{width}} {said}" for arm, said in words.items() if said]
        return [f"  {answer}", *arms] if answer else arms


def evaluate_job(wing: Wing) -> type[EvaluateJob]:
    """Settings of the evaluate job for a domain."""
    job: Any = evaluate_settings(wing, EvaluateJob)
    return job


def run_evaluate(settings: EvaluateJob) -> Evaluated:
    """Make or finish an evaluate artifact, and track it. A finished one is returned at once.

    Raises:
        ValueError: an input artifact is missing, unfinished or changed, or this one is of other settings.
        RuntimeError: an item of work failed, or workers died and did not come back.
    """
    started = time.monotonic()
    if settings.pool.scorers.num_actors and needs_tree(settings.wing):
        raise ValueError(
            f"pool.scorers.num_actors: expected 0, because rollouts of domain {settings.domain!r} score where they "
            "propose, in one pass over all candidates; leave it out"
        )
    artifact, identity = settings.artifact("evaluate"), settings.identity()
    with artifact.claim(identity, overwrite=settings.overwrite) as finished:
        if not finished:
            work = EvaluateWork(settings, settings.pool.shard_size)
            work.prepare()
            logger.info("%s", foresight(work))
            evaluate_all(settings, work)
            finish(work, time.monotonic() - started)
    manifest = artifact.open()
    track(artifact, settings.tracking)
    metrics = artifact.folder.read_json("metrics.json")
    return Evaluated(artifact.url, manifest, metrics, time.monotonic() - started, finished)


def evaluate_all(settings: Any, work: Any, worker: type[ItemWorker] | None = None) -> None:
    """Every item that is not done yet, through the pool.

    Args:
        worker: class of the actors; none: `EvaluateWorker`.
    """
    items, left = work.items(), work.left()
    if not left:
        return
    with connect(settings.cluster), progress("Evaluating", len(items), len(items) - len(work.missing())) as advance:
        pool = settings.pool.resolve()
        logger.info("%d of %d items to do, by %d workers", len(work.missing()), len(items), pool.num_actors)
        with scorers(pool.scorers, settings.domain) as serving:
            arguments = {"settings": _shipped(settings), "scorers": serving}
            while left:
                for answer in actor_pool(worker or EvaluateWorker, arguments, left, pool):
                    if answer["error"]:
                        raise RuntimeError(f"{answer['item']}: {answer['error']}")
                    advance(1)
                again, left = left, work.left()
                if set(again) & set(left):
                    break  # workers died more often than they may
    missing = work.missing()
    if missing:
        raise RuntimeError(
            f"{len(missing)} items were not done because workers died or took longer than pool.time_limit, first "
            f"{missing[0]}. Run it again."
        )


class ItemWorker:
    """An actor of the pool: does one item and writes its file; an error is an answer, for the driver to stop at."""

    JOB: ClassVar[Callable[[Wing], Any]]  # wing -> class of the settings
    WORK: ClassVar[Callable[..., Any]]  # (settings, shard size) -> items of work

    def __init__(self, settings: Plain, scorers: Sequence[Any] = ()) -> None:
        job: Any = validate(type(self).JOB(find_wing(settings["domain"])), settings)
        served = {"load": remote_loader(list(scorers), os.getpid())} if scorers else {}
        self._limit = job.pool.time_limit
        self._work = type(self).WORK(job, job.pool.shard_size, **served)

    def __call__(self, batch: Mapping[str, Sequence[object]]) -> dict[str, list[object]]:
        """Does one item and answers with what went wrong, if anything did."""
        [item] = batch["item"]
        error = ""
        try:
            with limited(self._limit):
                self._work.do(str(item))
        except Exception as failure:
            error = in_words(failure)
        return {"item": [str(item)], "error": [error]}


class EvaluateWorker(ItemWorker):
    """Does items of an evaluation."""

    JOB, WORK = evaluate_job, EvaluateWork


def _shipped(settings: Any) -> Plain:
    """Settings as plain values, with a store that workers find from their own working directory."""
    from pathlib import Path

    plain = settings.model_dump(mode="json", exclude={"tracking"})
    return plain if "://" in settings.store else plain | {"store": str(Path(settings.store).resolve())}
