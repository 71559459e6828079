"""An evaluation as items of work that can be done anywhere, in any order, more than once.

    shards/held_out.parquet                    the held-out states, drawn once
    shards/search/<search>/<guide>/0-1000.parquet  outcomes of one guide in one search on problems 0 to 999
    shards/guide/<guide>.json                      everything else that is asked of one guide

A file of `shards/` is an item that is done. What an item holds does not depend on the other items or on their sizes.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stepward.core.artifacts import Artifact
from stepward.core.interfaces import RewardModel
from stepward.core.wing import Wing
from stepward.evaluate.arms import build_guide, trained_artifacts
from stepward.evaluate.guide_study import Tables, study_guide
from stepward.evaluate.held_out import HeldOut, held_out, held_out_rows
from stepward.evaluate.search_study import search_outcomes
from stepward.evaluate.settings import EvaluateSettings

HELD_OUT = "shards/held_out.parquet"


class EvaluateWork:
    """The items of one evaluation, and how each is done.

    Args:
        settings: of the evaluation.
        shard_size: problems an item; results do not depend on it.
    """

    def __init__(self, settings: EvaluateSettings, shard_size: int) -> None:
        self.settings, self.shard_size = settings, shard_size
        self.wing: Wing = settings.wing
        self.folder = settings.artifact("evaluate").folder
        self.labels = settings.artifact("label", settings.labels)

    def inputs(self) -> dict[str, Artifact]:
        """Every artifact that is read, by role."""
        guides = trained_artifacts(self.settings.guides, self.settings.store, self.settings.domain)
        return {"label": self.labels} | guides

    def prepare(self) -> None:
        """Draw the held-out states, unless that was done. Needs verified inputs."""
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
        return [f"guide/{arm}" for arm in self.settings.guides] + searches

    def left(self) -> list[str]:
        """Items that are not done."""
        done = {name.removeprefix("shards/").rsplit(".", 1)[0] for name in self.folder.files("shards")}
        return [item for item in self.items() if item not in done]

    def do(self, item: str) -> None:
        """Do one item and write its file."""
        kind, *names = item.split("/")
        if kind == "guide":
            self.folder.write_json(f"shards/{item}.json", self._study(names[0]))
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
        first, end = map(int, rows.split("-"))
        return search_outcomes(
            self.problems.slice(first, end - first).combine_chunks(),
            self.settings.searches[plan],
            guide=self._guide(arm),
            proposer=self.settings.proposer_kind(plan),
            wing=self.wing,
            seed=self.settings.seed,
        )

    def _study(self, arm: str) -> dict[str, Any]:
        policy = self.labels.manifest().identity["proposer"]
        tables = study_guide(arm, self._held, self.settings, policy=policy, wing=self.wing)
        return {name: [_plain(row) for row in rows] for name, rows in tables.items()}

    @cached_property
    def _held(self) -> HeldOut:
        return held_out(self.folder.read_table(HELD_OUT), self.wing)

    @lru_cache(maxsize=32)  # noqa: B019  one work object lives as long as its process
    def _guide(self, arm: str) -> RewardModel:
        return build_guide(arm, self.settings.guides, store=self.settings.store, wing=self.wing)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row as JSON values: undefined numbers become null."""
    plain = {key: value.item() if isinstance(value, np.generic) else value for key, value in row.items()}
    return {key: None if isinstance(v, float) and not np.isfinite(v) else v for key, v in plain.items()}
