"""The train stage: Ray Train for learners that descend gradients, one remote task for those that are fitted at once.

A stopped run goes on from its last epoch when the same command is given again: checkpoints stand in the artifact's
folder under a name made of the labels' fingerprint, so labels that changed meanwhile start a new training.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import Field

from stepward.core.artifacts import Artifact, Manifest
from stepward.core.config import Config
from stepward.core.wing import Wing
from stepward.runtime.cluster import ClusterSettings, connect, require_room, resources
from stepward.runtime.learning import learning_of
from stepward.runtime.tracking import Tracking, track
from stepward.runtime.train_worker import Trained, fit, train
from stepward.train import TrainSettings, train_settings

logger = logging.getLogger("stepward.train")


class TrainingError(RuntimeError):
    """The training cannot go on now; finished epochs are kept, and the same command takes it up."""


class TrainPool(Config):
    """The workers that train together."""

    num_workers: int = Field(1, ge=1, description="workers; each takes its share of every minibatch")
    cpus_per_worker: float = Field(
        1.0, gt=0, description="CPUs and threads of a worker; small networks gain nothing from more than one"
    )
    use_gpu: bool | None = Field(None, description="one GPU a worker; none: where there are enough of them")
    max_failures: int = Field(3, ge=0, description="how often workers that died are started again from the last epoch")

    def resolve(self) -> TrainPool:
        """These settings with the numbers that depend on the cluster filled in.

        Raises:
            ValueError: the cluster of this machine does not have room for all workers.
        """
        have = resources()
        gpu = have["GPU"] >= self.num_workers if self.use_gpu is None else self.use_gpu
        require_room("pool", self.num_workers, self.cpus_per_worker, float(gpu))
        return self.model_copy(update={"use_gpu": gpu})


class TrainJob(TrainSettings):
    """All settings of jobs/train.py; `train_job` narrows them to a domain."""

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
    """Settings of the train job for a domain."""
    return train_settings(wing, TrainJob)  # type: ignore[return-value]


def run_train(settings: TrainJob) -> TrainResult:
    """Make or finish a train artifact, and track it. A finished one is returned at once.

    Raises:
        ValueError: the label artifact is missing, unfinished, damaged or lacks a column or a split; or this artifact is
            of other settings, or of labels that have changed since.
        TrainingError: workers died more often than `pool.max_failures`, or the training itself raised.
    """
    started = time.monotonic()
    artifact, identity = settings.artifact("train"), settings.identity()
    with artifact.claim(identity, overwrite=settings.overwrite, worth=lambda: has_checkpoint(artifact)) as was_finished:
        manifest = artifact.open() if was_finished else _make(settings, started)
    track(artifact, settings.tracking)
    metrics = artifact.folder.read_json("metrics.json")
    return TrainResult(artifact.url, manifest, metrics, time.monotonic() - started, was_finished)


def _make(settings: TrainJob, started: float) -> Manifest:
    labels = settings.artifact("label", settings.label)
    fingerprint = labels.open().fingerprint
    learning = learning_of(settings.wing)
    learning.check(settings, labels.folder)
    with connect(settings.cluster):
        trained = _fit_on_ray(settings) if settings.fitted_at_once else _train_on_ray(settings, f"run-{fingerprint}")
    manifest: Manifest = learning.finish(settings, trained, started)
    return manifest


def has_checkpoint(artifact: Artifact) -> bool:
    """Whether a training or a sweep in the artifact's folder came far enough to go on from."""
    folders = (PurePosixPath(name).parts[:-1] for name in artifact.folder.files())
    return any(part.startswith("checkpoint_") for parts in folders for part in parts)


def shipped(settings: TrainJob) -> dict[str, Any]:
    """The settings as plain values: classes made for a domain do not travel, their values do.

    The store becomes an absolute path, because workers of Ray Train run in a folder of their own.
    """
    unset = {"objective", "optimisation"} if settings.fitted_at_once else set()
    store = settings.store if "://" in settings.store else str(Path(settings.store).resolve())
    return settings.model_dump(mode="json", exclude={"overwrite", "tracking", *unset}) | {"store": store}


def _train_on_ray(settings: TrainJob, run: str) -> Trained:
    """Weights of the best epoch, from a Ray Train run that resumes itself by its name."""
    from stepward.runtime.train_worker import read_result

    return read_result(train_on_ray(train, shipped(settings), settings.pool, settings.artifact("train"), run))


def train_on_ray(
    function: Callable[[dict[str, Any]], None], values: dict[str, Any], pool: TrainPool, artifact: Artifact, run: str
) -> Any:
    """Run a training function on the workers of a pool; returns Ray's result, whose checkpoint is the last one.

    Args:
        function: called on every worker with ``{"settings": values, "threads": threads of a CPU worker}``.
        run: name of the run in the artifact's folder; one that is there goes on.

    Raises:
        TrainingError: workers died more often than `pool.max_failures`, or the function raised.
    """
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    pool, folder = pool.resolve(), artifact.folder
    trainer = TorchTrainer(
        _where_the_command_was_given,
        train_loop_config={
            "settings": values,
            "threads": max(int(pool.cpus_per_worker), 1),
            "function": function,
            "folder": os.getcwd(),
        },
        scaling_config=ScalingConfig(
            num_workers=pool.num_workers,
            use_gpu=bool(pool.use_gpu),
            resources_per_worker={"CPU": pool.cpus_per_worker} | ({"GPU": 1} if pool.use_gpu else {}),
        ),
        run_config=RunConfig(
            name=run,
            storage_path=folder.url if "://" in folder.url else folder.path,
            failure_config=FailureConfig(max_failures=pool.max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
        ),
    )
    logging.getLogger("ray.train").setLevel(logging.ERROR)
    try:
        return trainer.fit()
    except Exception as error:  # Ray wraps whatever a worker raised in errors of its own
        raise TrainingError(_explain(error, folder.url)) from error


def _where_the_command_was_given(config: dict[str, Any]) -> None:
    """Run the training function in the driver's folder, where a worker has it: Ray Train starts workers elsewhere, and
    a relative path of a user's file would mean nothing there.
    """
    with suppress(OSError):
        os.chdir(config["folder"])
    config["function"](config)


def _fit_on_ray(settings: TrainJob) -> Trained:
    import ray

    pool = settings.pool.resolve()
    task = ray.remote(num_cpus=pool.cpus_per_worker, max_retries=pool.max_failures)(fit)
    try:
        return ray.get(task.remote(shipped(settings)))
    except ray.exceptions.RayTaskError as error:
        cause = error.as_instanceof_cause()
        raise TrainingError(_explain(cause, settings.artifact("train").url)) from error


def _explain(error: BaseException, url: str) -> str:
    failures = getattr(error, "worker_failures", None) or {}
    shown = "; ".join(f"worker {rank}: {type(e).__name__}: {e}" for rank, e in failures.items()) or str(error)
    return (
        f"Training stopped: {shown}\nFinished epochs are kept in {url}. Mend the cause, then run the same command "
        "again: it goes on where it stopped."
    )
