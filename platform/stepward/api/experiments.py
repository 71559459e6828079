"""What a domain trains before it can label, and whole experiments, in this process."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from stepward.api.stages import Evaluation, evaluate_here, label_here, train_here, watching
from stepward.core.artifacts import Artifact
from stepward.core.config import override, parse_config, peek
from stepward.core.presets import expanded
from stepward.core.wing import find_wing
from stepward.train.pretraining import PretrainSettings, finish_pretraining, pretrain_settings
from stepward.train.workers import Workers

__all__ = ["experiment", "pretrain"]


def pretrain(domain: str, settings: Mapping[str, object] | None = None, **blocks: object) -> Artifact:
    """Train what a domain needs before it can label: a surrogate, a language model.

    Args:
        domain: name of a domain.
        settings: of jobs/pretrain.py, by dotted name, such as ``{"fit.epochs": 4}``.
        blocks: the same, a block each.

    Raises:
        ValueError: a setting is wrong, or the data cannot be learned from.
    """
    return pretrain_here(override(pretrain_settings(find_wing(domain)), blocks, dict(settings or {})))


def experiment(*arguments: str) -> Evaluation:
    """A whole experiment without Ray: everything up to the evaluation, but no sweep. Finished stages are passed over.

    Args:
        arguments: as jobs/experiment.py takes them: a preset, a file of settings, and ``name=value``.

    Raises:
        ValueError: a setting is wrong, or a stage says what it lacks.
    """
    from stepward.runtime.experiment import stages
    from stepward.runtime.experiment_settings import experiment_job

    written = expanded(arguments)
    job = parse_config(experiment_job(find_wing(peek(written, "domain", "walk"))), written)
    here: dict[str, Any] = {
        "pretrain": pretrain_here, "label": label_here, "train": train_here, "evaluate": evaluate_here,
    }  # fmt: skip
    made = {stage.artifact.stage: here[stage.artifact.stage](stage.settings)
            for stage in stages(job) if stage.artifact.stage in here}  # fmt: skip
    evaluation: Evaluation = made["evaluate"]
    return evaluation


def pretrain_here(job: PretrainSettings) -> Artifact:
    """An artifact of the pretrain stage by its settings, in this process."""
    artifact, kind, started = job.artifact("pretrain"), job.pretraining, time.monotonic()
    with artifact.claim(job.identity(), overwrite=job.overwrite) as finished:
        if not finished:
            kind.check(job)
            workers = Workers.here()
            with watching(f"Training {job.name}") as watch:
                *_, last = kind.checkpoints(job, workers.device, workers=workers, watch=watch)
            finish_pretraining(job, last, started)
    return artifact
