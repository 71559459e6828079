"""An evaluation as items of work that can be done anywhere, in any order, more than once.

    shards/held_out.parquet                    the held-out states, drawn once
    shards/search/<search>/<guide>/0-1000.parquet  outcomes of one guide in one search on problems 0 to 999
    shards/guide/<guide>.json                      everything else that is asked of one guide
    shards/siblings/0-50.parquet                   Monte-Carlo values of children of held-out states, for those
    shards/samples/0-250.parquet                   solutions sampled for problems 0 to 249, as guides value them
    shards/spent/0-250.parquet                     and what that cost

A file of `shards/` is an item that is done. What an item holds does not depend on the other items or on their sizes.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stepward.core.artifacts import Artifact
from stepward.core.interfaces import Proposer, RewardModel
from stepward.core.wing import Wing
from stepward.evaluate.guide_study import Tables, study_guide
from stepward.evaluate.held_out import HeldOut, held_out, held_out_rows
from stepward.evaluate.proposers import Proposers
from stepward.evaluate.samples.drawing import Samples, draw, solution_table, spending_table
from stepward.evaluate.samples.siblings import label_siblings, num_families
from stepward.evaluate.samples.study import SampleOutcomes
from stepward.evaluate.search_study import search_outcomes
from stepward.evaluate.settings import EvaluateSettings
from stepward.rewards.factory import Guides, Loader, scale_of

HELD_OUT = "shards/held_out.parquet"
SAMPLED_TOGETHER = 250  # problems an item of samples, at most
FAMILIES_TOGETHER = 50  # states whose children are labelled in one item


class EvaluateWork:
    """The items of one evaluation, and how each is done.

    Args:
        settings: of the evaluation.
        shard_size: problems an item; results do not depend on it.
        load: reads trained reward models for searches and samples; none: `load_reward`.
    """

    def __init__(self, settings: EvaluateSettings, shard_size: int, load: Loader | None = None) -> None:
        self.settings, self.shard_size, self._load = settings, shard_size, load
        self.wing: Wing = settings.wing
        self.folder = settings.artifact("evaluate").folder
        self.labels = settings.artifact("label", settings.labels)

    def inputs(self) -> dict[str, Artifact]:
        """Every artifact that is read, by role."""
        return {"label": self.labels} | self._guides.artifacts()

    def prepare(self) -> None:
        """Draw the held-out states, unless that was done. Needs verified inputs.

        Raises:
            ValueError: a study is asked for that this domain cannot have, or that would have no effect.
        """
        if self.settings.values.sibling_rollouts and self.wing.exact is not None:
            raise ValueError("values.sibling_rollouts: expected 0, because this domain knows true values; leave it out")
        if self.settings.samples is not None and self.wing.answers is None:
            raise ValueError("samples: expected none, because solutions of this domain state no answer to vote on")
        if not self.folder.exists(HELD_OUT):
            study = self.settings.values
            rows = held_out_rows(
                self.labels.folder, self.wing, self.settings.split, study.max_states, self.settings.seed
            )
            self.folder.write_table(HELD_OUT, rows)

    def items(self) -> list[str]:
        """All items, the longest first, so that workers end together."""
        size = self.shard_size
        plans = sorted(self.settings.searches.items(), key=lambda plan: -plan[1].budget)
        searches = [
            f"search/{plan}/{arm}/{first}-{first + size}"
            for plan, _ in plans
            for arm in self.settings.arms(plan)
            for first in range(0, len(self.problems), size)
        ]
        samples = [f"samples/{rows}" for rows in self._pieces(len(self.problems), min(size, SAMPLED_TOGETHER))]
        guides = [f"guide/{arm}" for arm in self.settings.guides]
        return self.siblings() + guides + (samples if self.settings.samples else []) + searches

    def siblings(self) -> list[str]:
        """Items that the items of guides build upon, and so come first."""
        study = self.settings.values
        if not study.sibling_rollouts:
            return []
        num = num_families(len(self._held), study)
        return [f"siblings/{rows}" for rows in self._pieces(num, FAMILIES_TOGETHER)]

    def left(self) -> list[str]:
        """Items that can be done now: those that others build upon, as long as there are any, then the others."""
        siblings = set(self.siblings())
        missing = self.missing()
        first = [item for item in missing if item in siblings]
        return first or missing

    def missing(self) -> list[str]:
        """Items that are not done."""
        done = {name.removeprefix("shards/").rsplit(".", 1)[0] for name in self.folder.files("shards")}
        return [item for item in self.items() if item not in done]

    def do(self, item: str) -> None:
        """Do one item and write its file."""
        kind, *names = item.split("/")
        if kind == "guide":
            self.folder.write_json(f"shards/{item}.json", self._study(names[0]))
        elif kind == "samples":
            self._sample(names[0])
        elif kind == "siblings":
            self.folder.write_table(f"shards/{item}.parquet", self._label_siblings(names[0]))
        else:
            self.folder.write_table(f"shards/{item}.parquet", self._search(*names))

    def outcomes(self) -> pa.Table:
        """Outcomes of all searches and guides, one row a problem, with the columns `search` and `arm` in front."""
        parts = []
        for item in (name for name in self.items() if name.startswith("search/")):
            table = self.folder.read_table(f"shards/{item}.parquet")
            _, search, arm, _ = item.split("/")
            names = {"search": search, "arm": arm}
            for position, (name, value) in enumerate(names.items()):
                table = table.add_column(position, name, pa.array([value] * len(table), pa.string()))
            parts.append(table)
        keys = [("search", "ascending"), ("arm", "ascending"), ("problem_id", "ascending")]
        return pa.concat_tables(parts).sort_by(keys)

    def sample_outcomes(self) -> SampleOutcomes | None:
        """The sample study, from its items; None where it is left out."""
        items = [item for item in self.items() if item.startswith("samples/")]
        if not items or self.settings.samples is None:
            return None
        scales = {arm: scale_of(arm, self.settings.guides, self.wing) for arm in self.settings.guides}
        return SampleOutcomes(
            pa.concat_tables([self.folder.read_table(f"shards/{item}.parquet") for item in items]),
            pa.concat_tables([self.folder.read_table(f"shards/{_spent(item)}.parquet") for item in items]),
            self.settings.samples,
            log_values=frozenset(arm for arm, scale in scales.items() if scale == "log_probability"),
            no_votes=frozenset(arm for arm, scale in scales.items() if scale == "rank"),
        )

    def studies(self) -> Tables:
        """Rows of the value tables, all guides together."""
        tables: Tables = {}
        for arm in self.settings.guides:
            for name, rows in self.folder.read_json(f"shards/guide/{arm}.json").items():
                tables.setdefault(name, []).extend(rows)
        return tables

    @cached_property
    def problems(self) -> pa.Table:
        """The problems to search, in the order of the label artifact."""
        table = self.labels.folder.read_table("problems.parquet")
        chosen = table.filter(pc.equal(table["split"], self.settings.split))
        if not len(chosen):
            raise ValueError(f"{self.labels.url}: expected problems of split {self.settings.split!r}, found none.")
        return chosen.slice(0, self.settings.num_problems or len(chosen)).combine_chunks()

    def _search(self, plan: str, arm: str, rows: str) -> pa.Table:
        return search_outcomes(
            self._rows(rows),
            self.settings.searches[plan],
            guide=self._guides[arm],
            proposer=self._proposers(self.settings.proposer_kind(plan)),
            wing=self.wing,
            seed=self.settings.seed,
        )

    def _study(self, arm: str) -> dict[str, Any]:
        children = self._sibling_values() if self.siblings() else None
        tables = study_guide(arm, self._held, self.settings, proposers=self._proposers, children=children)
        return {name: [_plain(row) for row in rows] for name, rows in tables.items()}

    def _sample(self, rows: str) -> None:
        """Solutions and their cost; the file of the solutions is written last, and says that the item is done."""
        study, problems = self.settings.samples, self._rows(rows)
        assert study is not None, "items of samples are made where there is a study of them"
        proposer, ids = self._proposers(self.settings.proposer), problems["id"].to_pylist()
        samples = draw_samples(problems, self.settings, self.wing, proposer)
        guides = {arm: self._guides[arm] for arm in self.settings.guides}
        spent = spending_table(samples, ids, study.sizes, guides, self.wing.domain)
        judged = {arm: (guide, self._aggregations(arm, guide)) for arm, guide in guides.items()}
        solutions = solution_table(samples, ids, judged, self.wing)
        self.folder.write_table(f"shards/spent/{rows}.parquet", spent)
        self.folder.write_table(f"shards/samples/{rows}.parquet", solutions)

    def _aggregations(self, arm: str, guide: RewardModel) -> tuple[str, ...]:
        """Those of a guide that scores every step by a probability; logs add up; others are read at the end."""
        study, described = self.settings.samples, self.settings.guides[arm]
        if getattr(described, "log_scale", False):
            return ("sum",)
        says = scale_of(arm, self.settings.guides, self.wing)
        every_step = says == "probability" and not getattr(guide, "of_complete_states", False)
        return study.aggregations if study and every_step else ("last",)

    def _label_siblings(self, rows: str) -> pa.Table:
        first, end = map(int, rows.split("-"))
        return label_siblings(
            self._held,
            first,
            min(end, num_families(len(self._held), self.settings.values)),
            self.settings.values,
            policy=self._proposers.policy,
            proposer=self._proposers(self.settings.proposer),
            wing=self.wing,
            seed=self.settings.seed,
        )

    def _sibling_values(self) -> np.ndarray:
        table = pa.concat_tables([self.folder.read_table(f"shards/{item}.parquet") for item in self.siblings()])
        table = table.sort_by([("parent", "ascending"), ("child", "ascending")])
        return np.asarray(table["successes"].to_numpy() / table["num_rollouts"].to_numpy(), np.float64)

    def _rows(self, rows: str) -> pa.Table:
        first, end = map(int, rows.split("-"))
        return self.problems.slice(first, end - first).combine_chunks()

    @staticmethod
    def _pieces(num: int, size: int) -> list[str]:
        return [f"{first}-{first + size}" for first in range(0, num, size)]

    @cached_property
    def _held(self) -> HeldOut:
        return held_out(self.folder.read_table(HELD_OUT), self.wing)

    @cached_property
    def _guides(self) -> Guides:
        settings = self.settings
        return Guides(
            settings.guides,
            store=settings.store,
            wing=self.wing,
            proposers=lambda kind: self._proposers(kind),
            load=self._load,
        )

    @cached_property
    def _proposers(self) -> Proposers:
        return proposers_of(self.settings, self.labels)


def proposers_of(settings: EvaluateSettings, labels: Artifact) -> Proposers:
    """The proposers of an evaluation of a policy that was labelled."""
    return Proposers(settings.wing, *settings.here((labels.manifest().identity["proposer"], settings.proposers)))


def draw_samples(problems: pa.Table, settings: EvaluateSettings, wing: Wing, proposer: Proposer) -> Samples:
    """The solutions that all guides choose among, as many as the largest size."""
    assert settings.samples is not None, "the caller has checked that there is a study of samples"
    ids = problems["id"].to_pylist()
    num = max(settings.samples.sizes)
    return draw(wing.states(problems), ids, num, domain=wing.domain, proposer=proposer, seed=settings.seed)


def _spent(item: str) -> str:
    return item.replace("samples/", "spent/")


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row as JSON values: undefined numbers become null."""
    plain = {key: value.item() if isinstance(value, np.generic) else value for key, value in row.items()}
    return {key: None if isinstance(v, float) and not np.isfinite(v) else v for key, v in plain.items()}
