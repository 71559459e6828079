"""Continuation labels: how often the policy solves the problem from a partial solution, S of M rollouts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from stepward.core.batch import Batch
from stepward.core.config import Config, else_kind
from stepward.core.labels import LabelParts, LabelStage, Summary
from stepward.label.methods import Adaptive, FirstError, Fixed, Outcome
from stepward.label.summary import count_summary
from stepward.label.task import CountTask

__all__ = ["ContinuationLabels"]


class ContinuationLabels(Config):
    """How many rollouts M a partial solution gets: enough to learn from, and more to judge by."""

    kind: Literal["continuations"] = "continuations"
    num_rollouts_train: int = Field(64, ge=1, description="rollouts M a training row: standard error at most .063")
    num_rollouts_validation: int = Field(256, ge=1, description="rollouts M a validation row: at most .031")
    num_rollouts_test: int = Field(256, ge=1, description="rollouts M a test row: at most .031")
    method: Annotated[Fixed | Adaptive | FirstError | Outcome, Field(discriminator="kind"), else_kind("fixed")] = Field(
        Fixed(),
        description="fixed: M rollouts each; adaptive: at most M; first_error: M where a binary search looks; outcome: "
        "no rollouts, the samples' own outcomes",
    )
    log_rollouts: bool = Field(False, description="keep what every rollout said, in rollouts/*.parquet")

    POOL: ClassVar[Mapping[str, int]] = {}

    def num_rollouts(self, split: str) -> int:
        """M of a split."""
        return int(getattr(self, f"num_rollouts_{split}"))

    @property
    def whole_problems(self) -> bool:
        """Whether all rows of a problem must be labelled together."""
        return bool(self.method.NEEDS_SAMPLES)

    def check(self, states: Batch) -> None:
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

    def task(self, settings: LabelStage, in_flight: int) -> CountTask:
        """What labels tables of rows."""
        return CountTask(settings, in_flight)

    def summary(self, labels: LabelParts) -> Summary:
        """Mean labels, shares at 0 and at 1, and the rollouts."""
        return count_summary(labels)
