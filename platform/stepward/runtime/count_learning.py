"""Learning from continuation counts: see `stepward.runtime.learning`."""

from __future__ import annotations

from stepward.core.artifacts import Artifact
from stepward.core.storage import Folder
from stepward.core.wing import Wing
from stepward.runtime.train_worker import steps
from stepward.runtime.trained_artifact import finish
from stepward.runtime.tune_worker import count_trial as trial
from stepward.train import Pairwise, TrainSettings, read_labels

__all__ = ["LOSS", "check", "finish", "readable", "steps", "trial"]

LOSS = "nats a rollout"


def readable(labels: Artifact, wing: Wing) -> None:
    """Raise ValueError for labels that a sweep cannot read."""
    for split in ("train", "validation"):
        read_labels(labels.folder, wing, split)


def check(settings: TrainSettings, labels: Folder) -> None:
    """Find out here, and not after workers have started, that labels cannot be used."""
    for split in ("train", "validation"):
        found = read_labels(labels, settings.wing, split)
        if split == "train":
            found = settings.subset.of(found, settings.seed)
        if isinstance(settings.objective, Pairwise):
            found.column_codes(settings.objective.group_by)
        if settings.optimisation.sampling.needs_lengths:
            found.column_numbers(settings.optimisation.sampling.length)
