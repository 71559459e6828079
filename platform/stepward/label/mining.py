"""Rows to label: problems of every split, and the partial solutions mined from them.

Mining that takes a model is done by workers, a batch of problems at a time. What they mine is kept batch by batch until
all is there, so mining resumes like labelling, by the same protocol (`LabelWork`): problems take the place of rows, and
partial solutions that of labels. Both ways give the same rows in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pyarrow as pa

from stepward.core.artifacts import Artifact
from stepward.core.wing import Rejected
from stepward.label.settings import SPLITS, LabelSettings
from stepward.label.task import salvage
from stepward.label.work import LabelWork

CHUNK = 1000  # problems mined at a time


def read_problems(settings: LabelSettings) -> tuple[pa.Table, list[Rejected]]:
    """Problems of all splits with a column `split`, and the rows of a user's file that cannot be used, once each.

    Raises:
        ValueError: there is no problem at all, or one id stands for two problems.
    """
    tables: list[pa.Table] = []
    rejected: dict[str, Rejected] = {}
    for split in SPLITS:
        table, bad = settings.here(settings.source).problems(split, settings.seed)
        tables.append(table.append_column("split", pa.array([split] * len(table), pa.string())))
        rejected |= {row.id: row for row in bad}
    problems = pa.concat_tables(tables)
    if not len(problems):
        first = f" The first rejected row: {next(iter(rejected.values()))}." if rejected else ""
        raise ValueError(f"Problems: expected at least one that can be used, got none.{first}")
    ids = problems["id"].to_pylist()
    if len(set(ids)) != len(ids):
        raise ValueError("Problems: expected ids that are unique over all splits. Give every problem an id of its own.")
    settings.labels.check(settings.wing.states(problems.slice(0, 0)))
    return problems, list(rejected.values())


def mine(settings: LabelSettings, problems: pa.Table, rejected: list[Rejected]) -> Iterator[pa.Table]:
    """Partial solutions, some problems at a time, so that memory does not grow with their number.

    Problems that cannot be mined are added to `rejected`.
    """
    task = MineTask(settings)
    for split in SPLITS:
        of_split = settings.labelled(problems, split)
        for first in range(0, len(of_split), CHUNK):
            mined, bad = salvage(task.label, of_split.slice(first, CHUNK))
            rejected += bad
            yield from mined


class MineTask:
    """Mines problems of one split at a time; a `LabelTask` before labelling."""

    whole = None  # problems are independent

    def __init__(self, settings: LabelSettings) -> None:
        self.mining, self.seed = settings.here(settings.miner), settings.seed
        if hasattr(self.mining, "prepare"):  # a model that cannot be loaded is not the fault of a problem
            self.mining.prepare()

    def __call__(self, problems: pa.Table) -> tuple[pa.Table, list[Rejected]]:
        """Partial solutions of the problems that can be mined, in order, and the others with what went wrong."""
        mined, rejected = salvage(self.label, problems)
        return pa.concat_tables([self.no_labels(problems), *mined]), rejected

    def label(self, problems: pa.Table) -> pa.Table:
        """Partial solutions of problems, with their split."""
        split = problems["split"][0].as_py() if len(problems) else ""
        mined = self.mining.mine(problems.drop_columns("split"), self.seed)
        return mined.append_column("split", pa.array([split] * len(mined), pa.string()))

    def no_labels(self, problems: pa.Table) -> pa.Table:
        """A table without rows, of the columns of partial solutions."""
        return self.label(problems.slice(0, 0))


class MiningWork(LabelWork):
    """Problems in batches, and what was mined from each; all of it is scratch, gone once rows are planned."""

    def __init__(self, artifact: Artifact, identity: Mapping[str, object]) -> None:
        super().__init__(artifact, identity)
        home = artifact.scratch / "mining"
        self.folder, self.scratch = home / "mined", home / "work"

    def clear(self) -> None:
        """Remove everything."""
        self.folder.delete("")
        self.scratch.delete("")

    def mined(self) -> Iterator[pa.Table]:
        """Partial solutions of all problems, split by split, in the order of the problems."""
        for split in SPLITS:
            for batch in self.batches():
                if batch.rpartition("-")[0] == split:
                    yield self.folder.read_table(f"labels/{batch}.parquet")

    def rejected(self) -> list[Rejected]:
        """Problems that could not be read or mined."""
        rows = self.dead_letters().to_pylist()
        return [Rejected(id=row["id"], error=row["error"], content=row["content"]) for row in rows]


def mines_in_workers(settings: LabelSettings) -> bool:
    """Whether mining is so much work that the pool does it; mining settings say so by ``IN_WORKERS``."""
    return bool(getattr(settings.miner, "IN_WORKERS", False))
