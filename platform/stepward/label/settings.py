"""Settings of the label stage, without those that say where and how fast it runs."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import Any, ClassVar

from pydantic import Field, create_model

from stepward.core.artifacts import Artifact
from stepward.core.config import Config, one_of, with_defaults
from stepward.core.registry import lookup
from stepward.core.stage import StageSettings
from stepward.core.weights import data_digest
from stepward.core.wing import Wing
from stepward.label.methods import METHODS, Fixed

SPLITS = ("train", "validation", "test")

# What a label can be: a settings class with `task(settings, in_flight)`, which makes what labels tables, and
# `summary(work)`, which reads the labels once more at the end. Imported where asked for: rankings need torch.
KINDS = {
    "continuations": "stepward.label.settings:ContinuationLabels",
    "rankings": "stepward.label.rankings:RankingLabels",
}


class ContinuationLabels(Config):
    """How many rollouts M a partial solution gets: enough to learn from, and more to judge by."""

    num_rollouts_train: int = Field(64, ge=1, description="rollouts M a training row: standard error at most .063")
    num_rollouts_validation: int = Field(256, ge=1, description="rollouts M a validation row: at most .031")
    num_rollouts_test: int = Field(256, ge=1, description="rollouts M a test row: at most .031")
    method: one_of(METHODS) = Field(  # type: ignore[valid-type]
        Fixed(),
        description="fixed: M rollouts each; adaptive: at most M; first_error: M where a binary search looks; outcome: "
        "no rollouts, the samples' own outcomes",
    )
    log_rollouts: bool = Field(False, description="keep what every rollout said, in rollouts/*.parquet")

    POOL: ClassVar[dict[str, int]] = {}  # defaults of the pool that suit these labels better than the general ones

    def num_rollouts(self, split: str) -> int:
        return int(getattr(self, f"num_rollouts_{split}"))

    @property
    def whole_problems(self) -> bool:
        """Whether all rows of a problem must be labelled together."""
        return bool(self.method.NEEDS_SAMPLES)

    def check(self, states: Any) -> None:
        """Whether states of the domain can be labelled so.

        Raises:
            ValueError: they cannot; it says which setting asks too much.
        """
        if self.method.NEEDS_SAMPLES and not hasattr(states, "paths"):
            raise ValueError(
                f"labels.method.kind={self.method.kind}: expected a domain whose partial solutions belong to finished "
                f"ones, but {type(states).__name__} has no paths(). Take fixed or adaptive."
            )
        if self.log_rollouts and (not hasattr(states, "rollout_columns") or self.method.kind == "outcome"):
            raise ValueError(
                f"labels.log_rollouts: expected rollouts that say something, but {type(states).__name__} has no "
                f"rollout_columns(), or method {self.method.kind} rolls nothing out. Leave it false."
            )

    def task(self, settings: LabelSettings, in_flight: int) -> Any:
        """What labels tables of rows; see `LabelTask`."""
        from stepward.label.task import LabelTask

        return LabelTask(settings, in_flight)

    def summary(self, work: Any) -> Any:
        """What the labels of all batches amount to; see `Summary`."""
        from stepward.label.summary import count_summary

        return count_summary(work)


class LabelSettings(StageSettings):
    """What is labelled and how. `label_settings` narrows the first three fields to a domain's own classes."""

    problems: Any
    mining: Any
    proposer: Any
    labels: Any = Field(ContinuationLabels(), description="Monte-Carlo continuation labels")

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


def label_settings(wing: Wing, base: type[LabelSettings] = LabelSettings) -> type[LabelSettings]:
    """`base` with the problems, the mining and the proposers of a domain as typed fields."""
    first = next(iter(wing.proposers.values()))
    fields: dict[str, Any] = {
        "domain": (str, Field(wing.name, description="which domain: the name of an installed wing")),
        "problems": (wing.problems, Field(wing.problems(), description="where problems come from")),
        "mining": (wing.mining, Field(wing.mining(), description="which partial solutions are labelled")),
        "proposer": (one_of(wing.proposers), Field(first(), description="the policy that the labels are about")),
    }
    labels_class: Any = resolve_name(lookup(KINDS, wing.labels, kind="kind of label"))
    labels_class = with_defaults(labels_class, wing.defaults.labels)
    fields["labels"] = (labels_class, Field(labels_class(), description="what a label holds"))
    return create_model("LabelSettings", __base__=base, __module__=__name__, **fields)
