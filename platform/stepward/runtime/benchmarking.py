"""The benchmark stage on Ray Data: judges of steps as items of an actor pool, resumable after any kill."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from stepward.core.artifacts import Manifest
from stepward.core.wing import Wing
from stepward.evaluate.benchmark import BenchmarkSettings, BenchmarkWork, benchmark_settings, finish
from stepward.runtime.cluster import ClusterSettings
from stepward.runtime.evaluation import EvaluatePool, ItemWorker, evaluate_all
from stepward.runtime.tracking import Tracking, track
from stepward.statistics.step_judges import METRICS

logger = logging.getLogger("stepward.benchmark")


class BenchmarkPool(EvaluatePool):
    """The actor pool that scores."""

    shard_size: int = Field(100, ge=1, description="solutions an item of work; no result depends on it")


class BenchmarkJob(BenchmarkSettings):
    """All settings of jobs/benchmark.py; `benchmark_job` narrows them to a domain."""

    pool: BenchmarkPool = Field(BenchmarkPool(), description="workers and size of their items")
    cluster: ClusterSettings = Field(ClusterSettings(), description="which Ray cluster does the work")
    tracking: Tracking = Field(Tracking(), description="where the finished artifact is logged")


@dataclass(frozen=True)
class Benchmarked:
    """What a run of the benchmark stage made."""

    url: str
    manifest: Manifest
    rows: list[dict[str, Any]]
    headline: str
    seconds: float
    was_finished: bool

    def __str__(self) -> str:
        made = "Already finished" if self.was_finished else f"Judged in {self.seconds:.1f} s"
        facts, lost = self.manifest.facts, self.manifest.rows["dead_letters"]
        head = f"{made}: {facts['solutions']:,} solutions of {facts['problems']:,} problems, {facts['steps']:,} steps"
        head += f"; {lost:,} dead letters in dead_letters.parquet" if lost else ""
        return "\n".join([head, *self.lines, self.url])

    @property
    def lines(self) -> list[str]:
        """Every judge in a line: the headline with its interval, and the threshold."""
        width = max((len(row["guide"]) for row in self.rows), default=0)
        return [
            f"  {row['guide']:<{width}}  {self.headline} {row[self.headline]:.3f} "
            f"[{row[f'{self.headline}_low']:.3f}, {row[f'{self.headline}_high']:.3f}]  "
            f"{row['threshold']} threshold {row['threshold_value']:.3g}"
            for row in self.rows
        ]


def benchmark_job(wing: Wing) -> type[BenchmarkJob]:
    """Settings of the benchmark job for a domain."""
    job: Any = benchmark_settings(wing, BenchmarkJob)
    return job


def run_benchmark(settings: Any) -> Benchmarked:
    """Make or finish a benchmark artifact, and track it. A finished one is returned at once.

    Raises:
        ValueError: the benchmark cannot be read, a guide cannot be built, or this artifact is of other settings.
        RuntimeError: an item of work failed, or workers died and did not come back.
    """
    started = time.monotonic()
    artifact, identity = settings.artifact("benchmark"), settings.identity()
    with artifact.claim(identity, overwrite=settings.overwrite) as finished:
        if not finished:
            work = BenchmarkWork(settings, settings.pool.shard_size)
            work.prepare()
            evaluate_all(settings, work, BenchmarkWorker)
            finish(work, time.monotonic() - started)
    manifest = artifact.open()
    track(artifact, settings.tracking)
    table = artifact.folder.read_table("tables/benchmark.parquet").to_pylist()
    rows = [row for row in table if row["category"] == "all"]
    headline = METRICS[settings.benchmark.metric].headline
    return Benchmarked(artifact.url, manifest, rows, headline, time.monotonic() - started, finished)


class BenchmarkWorker(ItemWorker):
    """Scores pieces of a benchmark."""

    JOB, WORK = benchmark_job, BenchmarkWork
