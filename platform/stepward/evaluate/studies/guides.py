"""Guides as judges of held-out partial solutions: everything that is asked of one guide apart from searches.

shards/held_out.parquet          the held-out states, drawn once
shards/guide/<guide>.json        what one guide makes of them
shards/siblings/0-50.parquet     Monte-Carlo values of the children of states 0 to 49, where true ones are unknown
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from stepward.evaluate.context import pieces
from stepward.evaluate.guide_values import coverage_table, study_guide
from stepward.evaluate.held_out import HeldOut, held_out, held_out_rows
from stepward.evaluate.samples.siblings import label_siblings, num_families
from stepward.evaluate.studies.base import Base
from stepward.evaluate.study_settings import ValueStudy
from stepward.evaluate.tables import table_of

HELD_OUT = "shards/held_out.parquet"
TOGETHER = 50  # states whose children are labelled in one item
COUNTS = ("successes", "num_rollouts")
KEYS = ("arm", "states", "calibration", "step_factor", "num_candidates", "values_of", "bin")


class GuideStudy(Base):
    """Order, calibration, robustness and dividend of every guide. Needs labels that count successes of rollouts."""

    kinds: ClassVar[tuple[str, ...]] = ("guide", "siblings")

    def prepare(self) -> None:
        """Draw the held-out states, unless that was done."""
        folder, labels, study = self.evaluation.folder, self.evaluation.labels, self._study
        if folder.exists(HELD_OUT):
            return
        if not set(COUNTS) <= set(labels.folder.columns("labels")):
            raise ValueError(
                f"values: expected none, because {labels.url} holds no counts of successful rollouts ({list(COUNTS)}); "
                "leave it out, or evaluate labels that do"
            )
        rows = held_out_rows(labels.folder, self.wing, self.settings.split, study.max_states, self.settings.seed)
        folder.write_table(HELD_OUT, rows)

    def items(self) -> list[str]:
        """Pieces of the sibling labels, then one a guide."""
        return [*self.first(), *(f"guide/{arm}" for arm in self.settings.guides)]

    def first(self) -> list[str]:
        """Labels of siblings, where they are asked for: guides are judged by them."""
        if not self._study.sibling_rollouts:
            return []
        return [f"siblings/{piece}" for piece in pieces(num_families(len(self._held), self._study), TOGETHER)]

    def do(self, item: str) -> None:
        """Labels some siblings, or judges one guide."""
        kind, name = item.split("/")
        if kind == "siblings":
            self.evaluation.folder.write_table(f"shards/{item}.parquet", self._label_siblings(name))
        else:
            children = self._sibling_values() if self.first() else None
            parts: dict[str, Any] = {"proposers": self.evaluation.proposers, "guides": self.evaluation.guides}
            made = study_guide(name, self._held, self.settings, children=children, **parts)
            rows = {table: [_plain(row) for row in rows] for table, rows in made.items()}
            self.evaluation.folder.write_json(f"shards/{item}.json", rows)

    def tables(self, tables: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
        """Rows of all guides together, and how often the intervals of labels hold the true value."""
        found: dict[str, list[dict[str, Any]]] = {}
        for arm in self.settings.guides:
            for name, rows in self.evaluation.folder.read_json(f"shards/guide/{arm}.json").items():
                found.setdefault(name, []).extend(rows)
        coverage = coverage_table(self.evaluation.labels.folder, self.settings, self.wing)
        return {name: _ordered(table_of(rows)) for name, rows in found.items()} | {"coverage": coverage}

    @property
    def _study(self) -> ValueStudy:
        assert self.settings.values is not None, "the study was asked for"
        return self.settings.values

    @cached_property
    def _held(self) -> HeldOut:
        return held_out(self.evaluation.folder.read_table(HELD_OUT), self.wing)

    def _label_siblings(self, piece: str) -> pa.Table:
        first, end = map(int, piece.split("-"))
        return label_siblings(
            self._held,
            first,
            min(end, num_families(len(self._held), self._study)),
            self._study,
            policy=self.evaluation.proposers.policy,
            proposer=self.evaluation.proposers(),
            wing=self.wing,
            seed=self.settings.seed,
        )

    def _sibling_values(self) -> np.ndarray:
        table = self.evaluation.gathered(self.first()).sort_by([("parent", "ascending"), ("child", "ascending")])
        return np.asarray(table["successes"].to_numpy() / table["num_rollouts"].to_numpy(), np.float64)


def _ordered(table: pa.Table) -> pa.Table:
    """The columns that name a row first."""
    first = [name for name in KEYS if name in table.column_names]
    return table.select([*first, *(name for name in table.column_names if name not in first)])


def _plain(row: Mapping[str, object]) -> dict[str, object]:
    """A row as JSON values: undefined numbers become null."""
    plain = {key: value.item() if isinstance(value, np.generic) else value for key, value in row.items()}
    return {key: None if isinstance(v, float) and not np.isfinite(v) else v for key, v in plain.items()}
