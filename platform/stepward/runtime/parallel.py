"""What workers of Ray Train share: averaging gradients, the last checkpoint, and reporting an epoch with its own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from typing import Any

import torch

from stepward.train import Checkpoint, Rank


def my_rank() -> Rank:
    """Place of this worker among the workers of a Ray Train run."""
    import ray.train

    context = ray.train.get_context()
    return Rank(context.get_world_rank(), context.get_world_size())


def average_gradients(parameters: list[torch.nn.Parameter]) -> None:
    """Make gradients those of the whole minibatch, of which each worker saw an equal share."""
    if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
        return
    for parameter in parameters:
        if parameter.grad is not None:
            torch.distributed.all_reduce(parameter.grad)
            parameter.grad /= torch.distributed.get_world_size()


def last_checkpoint() -> Checkpoint | None:
    """What an earlier run of this training left."""
    import ray.train

    found = ray.train.get_checkpoint()
    if found is None:
        return None
    with found.as_directory() as folder:
        return Checkpoint.load(folder)


def report_epochs(steps: Iterable[Checkpoint], rank: Rank) -> None:
    """Tell Ray Train of every epoch; the first worker hands over the checkpoint."""
    import ray.train

    for checkpoint in steps:
        metrics: dict[str, Any] = dict(checkpoint.progress.history[-1])
        if rank.rank:
            ray.train.report(metrics)
            continue
        with tempfile.TemporaryDirectory() as folder:
            checkpoint.save(folder)
            ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))
