"""Learning from continuation counts: see `stepward.runtime.learning`."""

from __future__ import annotations

from stepward.core.storage import Folder
from stepward.runtime.train_worker import steps
from stepward.runtime.trained_artifact import finish
from stepward.train import Pairwise, TrainSettings, read_labels

__all__ = ["check", "finish", "steps"]


def check(settings: TrainSettings, labels: Folder) -> None:
    """Find out here, and not after workers have started, that labels cannot be used."""
    for split in ("train", "validation"):
        found = read_labels(labels, settings.wing, split)
        if split == "train":
            found = settings.subset.of(found, settings.seed)
        if isinstance(settings.objective, Pairwise):
            found.column_codes(settings.objective.group_by)
