"""The trials of all arms, and the tables that are made of them.

shards/trials/<search>/<arm>/0-1000.parquet    trials of one arm on problems 0 to 999
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pyarrow as pa

from stepward.evaluate.context import pieces
from stepward.evaluate.errors import error_tables
from stepward.evaluate.solving import solving_tables
from stepward.evaluate.studies.base import Base
from stepward.evaluate.tables import named
from stepward.evaluate.trials import KEYS, needs_tree, run_arm, trial_table

WITH_TREES = 16  # problems that are searched together where every candidate is kept


class ArmStudy(Base):
    """Runs every arm on every problem."""

    kinds: ClassVar[tuple[str, ...]] = ("trials",)

    def items(self) -> list[str]:
        """Searches with the largest budget first, and arms that were written out from the last to the first: the
        costly ones are named last.
        """
        families = self.settings.families()
        searches = sorted(self.settings.searches, key=lambda name: -self.settings.searches[name].budget)
        size = min(self.evaluation.shard_size, WITH_TREES) if needs_tree(self.wing) else self.evaluation.shard_size
        order = [*searches, *(name for name in families if name not in searches)]
        return [
            f"trials/{family}/{arm}/{piece}"
            for family in order
            for arm in (families[family] if family in searches else reversed(families[family]))
            for piece in pieces(len(self.evaluation.problems), size)
        ]

    def do(self, item: str) -> None:
        """One arm on some problems: a shard of trials."""
        _, family, name, piece = item.split("/")
        evaluation, settings = self.evaluation, self.settings
        arm = settings.families()[family][name]
        ran = run_arm(
            evaluation.rows(piece),
            arm,
            guide=evaluation.guides[arm.guide],
            proposer=evaluation.proposers(arm.proposer),
            wing=self.wing,
            seed=settings.seed,
            num_candidates=settings.num_candidates,
            keep_tree=needs_tree(self.wing),
        )
        table = trial_table(ran, self.wing, headline=settings.headline, blow_up=settings.blow_up)
        evaluation.folder.write_table(f"shards/{item}.parquet", table)

    def tables(self, tables: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
        """The trials, and what follows from a headline measure that is binary or real."""
        trials = self._trials()
        made = solving_tables if self.settings.headline.binary else error_tables
        return {"trials": trials} | made(trials, self.settings, self.wing)

    def _trials(self) -> pa.Table:
        parts = []
        for item in self.items():
            _, family, arm, _ = item.split("/")
            parts.append(named(self.evaluation.folder.read_table(f"shards/{item}.parquet"), search=family, arm=arm))
        return pa.concat_tables(parts, promote_options="permissive").sort_by(KEYS).combine_chunks()
