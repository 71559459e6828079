"""A whole experiment in one process and one Ray connection: label → train → tune → evaluate → report.

Every stage is a job of its own that can be run alone; here they share a name, a store, a seed and a cluster. A stage
that is finished is passed over at once, so the same command goes on after any interruption.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from stepward.core.artifacts import Artifact
from stepward.core.stage import StageSettings
from stepward.runtime.cluster import connect
from stepward.runtime.evaluation import Evaluated, run_evaluate
from stepward.runtime.experiment_settings import ExperimentJob, settings_of
from stepward.runtime.labelling import run_label
from stepward.runtime.pretraining import run_pretrain
from stepward.runtime.reporting import Reported, run_report
from stepward.runtime.tracking import comparison_url
from stepward.runtime.training import run_train
from stepward.runtime.tuning import run_tune
from stepward.tune.settings import TuneSettings, make_plan


@dataclass(frozen=True)
class Stage:
    """One stage of an experiment, ready to run."""

    title: str
    artifact: Artifact
    run: Callable[[Any], Any]
    settings: StageSettings


@dataclass(frozen=True)
class Experimented:
    """What an experiment made: its evaluation and its report."""

    evaluated: Evaluated
    report: Reported
    uri: str
    seconds: float
    comparison: str

    def __str__(self) -> str:
        lines = [
            *self.evaluated.lines,
            f"Whole experiment in {self.seconds:.0f} s",
            f"Report:       {self.report.page}",
        ]
        lines.append(f"MLflow store: {self.report.store}")
        if self._tracked:
            lines.append(f"Compare runs: mlflow ui --backend-store-uri {self.uri}, then {self.comparison}")
        return "\n".join(lines)

    @property
    def _tracked(self) -> bool:
        return self.report.store == self.uri


def run_experiment(settings: ExperimentJob) -> Experimented:
    """Run or finish every stage, one after the other.

    Raises:
        ValueError, RuntimeError: from a stage, with what to do; the stages before it are finished and stay.
    """
    started = time.monotonic()
    made: dict[str, Any] = {}
    console = Console(stderr=True)
    plan = list(stages(settings))
    for stage in plan:
        if isinstance(stage.settings, TuneSettings) and not stage.artifact.finished:
            make_plan(stage.settings)  # a space that cannot be is found before any work
    with _cluster(settings, plan):
        for number, stage in enumerate(plan, 1):
            console.print(
                f"[bold]{number}/{len(plan)} {stage.title}[/bold]  {stage.artifact.url}",
                highlight=False,
                soft_wrap=True,
            )
            made[stage.artifact.stage] = result = stage.run(stage.settings)
            console.print(f"    {str(result).splitlines()[0]}", highlight=False, markup=False, soft_wrap=True)
    tracking, seconds = settings.tracking, time.monotonic() - started
    return Experimented(
        made["evaluate"], made["report"], tracking.place, seconds, comparison_url(settings.domain, tracking)
    )


def stages(settings: ExperimentJob) -> Iterator[Stage]:
    """The recipe, with what the stages share filled in. Trajectories to convert are made before, by jobs/data.py."""
    for name in settings.pretrained:
        yield _stage(settings, name, f"Pretrain: {name}", "pretrain", run_pretrain)
    yield _stage(settings, "label", "Label", "label", run_label)
    for name in settings.trained:
        yield _stage(settings, name, f"Train {name}", "train", run_train)
    if "tune" in settings.blocks:
        yield _stage(settings, "tune", "Tune", "tune", run_tune)
    yield _stage(settings, "evaluate", "Evaluate", "evaluate", run_evaluate)
    yield _stage(settings, "report", "Report", "report", run_report)


def _stage(settings: ExperimentJob, block: str, title: str, stage: str, run: Callable[[Any], Any]) -> Stage:
    filled = settings_of(settings, block)
    return Stage(title, filled.artifact(stage), run, filled)


def _cluster(settings: ExperimentJob, plan: list[Stage]) -> AbstractContextManager[None]:
    """Ray for all stages together; none is started where everything but the report is finished."""
    done = all(stage.artifact.finished for stage in plan if stage.artifact.stage != "report")
    return nullcontext() if done and not settings.overwrite else connect(settings.cluster)
