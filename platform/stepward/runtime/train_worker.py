"""What a worker of Ray Train does: read the labels, descend, report every epoch with a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from stepward.core.wing import find_wing
from stepward.evaluate import debiased_brier, spearman
from stepward.runtime.parallel import last_checkpoint, my_rank, report_epochs
from stepward.train import (
    Binomial,
    Checkpoint,
    Examples,
    LabelledStates,
    Pairwise,
    Rank,
    TrainSettings,
    epochs,
    make_examples,
    read_labels,
    seeded_module,
    state_arrays,
    train_settings,
)


@dataclass(frozen=True)
class Trained:
    """What training gave.

    Attributes:
        weights: name -> array.
        history: metrics of every epoch; empty for a learner fitted at once.
        best_epoch: epoch the weights are of; 0 for a learner fitted at once.
    """

    weights: dict[str, np.ndarray]
    history: list[dict[str, float]]
    best_epoch: int


def fit(values: dict[str, Any]) -> Trained:
    """Fit a learner in one call to the training split."""
    settings = _settings(values)
    labels = labels_of(settings, "train")
    weights = settings.learner.fit(labels.states, labels.successes, labels.num_rollouts, settings.seed)
    return Trained(weights, [], 0)


def train(config: dict[str, Any]) -> None:
    """The function Ray Train runs on every worker. `config`: shipped settings, and threads of a CPU worker."""
    from ray.train.torch import get_device

    from stepward.runtime.learning import learning_of

    torch.set_num_threads(config["threads"])
    settings, rank = _settings(config["settings"]), my_rank()
    steps = learning_of(settings.wing).steps(settings, get_device(), start=last_checkpoint(), rank=rank)
    report_epochs(steps, rank)


def steps(
    settings: TrainSettings, device: torch.device | str, *, start: Checkpoint | None, rank: Rank
) -> Iterator[Checkpoint]:
    """Checkpoints of a training from continuation counts, epoch by epoch, on one worker of a Ray Train run."""
    from ray.train.torch import prepare_model

    parallel: dict[str, Any] = {}
    if rank.world > 1:
        parallel = {"wrap": lambda module: prepare_model(module, move_to_device=False), "agree": _from_first_worker}
    labels, validation = (labels_of(settings, split) for split in ("train", "validation"))
    return descend(settings, labels, validation, device, start=start, rank=rank, **parallel)


def descend(
    settings: TrainSettings,
    labels: LabelledStates,
    validation: LabelledStates,
    device: torch.device | str,
    **options: Any,
) -> Iterator[Checkpoint]:
    """The epoch loop over labelled states, with the metrics of every epoch; `options` are further ones of `epochs`."""
    return epochs(
        seeded_module(settings.learner.module, settings.seed).to(device),
        _examples(settings, labels),
        make_examples(settings.learner.encode(validation.states), *_counts(validation), Binomial(), pool=False),
        settings.objective,
        settings.optimisation,
        seed=settings.seed,
        judge=_judge(validation),
        **options,
    )


def read_result(result: Any) -> Trained:
    """Weights of the best epoch, and the history, from the last checkpoint of a finished run."""
    with result.checkpoint.as_directory() as folder:
        checkpoint = Checkpoint.load(folder)
    return Trained(state_arrays(checkpoint.best), checkpoint.progress.history, checkpoint.progress.best_epoch)


def _settings(values: dict[str, Any]) -> TrainSettings:
    """Settings from shipped values; those of the cluster are not the worker's business."""
    wanted = train_settings(find_wing(values["domain"]))
    return wanted.model_validate({name: value for name, value in values.items() if name in wanted.model_fields})


def labels_of(settings: TrainSettings, split: str) -> LabelledStates:
    """Labels of a split; of the training split, those that are learned from."""
    labels = read_labels(settings.artifact("label", settings.label).folder, settings.wing, split)
    return settings.subset.of(labels, settings.seed) if split == "train" else labels


def _counts(labels: LabelledStates) -> tuple[np.ndarray, np.ndarray]:
    return labels.successes, labels.num_rollouts


def _judge(labels: LabelledStates) -> Callable[[Float[np.ndarray, " n"]], dict[str, float]]:
    """Metrics of an epoch from validation probabilities, one a row of `labels`."""

    def judge(probabilities: Float[np.ndarray, " n"]) -> dict[str, float]:
        found = {"debiased_brier": debiased_brier(probabilities, *_counts(labels))}
        if labels.exact is not None:
            found["spearman_exact"] = spearman(probabilities, labels.exact)
        return found

    return judge


def _examples(settings: TrainSettings, labels: LabelledStates) -> Examples:
    objective = settings.objective
    groups = labels.column_codes(objective.group_by) if isinstance(objective, Pairwise) else None
    bundle = getattr(settings.learner, "bundles", None)
    bundles = None if bundle is None else bundle(labels.states)
    sampling = settings.optimisation.sampling
    lengths = labels.column_numbers(sampling.length) if sampling.needs_lengths else None
    inputs = settings.learner.encode(labels.states)
    if hasattr(settings.learner, "beside"):
        inputs |= settings.learner.beside(labels.states, labels.successes / labels.num_rollouts)
    return make_examples(inputs, *_counts(labels), objective, groups, bundles=bundles, lengths=lengths)


def _from_first_worker(number: float) -> float:
    """The number that the first worker has: workers must agree on when to stop, to the last bit."""
    from ray.train.torch import get_device

    shared = torch.tensor(number, dtype=torch.float64, device=get_device())
    torch.distributed.broadcast(shared, src=0)
    return float(shared)
