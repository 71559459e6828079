"""Trivial rivals: what a trained guide must beat before anything is claimed for it. A wing declares its own.

A rival is a settings class, by what it has:

    build(domain) -> RewardModel                         a rule that needs no training
    fit(material), reward(weights) -> RewardModel        a small model, such as a logistic regression on word pairs
    fit(material), proposer(weights, policy) -> Proposer one answer without a choice, such as the best constant

Fitting is part of an evaluation: from training labels, with validation labels choosing what there is to choose. It is a
function of the material alone, and it never sees the test split.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stepward.core.interfaces import Proposer, RewardModel
from stepward.core.storage import Folder

__all__ = ["FittedRival", "LearnedRival", "Material", "SteadyRival"]


@dataclass(frozen=True)
class Material:
    """What rivals are fitted to.

    Attributes:
        labels: folder of the label artifact that is evaluated.
        wing: the domain.
        policy: makes the proposer that was labelled.
        measure: name of the measure that the evaluation is about.
        seed: of the evaluation.
    """

    labels: Folder
    wing: Any
    policy: Callable[[], Proposer]
    measure: str
    seed: int

    def problems(self, split: str) -> pa.Table:
        """Problems of "train" or "validation", ordered by id."""
        return self._of(self.labels.read_table("problems.parquet"), split)

    def rows(self, split: str) -> pa.Table:
        """Good labels of "train" or "validation", ordered by id."""
        table = self.labels.read_table("labels")
        return self._of(table.filter(pc.equal(table["status"], "ok")), split)

    @staticmethod
    def _of(table: pa.Table, split: str) -> pa.Table:
        if split not in ("train", "validation"):
            raise ValueError(f"split: expected train or validation, because rivals never see test; got {split!r}")
        return table.filter(pc.equal(table["split"], split)).sort_by("id").combine_chunks()


@dataclass(frozen=True)
class FittedRival:
    """What fitting gave: arrays by name, and what was chosen and by what, as plain values for people to read."""

    weights: dict[str, np.ndarray]
    chosen: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
class LearnedRival(Protocol):
    """A rival that scores, and is fitted first."""

    def fit(self, material: Material) -> FittedRival:
        """Weights from the material, a function of it alone."""
        ...

    def reward(self, weights: Mapping[str, np.ndarray]) -> RewardModel:
        """The reward model with these weights."""
        ...


@runtime_checkable
class SteadyRival(Protocol):
    """A rival that proposes one answer and needs no choice."""

    def fit(self, material: Material) -> FittedRival:
        """Weights from the material, a function of it alone."""
        ...

    def proposer(self, weights: Mapping[str, np.ndarray], policy: Proposer) -> Proposer:
        """The proposer with these weights; `policy` is the one that was labelled."""
        ...
