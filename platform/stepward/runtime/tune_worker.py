"""What one trial of a sweep does in its worker: the training loop, reported every epoch so that it can be stopped.

A report carries a checkpoint, from which an interrupted trial goes on, and the trial's losses so far, which is all that
the driver reads in the end.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from stepward.core.config import Plain
from stepward.core.wing import find_wing
from stepward.evaluate.trial import ArmTrial, arm_trial_settings, judge_trial
from stepward.train import Checkpoint, Progress, TrainSettings, train_settings, training
from stepward.tune import Space

OUTCOME, LOSSES = "outcome.json", "losses.npy"


class RaisedBeforeError(Exception):
    """A trial that raised is taken up with others; the text is its first error."""


@dataclass
class Standing:
    """Where a trial stands after an epoch, as its checkpoint holds it.

    Attributes:
        progress: history and best epoch.
        losses: share of each validation problem in the loss of the best epoch; empty if no loss was finite.
        facts: fields of a `Trial`, and patience_out.
    """

    progress: Progress
    losses: Float[np.ndarray, " p"]
    facts: dict[str, Any]

    def save(self, folder: str) -> None:
        """Writes it into the folder of a checkpoint."""
        np.save(Path(folder, LOSSES), self.losses)
        content = {"history": self.progress.history, "best_epoch": self.progress.best_epoch, "facts": self.facts}
        Path(folder, OUTCOME).write_text(json.dumps(content))

    @classmethod
    def load(cls, folder: str) -> Standing:
        """Reads it from the folder of a checkpoint."""
        content = json.loads(Path(folder, OUTCOME).read_text())
        history, best = content["history"], content["best_epoch"]
        losses = np.load(Path(folder, LOSSES), allow_pickle=False)
        return cls(Progress(len(history), history, best), losses, content["facts"])


def run_trial(
    config: Plain,
    *,
    base: Plain,
    space: Space,
    threads: int,
    device: str,
    of: str = "train",
    raised: Mapping[str, str] | None = None,
) -> None:
    """The function Ray Tune runs: one trial.

    Args:
        config: what Tune hands out; see `trial_values`.
        base: plain train settings that are of the sweep.
        raised: key of trials that raised in this run -> what; Tune takes them up beside those whose workers died.
    """
    from ray import tune

    if known := (raised or {}).get(trial_key(config)):
        raise RaisedBeforeError(known)
    torch.set_num_threads(threads)
    wing = find_wing(base["domain"])
    if of != "train":
        _report_search(space.settings(arm_trial_settings(wing), base, trial_values(config, space)))
        return
    settings = space.settings(train_settings(wing), base, trial_values(config, space)).settled()
    found = tune.get_checkpoint()
    with tempfile.TemporaryDirectory() as scratch:
        start = None if found is None else found.to_directory(scratch)
        for standing, checkpoint in trial(settings, device, start):
            with tempfile.TemporaryDirectory() as folder:
                standing.save(folder)
                if checkpoint is not None:
                    checkpoint.save(folder)
                tune.report(standing.progress.history[-1], checkpoint=tune.Checkpoint.from_directory(folder))


def _report_search(settings: ArmTrial) -> None:
    """A trial of searches: a history of one row."""
    from ray import tune

    losses, cost = judge_trial(settings)
    progress = Progress()
    progress.note({"validation_loss": float(losses.mean()), **cost})
    standing = Standing(progress, losses, {"num_rows": len(losses), "flops": cost["mean_flops"]})
    with tempfile.TemporaryDirectory() as folder:
        standing.save(folder)
        tune.report(progress.history[-1], checkpoint=tune.Checkpoint.from_directory(folder))


def trial(settings: TrainSettings, device: str, start: str | None) -> Iterator[tuple[Standing, Checkpoint | None]]:
    """A training, epoch by epoch, from the checkpoint in the folder `start` if there is one.

    A learner that is fitted in one call has a history of one row.
    """
    learning = settings.learning
    labels, validation = (learning.read(settings, split) for split in ("train", "validation"))
    if settings.fitted_at_once:
        weights, losses = learning.fit(settings, labels, validation)
        progress = Progress()
        progress.note({"validation_loss": float(losses.mean())})
        num_parameters = int(sum(np.prod(array.shape) for array in weights.values()))
        yield Standing(progress, losses, {"num_parameters": num_parameters, **learning.facts(labels)}), None
        return
    task = learning.task(settings, labels, validation, device)
    losses = np.zeros(0) if start is None else Standing.load(start).losses
    num_parameters = sum(parameter.numel() for parameter in task.module.parameters())
    for checkpoint in training(task, start=None if start is None else Checkpoint.load(start)):
        progress = checkpoint.progress
        if progress.best_epoch == progress.epochs_done:
            losses = learning.losses(task, validation)
        facts = {"num_parameters": num_parameters, "patience_out": progress.out_of_patience(task.patience)}
        yield Standing(progress, losses, facts | learning.facts(labels)), checkpoint


def trial_key(config: Mapping[str, object]) -> str:
    """What tells a trial from the others of its sweep."""
    return json.dumps(config, sort_keys=True, default=str)


def trial_values(config: Plain, space: Space) -> dict[str, object]:
    """Value of each dimension: drawn beforehand, or suggested, where a choice is the index of its value."""
    if "drawn" in config:
        return dict(config["drawn"]["values"])
    picked = {name: config[name] for name in space.dimensions}
    return {name: space.dimensions[name].suggested(value) for name, value in picked.items()}
