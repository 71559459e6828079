"""What every stage does by default, so that pages and runs name only what differs."""

from __future__ import annotations

from typing import Any

from stepward.core.config import Plain
from stepward.core.stage import StageSettings
from stepward.core.wing import Wing
from stepward.evaluate.settings import evaluate_settings
from stepward.label import label_settings
from stepward.train import train_settings
from stepward.train.pretraining import pretrain_settings
from stepward.tune import tune_settings


def usual_settings(wing: Wing) -> dict[str, Plain]:
    """Stage -> settings of its job without arguments, as plain values."""
    jobs: dict[str, Any] = {"label": label_settings(wing), "evaluate": evaluate_settings(wing)}
    jobs |= {"train": train_settings(wing), "tune": tune_settings(wing)} if wing.learners else {}
    jobs |= {"pretrain": pretrain_settings(wing)} if wing.pretraining else {}
    found = {stage: StageSettings.identity(job()) for stage, job in jobs.items()}
    found.get("tune", {}).pop("space", None)  # a path here and its content in the artifact
    return found
