"""The pretrain stage: what a domain trains before it can label, on Ray Train.

A stopped run goes on from its last epoch when the same command is given again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Unpack, cast

import torch
from pydantic import Field

from stepward.core.artifacts import Manifest
from stepward.core.config import Plain
from stepward.core.wing import Wing, find_wing
from stepward.runtime.cluster import ClusterSettings, connect
from stepward.runtime.tracking import Tracking, track
from stepward.runtime.training import shipped
from stepward.runtime.workers import Ended, TrainPool, has_checkpoint, on_worker, train_on_ray
from stepward.train.checkpoints import Checkpoint
from stepward.train.pretraining import PretrainSettings, finish_pretraining, pretrain_settings
from stepward.train.trainer import Options

__all__ = ["PretrainJob", "Pretrained", "pretrain_job", "run_pretrain"]


class PretrainJob(PretrainSettings):
    """All settings of jobs/pretrain.py; `pretrain_job` adds the fields of a domain."""

    pool: TrainPool = Field(TrainPool(), description="workers and retries")
    cluster: ClusterSettings = Field(ClusterSettings(), description="which Ray cluster does the work")
    tracking: Tracking = Field(Tracking(), description="where the finished artifact is logged")


@dataclass(frozen=True)
class Pretrained:
    """What a run of the pretrain stage made."""

    url: str
    manifest: Manifest
    metrics: dict[str, float]
    description: str
    seconds: float
    was_finished: bool

    def __str__(self) -> str:
        made = "Already finished" if self.was_finished else f"Trained in {self.seconds:.1f} s"
        return f"{made}: {self.description}"


def pretrain_job(wing: Wing) -> type[PretrainJob]:
    """Settings of the pretrain job for a domain.

    Raises:
        ValueError: the domain has nothing to pretrain.
    """
    return cast(type[PretrainJob], pretrain_settings(wing, PretrainJob))


def run_pretrain(settings: PretrainJob) -> Pretrained:
    """Make or finish what the domain pretrains, and track it. A finished one is returned at once.

    Raises:
        ValueError: the artifact is of other settings, or an input is missing.
        TrainingError: workers died more often than `pool.max_failures`, or the training itself raised.
    """
    started = time.monotonic()
    artifact, identity, kind = settings.artifact("pretrain"), settings.identity(), settings.pretraining
    with artifact.claim(identity, overwrite=settings.overwrite, worth=lambda: has_checkpoint(artifact)) as was_finished:
        if not was_finished:
            kind.check(settings)
            run = "-".join(["run", *(source.manifest().fingerprint for source in kind.inputs(settings).values())])
            with connect(settings.cluster):
                checkpoint = train_on_ray(pretrain, shipped(settings), settings.pool, artifact, run)
            finish_pretraining(settings, checkpoint, started)
    manifest = artifact.open()
    track(artifact, settings.tracking)
    metrics = artifact.folder.read_json("metrics.json")
    description = kind.describe(artifact.url, metrics)
    return Pretrained(artifact.url, manifest, metrics, description, time.monotonic() - started, was_finished)


def pretrain(config: Plain) -> Ended | None:
    """The function Ray Train runs on every worker; see `on_worker`."""

    def checkpoints(device: torch.device | str, **options: Unpack[Options]) -> Iterator[Checkpoint]:
        values = config["settings"]
        settings = pretrain_settings(find_wing(values["domain"])).model_validate(values)
        return settings.pretraining.checkpoints(settings, device, **options)

    return on_worker(config, checkpoints)
