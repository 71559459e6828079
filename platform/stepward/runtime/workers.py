"""Training on the workers of Ray Train: any training that gives checkpoints, epoch by epoch.

A worker that dies is started again, from the last epoch that Ray was told of. What would only happen again is not tried
again: an error that settings or data cause (`LASTING`) is handed to the driver as the result of the run.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import torch
from pydantic import Field

from stepward.core.artifacts import Artifact
from stepward.core.config import Config, Plain
from stepward.runtime.cluster import require_room, resources
from stepward.runtime.train_progress import Ticker, shown
from stepward.train import Checkpoint, DivergedError, Workers

__all__ = ["LASTING", "TrainPool", "TrainingError", "has_checkpoint", "on_worker", "train_on_ray"]

# Errors that the same settings and data cause again. Others, such as a lost connection, may pass.
LASTING = (
    DivergedError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    ImportError,
)
REPORT_SECONDS = 5.0  # between two checkpoints: Ray takes a second for each, many an epoch takes less
Steps = Callable[..., Iterator[Checkpoint]]


class TrainingError(RuntimeError):
    """The training cannot go on, or not now; its message says which."""


@dataclass(frozen=True)
class Ended:
    """An error that would come again, and whether it is a divergence."""

    error: str
    diverged: bool


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


def on_worker(config: Plain, checkpoints: Steps) -> Ended | None:
    """What a worker does: train from the last checkpoint, and tell Ray of the first epoch, the last, and some between.

    Args:
        config: ``threads`` of a CPU worker; ``folder`` in which the command was given, where a worker has it; and
            ``ticks``, where it says how far it is.
        checkpoints: ``(device, start=, workers=, watch=)`` -> checkpoints, epoch by epoch.

    Returns:
        What ended the training for good; None if it ended well.
    """
    with suppress(OSError):  # Ray Train starts workers elsewhere, where a user's relative path means nothing
        os.chdir(config["folder"])
    torch.set_num_threads(config["threads"])
    workers, begun = Workers.here(), False
    try:
        steps = checkpoints(
            workers.device, start=_last_checkpoint(), workers=workers, watch=Ticker(config["ticks"], workers.rank)
        )
        checkpoint, reported = None, float("-inf")
        for checkpoint in steps:
            begun, now = True, time.monotonic()
            if workers.agree(now - reported) >= REPORT_SECONDS:
                _report(checkpoint, workers)
                checkpoint, reported = None, time.monotonic()
        if checkpoint is not None:
            _report(checkpoint, workers)
    except LASTING as error:
        if begun and workers.world > 1 and not isinstance(error, DivergedError):
            raise  # the others may wait for this one; only a divergence is seen by all alike
        named = isinstance(error, DivergedError | ValueError)
        return Ended(str(error) if named else f"{type(error).__name__}: {error}", isinstance(error, DivergedError))
    return None


def has_checkpoint(artifact: Artifact) -> bool:
    """Whether a training or a sweep in the artifact's folder came far enough to go on from."""
    folders = (PurePosixPath(name).parts[:-1] for name in artifact.folder.files())
    return any(part.startswith("checkpoint_") for parts in folders for part in parts)


def _last_checkpoint() -> Checkpoint | None:
    """What an earlier run of this training left."""
    import ray.train

    found = ray.train.get_checkpoint()
    if found is None:
        return None
    with found.as_directory() as folder:
        return Checkpoint.load(folder)


def _report(checkpoint: Checkpoint, workers: Workers) -> None:
    """Tell Ray of an epoch; the first worker hands over the checkpoint."""
    import ray.train

    metrics: dict[str, Any] = dict(checkpoint.progress.history[-1])
    if workers.rank:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        checkpoint.save(folder)
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))


def train_on_ray(
    function: Callable[[Plain], Ended | None],
    values: Plain,
    pool: TrainPool,
    artifact: Artifact,
    run: str,
) -> Checkpoint:
    """Run a training function on the workers of a pool; returns its last checkpoint.

    Args:
        function: called on every worker with `config`: ``settings`` are `values`, and what `on_worker` wants.
        run: name of the run in the artifact's folder; one that is there goes on.

    Raises:
        TrainingError: workers died more often than `pool.max_failures`, or the function raised.
    """
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    pool, folder = pool.resolve(), artifact.folder
    threads = max(int(pool.cpus_per_worker), 1)
    trainer = TorchTrainer(
        function,
        train_loop_config={"settings": values, "threads": threads, "ticks": artifact.url, "folder": os.getcwd()},
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
        with shown(artifact.url, f"{artifact.stage.capitalize()} {artifact.name}"):
            result = trainer.fit()
    except Exception as error:  # Ray wraps whatever a worker raised in errors of its own
        raise TrainingError(_explain(error, folder.url)) from error
    ended: Ended | None = result.return_value
    if ended is not None:
        if ended.diverged:
            folder.delete(run)  # nothing of it can be taken up, and the name is free for other settings
        raise TrainingError(f"{ended.error}\nThe same command would stop there again, so it was not retried.")
    with result.checkpoint.as_directory() as place:
        return Checkpoint.load(place)


def _explain(error: BaseException, url: str) -> str:
    failures = getattr(error, "worker_failures", None) or {}
    shown = "; ".join(f"worker {rank}: {type(e).__name__}: {e}" for rank, e in failures.items()) or str(error)
    return (
        f"Training stopped: {shown}\nFinished epochs are kept in {url}. Mend the cause, then run the same command "
        "again: it goes on where it stopped."
    )
