"""How well guides order the candidates of held-out states.

shards/ranking/<guide>.parquet    how one guide orders them
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar

import pyarrow as pa

from stepward.evaluate.pairs import pair_error, pair_rows
from stepward.evaluate.ranking import held_out_rankings, ranking_rows, ranking_table
from stepward.evaluate.studies.base import Base
from stepward.evaluate.tables import named, table_of


class CandidateStudy(Base):
    """Judges the order of all candidates of a state. Needs labels that keep the error of every one (rankings)."""

    kinds: ClassVar[tuple[str, ...]] = ("ranking",)

    def prepare(self) -> None:
        """Refuses labels that keep no errors of candidates."""
        labels = self.evaluation.labels.folder
        if "errors" not in labels.columns("labels"):
            raise ValueError(
                f"rankings: expected none, because {labels.url} keeps no errors of candidates; leave it out, or "
                "evaluate labels that do"
            )

    def items(self) -> list[str]:
        """One a guide."""
        return [f"ranking/{guide}" for guide in self.settings.ranking_guides()]

    def do(self, item: str) -> None:
        """Makes the labelled candidates again and has one guide rank them."""
        evaluation = self.evaluation
        guide, seed = evaluation.guides[item.split("/")[1]], evaluation.labels.manifest().seed
        # the policy that was labelled makes the candidates again, from the same streams
        policy = evaluation.proposers.policy
        table = ranking_table(self._rankings, guide, proposer=policy, seed=seed, wing=self.wing)
        evaluation.folder.write_table(f"shards/{item}.parquet", table)

    def tables(self, tables: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
        """The figures of every guide; reliability of its pairwise probabilities; and the states one by one."""
        items = sorted(self.items())
        states = [self.evaluation.folder.read_table(f"shards/{item}.parquet") for item in items]
        ranked = pa.concat_tables(
            [named(table, guide=item.split("/")[1]) for item, table in zip(items, states, strict=True)]
        )
        ranked = ranked.sort_by([("guide", "ascending"), ("id", "ascending")])
        rows, pairs = ranking_rows(ranked, self.settings), pair_rows(ranked, self.settings)
        for row in rows:
            bins = [pair for pair in pairs if pair["guide"] == row["guide"]]
            row |= {"pair_calibration_error": pair_error(bins)} if bins else {}
        return {"candidates": table_of(rows), "pairs": table_of(pairs), "candidate_states": ranked}

    @cached_property
    def _rankings(self) -> pa.Table:
        study, settings = self.settings.rankings, self.settings
        assert study is not None, "the study was asked for"
        return held_out_rankings(self.evaluation.labels.folder, settings.split, study.max_states, settings.seed)
