"""The train stage: Ray Train for learners that descend gradients, one remote task for those that are fitted at once.

A stopped run goes on from its last epoch when the same command is given again: checkpoints stand in the artifact's
folder under a name made of the labels' fingerprint, so labels that changed meanwhile start a new training.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Unpack

import torch
from pydantic import Field, create_model

from stepward.core.artifacts import Manifest, fingerprint
from stepward.core.config import Plain, one_of, validate
from stepward.core.learning import Trained
from stepward.core.stage import StageSettings
from stepward.core.wing import Wing, find_wing
from stepward.label import comes_with_data, label_kinds, label_settings, make_labels
from stepward.runtime.cluster import ClusterSettings, connect
from stepward.runtime.tracking import Tracking, track
from stepward.runtime.workers import Ended, TrainingError, TrainPool, has_checkpoint, on_worker, train_on_ray
from stepward.train import TrainSettings, state_arrays, train_settings, training
from stepward.train.artifact import finish
from stepward.train.checkpoints import Checkpoint
from stepward.train.trainer import Options

__all__ = ["TrainJob", "TrainPool", "TrainResult", "TrainingError", "run_train", "shipped", "train_job"]


ROWS = 2000  # a batch of given labels


class TrainJob(TrainSettings):
    """All settings of jobs/train.py; `train_job` narrows them to a domain."""

    NOT_IDENTITY: ClassVar[frozenset[str]] = TrainSettings.NOT_IDENTITY | {"given"}  # `label` names what they become

    given: Any = Field(None, description="labels that come with the data, to learn from without a labelling run")
    pool: TrainPool = Field(TrainPool(), description="workers and retries")
    cluster: ClusterSettings = Field(ClusterSettings(), description="which Ray cluster does the work")
    tracking: Tracking = Field(Tracking(), description="where the finished artifact is logged")


@dataclass(frozen=True)
class TrainResult:
    """What a run of the train stage made."""

    url: str
    manifest: Manifest
    metrics: dict[str, float]
    seconds: float
    was_finished: bool

    def __str__(self) -> str:
        made = "Already finished" if self.was_finished else f"Trained in {self.seconds:.1f} s"
        rows = self.manifest.rows
        shown = ", ".join(f"{name} {self.metrics[name]:.4f}" for name in SHOWN if name in self.metrics)
        return f"{made}: {rows['train']:,} training and {rows['validation']:,} validation rows; {shown}\n{self.url}"


SHOWN = ("validation_loss", "debiased_brier", "spearman_exact", "ece", "pairs", "triplet", "spearman_ranks")


def train_job(wing: Wing) -> type[TrainJob]:
    """Settings of the train job for a domain, with its kinds of label that come with the data."""
    job: Any = train_settings(wing, TrainJob)
    given = {name: kind for name, kind in label_kinds(wing).items() if comes_with_data(kind)}
    if not given:
        return job
    field: Any = (one_of(given) | None, Field(None, description=TrainJob.model_fields["given"].description))
    return create_model("TrainJob", __base__=job, __module__=__name__, given=field)


def run_train(settings: TrainJob) -> TrainResult:
    """Make or finish a train artifact, and track it. A finished one is returned at once.

    Raises:
        ValueError: the label artifact is missing, unfinished, damaged or lacks a column or a split; or this artifact is
            of other settings, or of labels that have changed since.
        TrainingError: workers died more often than `pool.max_failures`, or the training itself raised.
    """
    started, settings = time.monotonic(), with_labels(settings).settled()
    artifact, identity = settings.artifact("train"), settings.identity()
    with artifact.claim(identity, overwrite=settings.overwrite, worth=lambda: has_checkpoint(artifact)) as was_finished:
        manifest = artifact.open() if was_finished else _make(settings, started)
    track(artifact, settings.tracking)
    metrics = artifact.folder.read_json("metrics.json")
    return TrainResult(artifact.url, manifest, metrics, time.monotonic() - started, was_finished)


def with_labels(settings: TrainJob) -> TrainJob:
    """The settings with the name of labels that exist: given ones are made into an artifact here.

    That is named by what it holds, or by `label`. It needs neither a policy nor a cluster.
    """
    if settings.given is None:
        return settings
    values = {"domain": settings.domain, "store": settings.store, "seed": settings.seed, "labels": settings.given}
    job = validate(label_settings(settings.wing), values)
    unnamed = settings.label == TrainJob.model_fields["label"].default
    name = f"given-{fingerprint(job.identity())[:8]}" if unnamed else settings.label
    make_labels(job.model_copy(update={"name": name}), batch_size=ROWS)
    return settings.model_copy(update={"label": name})


def _make(settings: TrainJob, started: float) -> Manifest:
    fingerprint = settings.artifact("label", settings.label).open().fingerprint
    settings.learning.check(settings)
    with connect(settings.cluster):
        trained = _fit_on_ray(settings) if settings.fitted_at_once else _train_on_ray(settings, f"run-{fingerprint}")
    return finish(settings, trained, started)


def shipped(settings: StageSettings, *leave_out: str) -> dict[str, object]:
    """The settings as plain values: classes made for a domain do not travel, their values do.

    Those of the cluster are not a worker's business. The store becomes an absolute path, because workers of Ray Train
    run in a folder of their own.
    """
    store = settings.store if "://" in settings.store else str(Path(settings.store).resolve())
    left_out = {"overwrite", "pool", "cluster", "tracking", "given", *leave_out}
    return settings.model_dump(mode="json", exclude=left_out) | {"store": store}


def train(config: Plain) -> Ended | None:
    """The function Ray Train runs on every worker; see `on_worker`."""

    def checkpoints(device: torch.device | str, **options: Unpack[Options]) -> Iterator[Checkpoint]:
        settings = _received(config["settings"])
        labels, validation = (settings.learning.read(settings, split) for split in ("train", "validation"))
        return training(settings.learning.task(settings, labels, validation, device), **options)

    return on_worker(config, checkpoints)


def fit(values: Plain) -> Trained:
    """Fit a learner in one call to the training split."""
    settings = _received(values)
    labels, validation = (settings.learning.read(settings, split) for split in ("train", "validation"))
    return Trained(settings.learning.fit(settings, labels, validation)[0], [], 0)


def _received(values: Plain) -> TrainSettings:
    return train_settings(find_wing(values["domain"])).model_validate(values)


def _train_on_ray(settings: TrainJob, run: str) -> Trained:
    """Weights of the best epoch, from a Ray Train run that resumes itself by its name."""
    found = train_on_ray(train, shipped(settings), settings.pool, settings.artifact("train"), run)
    return Trained(state_arrays(found.best), found.progress.history, found.progress.best_epoch)


def _fit_on_ray(settings: TrainJob) -> Trained:
    import ray

    pool = settings.pool.resolve()
    task = ray.remote(num_cpus=pool.cpus_per_worker, max_retries=pool.max_failures)(fit)
    try:
        found: Trained = ray.get(task.remote(shipped(settings, "objective", "optimisation")))
    except ray.exceptions.RayTaskError as error:
        raise TrainingError(f"Training stopped: {error.as_instanceof_cause()}") from error
    return found
