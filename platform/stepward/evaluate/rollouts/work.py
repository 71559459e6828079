"""An evaluation of rollouts as items of work that can be done anywhere, in any order, more than once.

    shards/rollout/<arm>/0-16.parquet    rollouts of one arm of problems 0 to 15
    shards/ranking/<guide>.parquet       how one guide orders the candidates of held-out states
    shards/pictures/<arm>.parquet        what an arm saw, for drawing
    shards/steps/<arm>.parquet           every candidate that the guide of an arm scored, part by part

A file of `shards/` is an item that is done. What an item holds does not depend on the other items or on their sizes.
"""

from __future__ import annotations

from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from stepward.core.artifacts import Artifact, ArtifactError
from stepward.core.config import validate
from stepward.core.interfaces import Proposer
from stepward.core.registry import lookup
from stepward.core.wing import Wing
from stepward.evaluate.rollouts.arms import arm_inputs, rollout_guides
from stepward.evaluate.rollouts.ranking import held_out_rankings, ranking_table
from stepward.evaluate.rollouts.settings import RolloutSettings
from stepward.evaluate.rollouts.study import picture_table, rollout_table, step_table
from stepward.rewards.guides import UNSCORED

MAX_ROWS = 16  # rollouts that advance together: their trees hold every candidate


class RolloutWork:
    """The items of one evaluation, and how each is done.

    Args:
        settings: of the evaluation.
        shard_size: problems an item, at most `MAX_ROWS`; results do not depend on it.
    """

    def __init__(self, settings: RolloutSettings, shard_size: int) -> None:
        self.settings, self.shard_size = settings, min(shard_size, MAX_ROWS)
        self.wing: Wing = settings.wing
        self.folder = settings.artifact("evaluate").folder
        self.labels = settings.artifact("label", settings.labels)

    def inputs(self) -> dict[str, Artifact]:
        """Every artifact that is read, by role."""
        return {"label": self.labels} | arm_inputs(self.settings)

    def prepare(self) -> None:
        """Check that what arms are made of is there.

        Raises:
            ArtifactError: an arm needs an artifact that is missing or unfinished; says which arms to leave out.
        """
        for role, source in self.inputs().items():
            if not source.finished:
                raise ArtifactError(
                    f"{source.url}: expected a finished artifact, because an arm or a guide reads {role}. Run "
                    f"jobs/{source.stage}.py domain={self.settings.domain} name={source.name}, or evaluate fewer arms."
                )

    def items(self) -> list[str]:
        """All items, those that take longest first."""
        rows = [f"{first}-{first + self.shard_size}" for first in range(0, len(self.problems), self.shard_size)]
        rollouts = [f"rollout/{arm}/{piece}" for arm in reversed(self.settings.arms) for piece in rows]
        pictured = self.settings.pictured if self.settings.num_pictures else None
        pictures = [f"pictures/{pictured}"] if pictured else []
        logs = [f"steps/{arm}" for arm, plan in self.settings.arms.items() if plan.guide != UNSCORED]
        rankings = [f"ranking/{guide}" for guide in self.settings.ranking_guides()]
        return pictures + rollouts + rankings + (logs if self.settings.num_logged else [])

    def left(self) -> list[str]:
        """Items that are not done."""
        done = {name.removeprefix("shards/").rsplit(".", 1)[0] for name in self.folder.files("shards")}
        return [item for item in self.items() if item not in done]

    missing = left

    def do(self, item: str) -> None:
        """Do one item and write its file."""
        kind, name, *rows = item.split("/")
        if kind == "rollout":
            first, end = map(int, rows[0].split("-"))
            problems = self.problems.slice(first, end - first).combine_chunks()
            table = rollout_table(problems, name, self.settings, self.wing)
        elif kind == "pictures":
            problems = self.problems.slice(0, self.settings.num_pictures).combine_chunks()
            table = picture_table(problems, name, self.settings, self.wing)
        elif kind == "steps":
            problems = self.problems.slice(0, self.settings.num_logged).combine_chunks()
            table = step_table(problems, name, self.settings, self.wing)
        else:
            guide = rollout_guides(self.settings, self.wing)[name]
            made = self.labels.manifest()
            table = ranking_table(self._rankings, guide, proposer=self._labelling_proposer, seed=made.seed)
        self.folder.write_table(f"shards/{item}.parquet", table)

    def rollouts(self) -> pa.Table:
        """Rollouts of all arms, one row a problem, with the column `arm` in front; sorted by arm and problem."""
        return self._joined("rollout", "arm", "problem_id")

    def rankings(self) -> pa.Table:
        """Rankings of all guides, one row a state, with the column `guide` in front; sorted by guide and state."""
        return self._joined("ranking", "guide", "id")

    def pictures(self) -> pa.Table | None:
        """What the pictured arm saw; None where nothing is drawn."""
        name = f"shards/pictures/{self.settings.pictured}.parquet"
        return self.folder.read_table(name) if self.folder.exists(name) else None

    def steps(self) -> pa.Table | None:
        """The step logs of all arms, with the column `arm` in front; a score is null where an arm has no such part."""
        return self._joined("steps", "arm", "problem_id") if self.settings.num_logged else None

    @cached_property
    def problems(self) -> pa.Table:
        """The problems to roll out, in the order of the label artifact."""
        table = self.labels.folder.read_table("problems.parquet")
        chosen = table.filter(pc.equal(table["split"], self.settings.split))
        if not len(chosen):
            raise ValueError(f"{self.labels.url}: expected problems of split {self.settings.split!r}, found none.")
        return chosen.slice(0, self.settings.num_problems or len(chosen)).combine_chunks()

    @cached_property
    def _rankings(self) -> pa.Table:
        settings = self.settings
        return held_out_rankings(self.labels.folder, settings.split, settings.max_ranked, settings.seed)

    @cached_property
    def _labelling_proposer(self) -> Proposer:
        """The proposer whose candidates were labelled."""
        described = self.labels.manifest().identity["proposer"]
        kind = lookup(self.wing.proposers, described["kind"], kind="proposer")
        proposer: Proposer = self.settings.here(validate(kind, described)).build()  # type: ignore[attr-defined]
        return proposer

    def _joined(self, kind: str, column: str, row: str) -> pa.Table:
        parts = []
        for item in (name for name in self.items() if name.startswith(f"{kind}/")):
            table = self.folder.read_table(f"shards/{item}.parquet")
            names = pa.array([item.split("/")[1]] * len(table), pa.string())
            parts.append(table.add_column(0, column, names))
        if not parts:
            return pa.table({column: pa.array([], pa.string())})
        return pa.concat_tables(parts, promote_options="default").sort_by([(column, "ascending"), (row, "ascending")])
