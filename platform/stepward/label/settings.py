"""Settings of the label stage, without those that say where and how fast it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, create_model

from stepward.core.artifacts import Artifact
from stepward.core.config import Config, one_of
from stepward.core.registry import plugins
from stepward.core.stage import StageSettings
from stepward.core.weights import data_digest
from stepward.core.wing import Wing
from stepward.label.counts import ContinuationLabels

SPLITS = ("train", "validation", "test")


class LabelSettings(StageSettings):
    """What is labelled and how. `label_settings` narrows the fields to a domain's own classes."""

    problems: Any
    mining: Any
    proposer: Any
    labels: Any = Field(ContinuationLabels(), description="what a label holds")

    def identity(self) -> dict[str, Any]:
        """The settings, and what the user's problems hold: the same file or folder may hold others later."""
        path = getattr(self.problems, "path", None)
        digest = None if path is None else data_digest(self.here(path))
        return super().identity() | ({} if digest is None else {"problems_sha256": digest})

    def inputs(self) -> dict[str, Artifact]:
        """Artifacts that the labels are made from, such as a pretrained surrogate, by role."""
        return self.named_artifacts(self.problems, self.mining, self.proposer)

    @property
    def default_proposer(self) -> bool:
        """Whether rollouts follow the domain's own default policy, which is the one a wing's exact values are about."""
        return bool(self.proposer == type(self).model_fields["proposer"].get_default())


def label_kinds(wing: Wing) -> Mapping[str, type[Config]]:
    """Kind -> settings class, a `LabelKind`: those of the wing (continuations if it names none) and of plug-ins."""
    return {**(wing.labels or {"continuations": ContinuationLabels}), **plugins(f"labels.{wing.name}")}


def label_settings(wing: Wing, base: type[LabelSettings] = LabelSettings) -> type[LabelSettings]:
    """`base` with the problems, the mining and the proposers of a domain as typed fields."""
    first, kinds = next(iter(wing.proposers.values())), label_kinds(wing)
    fields: dict[str, Any] = {
        "domain": (str, Field(wing.name, description="which domain: the name of an installed wing")),
        "problems": (wing.problems, Field(wing.problems(), description="where problems come from")),
        "mining": (wing.mining, Field(wing.mining(), description="which partial solutions are labelled")),
        "proposer": (one_of(wing.proposers), Field(first(), description="the policy that the labels are about")),
        "labels": (one_of(kinds), Field(next(iter(kinds.values()))(), description="what a label holds")),
    }
    return create_model("LabelSettings", __base__=base, __module__=__name__, **fields)
