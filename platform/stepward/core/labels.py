"""What a kind of label is: settings that say what a label holds, label tables of rows, and sum the labels up.

A wing names its kinds in `Wing.labels`, the first being the default; a package adds one through the entry-point group
``stepward.labels.<domain>``. The stage that mines, batches, resumes and audits is the same for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import pyarrow as pa

from stepward.core.batch import Batch
from stepward.core.wing import Rejected, Wing

__all__ = ["LabelKind", "LabelParts", "LabelStage", "LabelTask", "Summary"]

T = TypeVar("T")


@dataclass(frozen=True)
class Summary:
    """Figures of all labels.

    Attributes:
        rows: "labels" and every split -> number of rows.
        metrics: flat figures.
        cost: what the labels took, beside seconds.
    """

    rows: dict[str, int]
    metrics: dict[str, float]
    cost: dict[str, float] = field(default_factory=dict)


@runtime_checkable
class LabelParts(Protocol):
    """The labels of an artifact, batch by batch."""

    def labels(self, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """Labels of one batch at a time, in the order of their names."""
        ...


@runtime_checkable
class LabelStage(Protocol):
    """What a kind of label may ask of the settings of its stage."""

    seed: int
    labels: Any
    proposer: Any

    @property
    def wing(self) -> Wing:
        """The domain whose states are labelled."""
        ...

    @property
    def default_proposer(self) -> bool:
        """Whether the proposer is the domain's own default policy."""
        ...

    def here(self, settings: T) -> T:
        """Settings with the artifacts that they name in the store of the stage."""
        ...


@runtime_checkable
class LabelTask(Protocol):
    """One worker's task, built once a worker.

    Attributes:
        whole: a column; neighbours of equal value are labelled together. None: rows are independent.
    """

    whole: str | None

    def __call__(self, rows: pa.Table) -> tuple[pa.Table, list[Rejected]]:
        """Labels of the rows of a batch that can be labelled, in order, and the others with what went wrong."""
        ...

    def label(self, rows: pa.Table) -> pa.Table:
        """Labels of rows, with a column `status`; raises what goes wrong with any of them."""
        ...

    def no_labels(self, rows: pa.Table) -> pa.Table:
        """A table without rows, of the columns that `label` gives."""
        ...


@runtime_checkable
class LabelKind(Protocol):
    """Settings of a kind of label: a `Config` with a field `kind`, its name among the kinds of the domain.

    A kind whose rows come with the data, rather than from a policy, may also be a `ProblemSource` and a `Mining`: the
    settings of problems and mining are then not used.
    """

    POOL: ClassVar[Mapping[str, int]]
    """Defaults of the pool that suit these labels better than the general ones."""

    @property
    def whole_problems(self) -> bool:
        """Whether all rows of a problem must be labelled together."""
        ...

    def check(self, states: Batch) -> None:
        """Raise ValueError where states of the domain cannot be labelled so; it says which setting asks too much."""
        ...

    def task(self, settings: LabelStage, in_flight: int) -> LabelTask:
        """What labels tables of rows; `in_flight` changes speed and memory, never a label."""
        ...

    def summary(self, labels: LabelParts) -> Summary:
        """What the labels of all batches amount to."""
        ...
