"""Solutions that are sampled once a problem and shared by all arms that choose among them.

shards/samples/0-250.parquet    solutions sampled for problems 0 to 249, as guides value them
shards/spent/0-250.parquet      and what that cost
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pyarrow as pa

from stepward.core.interfaces import RewardModel
from stepward.evaluate.context import pieces
from stepward.evaluate.samples.choices import SampleOutcomes, comparison_rows, gap_rows, rate_rows, steering_rows
from stepward.evaluate.samples.drawing import draw, solution_table, spending_table
from stepward.evaluate.studies.base import Base
from stepward.evaluate.tables import Row, table_of
from stepward.evaluate.trials import BEST, KEYS, VOTE, select
from stepward.rewards.factory import scale_of

TOGETHER = 250  # problems an item, at most


class SharedSamples(Base):
    """Guides as judges of the same sampled solutions, at matched compute. Needs solutions that state an answer."""

    kinds: ClassVar[tuple[str, ...]] = ("samples",)

    def items(self) -> list[str]:
        """Pieces of the problems."""
        size = min(self.evaluation.shard_size, TOGETHER)
        return [f"samples/{piece}" for piece in pieces(len(self.evaluation.problems), size)]

    def do(self, item: str) -> None:
        """Solutions and their cost; the file of the solutions is written last, and says that the item is done."""
        _, piece = item.split("/")
        evaluation, wing, study = self.evaluation, self.wing, self.settings.samples
        assert study is not None, "there are items where there is a study"
        problems, proposer = evaluation.rows(piece), evaluation.proposers()
        ids = problems["id"].to_pylist()
        sample: dict[str, Any] = {"domain": wing.domain, "proposer": proposer, "seed": self.settings.seed}
        # Built before anything is drawn: some read what a proposer leaves behind while it samples.
        guides = {arm: evaluation.guides[arm] for arm in self.settings.guides}
        samples = draw(wing.states(problems), ids, max(study.sizes), **sample)
        judged = {arm: (guide, self._aggregations(arm, guide)) for arm, guide in guides.items()}
        spent = spending_table(samples, ids, study.sizes, guides, wing.domain)
        solutions = solution_table(samples, ids, judged, wing)
        evaluation.folder.write_table(f"shards/spent/{piece}.parquet", spent)
        evaluation.folder.write_table(f"shards/samples/{piece}.parquet", solutions)

    def tables(self, tables: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
        """Trials of every choice beside those of the searches; rates, comparisons at matched cost, gaps, and searches
        that steer against choosing.
        """
        found, settings = self.outcomes(), self.settings
        rng, searches = settings.resampling(), self._searches(tables["trials"], found.problem_ids)
        made = {
            "samples": rate_rows(found, settings.confidence),
            "matched": comparison_rows(found, rng, **settings.statistics),
            "gaps": gap_rows(found, rng, **settings.statistics),
            "steering": steering_rows(found, searches, rng, **settings.statistics),
        }
        trials = pa.concat_tables(
            [tables["trials"], found.trials(settings.headline.name, settings.seed)], promote_options="permissive"
        )
        order = [*KEYS, ("aggregation", "ascending"), ("size", "ascending")]
        return {"trials": trials.sort_by(order)} | {name: table_of(rows) for name, rows in made.items()}

    def outcomes(self) -> SampleOutcomes:
        """What every choice comes to, from the items."""
        assert self.settings.samples is not None, "the study was asked for"
        items = self.items()
        scales = {arm: scale_of(arm, self.settings.guides, self.wing) for arm in self.settings.guides}
        return SampleOutcomes(
            self.evaluation.gathered(items),
            self.evaluation.gathered(item.replace("samples/", "spent/") for item in items),
            self.settings.samples,
            log_values=frozenset(arm for arm, scale in scales.items() if scale == "log_probability"),
            no_votes=frozenset(arm for arm, scale in scales.items() if scale == "rank"),
        )

    def _searches(self, trials: pa.Table, problem_ids: list[str]) -> dict[tuple[str, str, str], Row]:
        """(search, guide, rule) -> what it solved and spent, where the rule gives an answer to every problem."""
        found, measure = {}, self.settings.headline.name
        for search in self.settings.searches:
            for arm in self.settings.families()[search]:
                for rule in (BEST, VOTE):
                    cell = select(trials, search, arm, rule)
                    assert cell["problem_id"].to_pylist() == problem_ids, "searches and samples are of one set"
                    if not cell[measure].null_count:
                        solved = cell[measure].to_numpy(zero_copy_only=False).astype(bool)
                        found[search, arm, rule] = {"solved": solved, "flops": cell["flops"].to_numpy()}
        return found

    def _aggregations(self, arm: str, guide: RewardModel) -> tuple[str, ...]:
        """Those of a guide that scores every step by a probability; logs add up; others are read at the end."""
        study, described = self.settings.samples, self.settings.guides[arm]
        if getattr(described, "log_scale", False):
            return ("sum",)
        says = scale_of(arm, self.settings.guides, self.wing)
        every_step = says == "probability" and not getattr(guide, "of_complete_states", False)
        return study.aggregations if study and every_step else ("last",)
