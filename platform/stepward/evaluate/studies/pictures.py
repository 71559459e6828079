"""What arms considered on the way: pictures of one arm, and logs of all that were written out.

shards/pictures/<arm>.parquet    what an arm saw at every step, for drawing
shards/steps/<arm>.parquet       every candidate that the guide of an arm scored, part by part
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from stepward.core.tensors import tensor_column
from stepward.evaluate.arms import Arm
from stepward.evaluate.step_log import step_log
from stepward.evaluate.studies.base import Base
from stepward.evaluate.tables import Row, named
from stepward.evaluate.trials import Ran, run_arm
from stepward.rewards.guides import UNSCORED
from stepward.search.paths import best_paths


class _Kept(Base):
    """Runs arms again, a few problems of each, and keeps their trees."""

    def run(self, name: str, num_problems: int) -> Ran:
        """One of the arms that were written out on the first problems."""
        evaluation, arm = self.evaluation, self.arm(name)
        return run_arm(
            evaluation.problems.slice(0, num_problems).combine_chunks(),
            arm,
            guide=evaluation.guides[arm.guide],
            proposer=evaluation.proposers(arm.proposer),
            wing=self.wing,
            seed=self.settings.seed,
            num_candidates=self.settings.num_candidates,
            keep_tree=True,
        )

    def arm(self, name: str) -> Arm:
        arm: Arm = self.settings.arms[name]
        return arm


class PicturesOfArm(_Kept):
    """What one arm saw. Needs a domain that draws its states (`Drawing.pictures`)."""

    kinds: ClassVar[tuple[str, ...]] = ("pictures",)

    def prepare(self) -> None:
        """Refuses a domain that draws no states."""
        if self.wing.drawing is None or self.wing.drawing.pictures is None:
            raise ValueError(f"pictures: expected none, because {self.wing.name!r} draws no states; leave it out")

    def items(self) -> list[str]:
        """One: the arm that is drawn."""
        return [f"pictures/{self.settings.pictures.arm}"] if self.settings.pictures else []

    def do(self, item: str) -> None:
        """Runs the arm on a few problems and keeps what it saw, frame by frame."""
        assert self.settings.pictures is not None, "the study was asked for"
        ran = self.run(item.split("/")[1], self.settings.pictures.num_problems)
        self.evaluation.folder.write_table(f"shards/{item}.parquet", self._table(ran))

    def tables(self, tables: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
        """The frames."""
        return {"pictures": self.evaluation.gathered(self.items())}

    def _table(self, ran: Ran) -> pa.Table:
        """One row a step of a problem: what the domain draws, the candidates' scores and errors, and the choice."""
        tree, drawing, rows = ran.result.tree, self.wing.drawing, list[dict[str, Any]]()
        assert tree is not None and drawing is not None and drawing.pictures is not None, "prepared"
        verifier, paths = self.wing.verifier(), best_paths(ran.result)
        for row, problem in enumerate(ran.ids):
            nodes = paths[row][paths[row] >= 0]
            for step, (above, node) in enumerate(pairwise(nodes), start=1):
                siblings = np.flatnonzero(tree.parent == above)
                children = tree.states(siblings)
                chosen = int(np.flatnonzero(siblings == node)[0])
                drawn = drawing.pictures(tree.states(np.array([above])), children, chosen)
                scored = {"candidate_scores": tree.score[siblings], "candidate_errors": -verifier.outcome(children)}
                rows.append({"problem_id": problem, "step": step, "chosen": chosen, **drawn, **scored})
        return picture_rows(rows)


class LogStudy(_Kept):
    """Every candidate that the guide of a written-out arm scored, with its score by every part of that guide."""

    kinds: ClassVar[tuple[str, ...]] = ("steps",)

    def items(self) -> list[str]:
        """One for each arm that has a guide."""
        return [f"steps/{name}" for name, arm in self.settings.arms.items() if arm.guide != UNSCORED]

    def do(self, item: str) -> None:
        """Runs the arm on a few problems and keeps every candidate with its scores."""
        name = item.split("/")[1]
        ran = self.run(name, self.settings.num_logged)
        log = step_log(ran.result, self.evaluation.guides.parts(self.arm(name).guide))
        ids = pa.array(ran.ids).take(log["problem"])
        log = log.set_column(log.column_names.index("problem"), "problem_id", ids)
        self.evaluation.folder.write_table(f"shards/{item}.parquet", log)

    def tables(self, tables: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
        """The logs of all arms; a score is null where an arm has no such part."""
        logs = [
            named(self.evaluation.folder.read_table(f"shards/{item}.parquet"), arm=item.split("/")[1])
            for item in self.items()
        ]
        if not logs:
            return {}
        table = pa.concat_tables(logs, promote_options="default")
        return {"steps": table.sort_by([("arm", "ascending"), ("problem_id", "ascending")])}


def picture_rows(rows: list[Row]) -> pa.Table:
    """Rows of one number of candidates as a table; steps with fewer are left out."""
    most = max((len(row["candidate_scores"]) for row in rows), default=0)
    rows = [row for row in rows if len(row["candidate_scores"]) == most]
    if not rows:
        return pa.table({"problem_id": pa.array([], pa.string())})
    columns: dict[str, Any] = {}
    for name, value in rows[0].items():
        values = [row[name] for row in rows]
        columns[name] = tensor_column(np.stack(values)) if isinstance(value, np.ndarray) else values
    return pa.table(columns)
