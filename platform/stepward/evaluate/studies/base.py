"""What studies share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pyarrow as pa

from stepward.evaluate.context import Evaluation


class Base:
    """A study of one evaluation, with nothing to prepare and nothing to tabulate."""

    kinds: ClassVar[tuple[str, ...]] = ()

    def __init__(self, evaluation: Evaluation) -> None:
        self.evaluation, self.settings, self.wing = evaluation, evaluation.settings, evaluation.wing

    def prepare(self) -> None:
        """What all items need; refuses an evaluation that cannot be studied so."""
        ...

    def first(self) -> list[str]:
        """Items that must be done before the others begin."""
        return []

    def tables(self, tables: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
        """Tables by name, from shards and from the tables of the studies before."""
        return {}
