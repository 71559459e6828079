"""Settings of the label stage, without those that say where and how fast it runs."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from pydantic import Field, create_model

from stepward.core.config import Config, one_of
from stepward.core.stage import StageSettings
from stepward.core.wing import Wing

SPLITS = ("train", "validation", "test")


class ContinuationLabels(Config):
    """How many rollouts M a partial solution gets: enough to learn from, and more to judge by."""

    num_rollouts_train: int = Field(64, ge=1, description="rollouts M a training row: standard error at most .063")
    num_rollouts_validation: int = Field(256, ge=1, description="rollouts M a validation row: at most .031")
    num_rollouts_test: int = Field(256, ge=1, description="rollouts M a test row: at most .031")

    def num_rollouts(self, split: str) -> int:
        return int(getattr(self, f"num_rollouts_{split}"))


class LabelSettings(StageSettings):
    """What is labelled and how. `label_settings` narrows the first three fields to a domain's own classes."""

    problems: Any
    mining: Any
    proposer: Any
    labels: ContinuationLabels = Field(ContinuationLabels(), description="Monte-Carlo continuation labels")

    def identity(self) -> dict[str, Any]:
        """The settings, and what is in the user's file of problems: the same path may hold other problems later."""
        path = getattr(self.problems, "path", None)
        content = {} if path is None or not Path(path).is_file() else {"problems_sha256": _sha256(path)}
        return super().identity() | content

    @property
    def default_proposer(self) -> bool:
        """Whether rollouts follow the domain's own default policy, which is the one a wing's exact values are about."""
        return bool(self.proposer == type(self).model_fields["proposer"].get_default())


def label_settings(wing: Wing, base: type[LabelSettings] = LabelSettings) -> type[LabelSettings]:
    """`base` with the problems, the mining and the proposers of a domain as typed fields."""
    first = next(iter(wing.proposers.values()))
    fields: dict[str, Any] = {
        "domain": (str, Field(wing.name, description="which domain: the name of an installed wing")),
        "problems": (wing.problems, Field(wing.problems(), description="where problems come from")),
        "mining": (wing.mining, Field(wing.mining(), description="which partial solutions are labelled")),
        "proposer": (one_of(wing.proposers), Field(first(), description="the policy that the labels are about")),
    }
    if wing.rollouts:
        labels = ContinuationLabels(**{f"num_rollouts_{split}": num for split, num in wing.rollouts.items()})
        fields["labels"] = (ContinuationLabels, Field(labels, description="Monte-Carlo continuation labels"))
    return create_model("LabelSettings", __base__=base, __module__=__name__, **fields)


def _sha256(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
