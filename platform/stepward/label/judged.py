"""Labels by a rule: the base of kinds that ask neither a policy nor a person, such as an exact check of a state."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Real

from stepward.core.batch import Batch
from stepward.core.config import Config
from stepward.core.labels import LabelParts, LabelStage, Summary
from stepward.core.wing import Rejected
from stepward.label.summary import count_summary
from stepward.label.task import salvage

__all__ = ["JudgedLabels", "OutcomeLabels"]


class JudgedLabels(Config):
    """S successes of M for every state, as `judge` says; with M = 1, S may be any number from 0 to 1.

    A subclass has a field `kind`, its name, and `judge`.
    """

    POOL: ClassVar[Mapping[str, int]] = {}

    @property
    def whole_problems(self) -> bool:
        """Rows are independent."""
        return False

    def check(self, states: Batch) -> None:
        """States of every domain can be judged, unless a subclass says otherwise: raise ValueError."""

    @abstractmethod
    def judge(self, states: Batch, settings: LabelStage) -> tuple[Real[np.ndarray, " n"], Real[np.ndarray, " n"]]:
        """S and M of n states; what it raises makes the row a dead letter."""

    def task(self, settings: LabelStage, in_flight: int) -> _ColumnTask:
        """What labels tables of rows."""

        def label(rows: pa.Table) -> dict[str, np.ndarray]:
            successes, num_rollouts = self.judge(settings.wing.states(rows), settings)
            return {"successes": successes, "num_rollouts": num_rollouts}

        return _ColumnTask(label)

    def summary(self, labels: LabelParts) -> Summary:
        """Mean labels, and shares at 0 and at 1."""
        return count_summary(labels)


class OutcomeLabels(Config):
    """What the verifier says of each state as it is, minus its error: for domains whose mined rows are alternatives.

    Labels have the column `label`, of which `stepward.train.TargetLearning` learns the order within a `group`.
    """

    kind: Literal["outcomes"] = "outcomes"

    POOL: ClassVar[Mapping[str, int]] = {}

    @property
    def whole_problems(self) -> bool:
        """Rows are independent."""
        return False

    def check(self, states: Batch) -> None:
        """Every state has an outcome."""

    def task(self, settings: LabelStage, in_flight: int) -> _ColumnTask:
        """What labels tables of rows."""
        verifier, wing = settings.wing.verifier(), settings.wing

        def label(rows: pa.Table) -> dict[str, np.ndarray]:
            found = verifier.outcome(wing.states(rows))
            if not np.isfinite(found).all():
                raise ValueError(f"expected an outcome, got {found[~np.isfinite(found)][0]:g}: the state has blown up")
            return {"label": found}

        return _ColumnTask(label)

    def summary(self, labels: LabelParts) -> Summary:
        """Mean label and its spread, by split."""
        rows: Counter[str] = Counter(labels=0)
        parts: dict[str, list[np.ndarray]] = {}
        for part in labels.labels(["split", "label"]):
            if len(part):
                split = part["split"][0].as_py()
                rows.update({"labels": len(part), split: len(part)})
                parts.setdefault(split, []).append(part["label"].to_numpy())
        found = {split: np.concatenate(values) for split, values in parts.items()}
        metrics = {f"mean_label.{split}": float(values.mean()) for split, values in found.items()}
        return Summary(dict(rows), metrics | {f"spread.{split}": float(v.std()) for split, v in found.items()})


class _ColumnTask:
    """A `LabelTask` that adds columns made from rows."""

    whole: str | None = None

    def __init__(self, columns: Callable[[pa.Table], dict[str, np.ndarray]]) -> None:
        self._columns = columns

    def __call__(self, rows: pa.Table) -> tuple[pa.Table, list[Rejected]]:
        labels, rejected = salvage(self.label, rows)
        return pa.concat_tables([self.no_labels(rows), *labels]), rejected

    def label(self, rows: pa.Table) -> pa.Table:
        for name, values in self._columns(rows).items():
            rows = rows.append_column(name, pa.array(np.asarray(values, np.float64), pa.float64()))
        return rows.append_column("status", pa.array(["ok"] * len(rows), pa.string()))

    def no_labels(self, rows: pa.Table) -> pa.Table:
        return self.label(rows.slice(0, 0))
