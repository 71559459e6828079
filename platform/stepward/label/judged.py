"""Labels by a rule: the base of kinds that ask neither a policy nor a person, such as an exact check of a state."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from jaxtyping import Real

from stepward.core.config import Config
from stepward.core.labels import LabelParts, LabelStage, Summary
from stepward.core.wing import Rejected
from stepward.label.summary import count_summary
from stepward.label.task import salvage

__all__ = ["JudgedLabels"]


class JudgedLabels(Config):
    """S successes of M for every state, as `judge` says; with M = 1, S may be any number from 0 to 1.

    A subclass has a field `kind`, its name, and `judge`.
    """

    POOL: ClassVar[Mapping[str, int]] = {}

    @property
    def whole_problems(self) -> bool:
        """Rows are independent."""
        return False

    def check(self, states: Any) -> None:
        """States of every domain can be judged, unless a subclass says otherwise: raise ValueError."""

    @abstractmethod
    def judge(self, states: Any, settings: LabelStage) -> tuple[Real[np.ndarray, " n"], Real[np.ndarray, " n"]]:
        """S and M of n states; what it raises makes the row a dead letter."""

    def task(self, settings: LabelStage, in_flight: int) -> _JudgeTask:
        """What labels tables of rows."""
        return _JudgeTask(self, settings)

    def summary(self, labels: LabelParts) -> Summary:
        """Mean labels, and shares at 0 and at 1."""
        return count_summary(labels)


class _JudgeTask:
    whole: str | None = None

    def __init__(self, kind: JudgedLabels, settings: LabelStage) -> None:
        self._kind, self._settings = kind, settings

    def __call__(self, rows: pa.Table) -> tuple[pa.Table, list[Rejected]]:
        labels, rejected = salvage(self.label, rows)
        return pa.concat_tables([self.no_labels(rows), *labels]), rejected

    def label(self, rows: pa.Table) -> pa.Table:
        return self._with(rows, *self._kind.judge(self._settings.wing.states(rows), self._settings))

    def no_labels(self, rows: pa.Table) -> pa.Table:
        return self._with(rows.slice(0, 0), np.zeros(0), np.zeros(0))

    def _with(self, rows: pa.Table, successes: np.ndarray, num_rollouts: np.ndarray) -> pa.Table:
        for name, values in (("successes", successes), ("num_rollouts", num_rollouts)):
            rows = rows.append_column(name, pa.array(np.asarray(values, np.float64), pa.float64()))
        return rows.append_column("status", pa.array(["ok"] * len(rows), pa.string()))
