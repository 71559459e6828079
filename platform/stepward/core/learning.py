"""What a wing says of its trainings: how reward models learn from its labels, and what it trains before it can label.

Both are objects that a wing brings; stages ask them and know no domain. What goes through a stage unread (labels,
tasks, checkpoints) is the object's own, so nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from stepward.core.artifacts import Artifact

__all__ = ["Judged", "Learning", "Pretraining", "TrainStage", "Trained"]

W = TypeVar("W", contravariant=True)  # the wing, which holds its learning and so is not known here
Stage = TypeVar("Stage", contravariant=True)  # settings of the stage
L = TypeVar("L")  # labels of a split, as this learning reads them
T = TypeVar("T")  # what the training loop trains, or its checkpoints


@runtime_checkable
class TrainStage(Protocol):
    """What learning may ask of the settings of a training, beside the fields that it brings itself."""

    domain: str
    seed: int
    label: str
    learner: Any
    subset: Any
    objective: Any
    optimisation: Any

    @property
    def wing(self) -> Any:
        """The `stepward.core.wing.Wing` whose reward model is trained; a wing holds its learning, so not by type."""
        ...

    def artifact(self, stage: str, name: str | None = None) -> Artifact:
        """The artifact of a stage in the store of these settings."""
        ...


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


@dataclass(frozen=True)
class Judged:
    """What is written about something trained, beside its weights.

    Attributes:
        metrics: flat, with ``num_parameters``.
        rows: rows of "train" and "validation", or of whatever was read.
        tables: name -> table, shown as ``tables/<name>.parquet``.
        documents: file -> content as JSON.
        facts: further ones of the manifest.
        content: files that decide the digest of the artifact, where these are not just its weights.
    """

    metrics: dict[str, float]
    rows: dict[str, int]
    tables: dict[str, pa.Table] = field(default_factory=dict)
    documents: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    content: tuple[str, ...] = ()


@runtime_checkable
class Learning(Protocol[W, Stage, L, T]):
    """How reward models learn from one kind of label: what differs in the train and tune stages.

    In all methods `settings` are those of the train stage, with the fields of `fields`.
    """

    unit: str
    """What the validation loss is a number of, such as "nats a rollout"."""

    def fields(self, wing: W) -> dict[str, object]:
        """Fields of the settings of a training, as `pydantic.create_model` takes them."""
        ...

    def readable(self, labels: Artifact, wing: W) -> None:
        """Raise ValueError for labels of another kind."""
        ...

    def check(self, settings: Stage) -> None:
        """Find out here, and not after workers have started, that labels cannot be learned from: raise ValueError."""
        ...

    def read(self, settings: Stage, split: str) -> L:
        """Labels of a split ("train" or "validation"); of training, those that are learned from."""
        ...

    def task(self, settings: Stage, labels: L, validation: L, device: Any) -> T:
        """What the training loop trains; see `stepward.train.Task`."""
        ...

    def losses(self, task: T, validation: L) -> Float[np.ndarray, " p"]:
        """Loss of each validation problem by the module as it is now; their mean is the validation loss."""
        ...

    def fit(self, settings: Stage, labels: L, validation: L) -> tuple[dict[str, np.ndarray], Float[np.ndarray, " p"]]:
        """Weights of a learner that is fitted in one call, and its losses."""
        ...

    def facts(self, labels: L) -> dict[str, float]:
        """``num_rows`` and ``num_rollouts`` of the labels that a trial learned from."""
        ...

    def judge(self, settings: Stage, trained: Trained) -> Judged:
        """Judge trained weights by the validation labels."""
        ...


@runtime_checkable
class Pretraining(Protocol[W, Stage, T]):
    """What a domain trains before it can label, such as a language model or a surrogate.

    In all methods but the first `settings` are those of the pretrain stage, with the fields of `fields`.
    """

    name: str
    """Default name of the artifact."""

    def fields(self, wing: W) -> dict[str, object]:
        """Fields of the settings of the stage, as `pydantic.create_model` takes them."""
        ...

    def agree(self, settings: Stage) -> None:
        """Raise ValueError for settings that contradict one another; called when they are made."""
        ...

    def inputs(self, settings: Stage) -> Mapping[str, Artifact]:
        """Artifacts that are read, by role."""
        ...

    def check(self, settings: Stage) -> None:
        """Find out before workers start that data and settings do not go together: raise ValueError."""
        ...

    def checkpoints(self, settings: Stage, device: Any, **options: Any) -> Iterator[T]:
        """Checkpoints of the training, epoch by epoch; `options` are those of the training loop."""
        ...

    def write(self, settings: Stage, checkpoint: T) -> Judged:
        """Write what was trained into the artifact of the settings, and judge it."""
        ...

    def describe(self, url: str, metrics: Mapping[str, float]) -> str:
        """What came out, in a line, and where it is, in another."""
        ...
