"""The work of one label artifact on storage: its rows in batches, and what has become of each batch.

A batch is the unit of work, of progress and of loss. Its labels are one file that appears whole or not at all, under a
name that depends on the batch alone. So whoever makes a batch, and however often, the artifact holds it once, and
what is left to do is a listing of files:

    <artifact>/labels/train-000012.parquet      its labels: the batch is done
    <artifact>/rollouts/train-000012.parquet    what its rollouts said, where a log is kept
    <scratch>/rows/train-000012.parquet         its rows; <scratch> is a folder of the artifact's own scratch folder
    <scratch>/begun/train-000012/<token>        one file for every time a worker began it
    <scratch>/culprits/train-000012/<token>     in quarantine: the row at which each attempt stands, and since when
    <scratch>/died/train-000012/<token>         in quarantine: the driver saw this attempt's process die, at what time
    <scratch>/dead/train-000012.parquet         its rows that could not be labelled
    <scratch>/problems.parquet                  the problems they were mined from
    <scratch>/plan.json                         written when all rows are: batches and their numbers of rows
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc

from stepward.core.artifacts import Artifact, fingerprint
from stepward.core.wing import Rejected, rejected_table
from stepward.label.rollout_log import COLUMN, rollout_table

PLAN, PROBLEMS = "plan.json", "problems.parquet"
STAGE = "label"


class LabelWork:
    """Batches of one label artifact.

    Args:
        artifact: where labels go.
        identity: settings of the artifact; scratch files of other settings are not taken up.
    """

    def __init__(self, artifact: Artifact, identity: Mapping[str, object]) -> None:
        self.artifact, self.fingerprint = artifact, fingerprint(identity)
        self.folder = artifact.folder
        self.scratch = artifact.scratch / "rows"

    @property
    def planned(self) -> bool:
        """Whether an earlier run of the same settings has cut the states into batches."""
        return self.scratch.exists(PLAN) and self.scratch.read_json(PLAN)["fingerprint"] == self.fingerprint

    def plan(
        self,
        tables: Iterable[pa.Table],
        rejected: Iterable[Rejected],
        batch_size: int,
        whole: str | None = None,
        *,
        problems: pa.Table,
    ) -> None:
        """Write rows as batches of one split and at most `batch_size` rows. Call it where `planned` is False.

        Args:
            tables: partial solutions with id, problem_id and split; the rows of a split follow one another.
            rejected: rows that did not get that far. It is read after the tables.
            whole: a column; neighbours of equal value are not parted, even if a batch gets larger.
            problems: what the rows were mined from, which becomes a table of the artifact.

        Whatever raises on the way leaves nothing behind.
        """
        self.scratch.delete("")
        self.folder.delete("labels")
        self.folder.delete(COLUMN)
        batches: dict[str, int] = {}
        try:
            for name, rows in cut(tables, batch_size, whole):
                self.scratch.write_table(f"rows/{name}.parquet", rows)
                batches[name] = len(rows)
        except BaseException:
            self.scratch.delete("")
            raise
        self.scratch.write_table(PROBLEMS, problems)
        self.scratch.write_table("dead/problems.parquet", rejected_table(rejected, STAGE))
        plan = {"fingerprint": self.fingerprint, "batch_size": batch_size, "batches": batches}
        self.scratch.write_json(PLAN, plan)

    def batches(self) -> dict[str, int]:
        """Number of rows of every batch, in the order of their names."""
        return dict(sorted(self.scratch.read_json(PLAN)["batches"].items()))

    def done(self) -> set[str]:
        """Batches whose labels are complete."""
        return {name.removeprefix("labels/").removesuffix(".parquet") for name in self.folder.files("labels")}

    def is_done(self, batch: str) -> bool:
        """Whether the labels of a batch are complete."""
        return self.folder.exists(f"labels/{batch}.parquet")

    def left(self) -> list[str]:
        """Batches that are not done, in the order of their names."""
        done = self.done()
        return [batch for batch in self.batches() if batch not in done]

    def problems(self) -> pa.Table:
        """The problems that the rows were mined from."""
        return self.scratch.read_table(PROBLEMS)

    def rows(self, batch: str) -> pa.Table:
        """Mined states of one batch."""
        return self.scratch.read_table(f"rows/{batch}.parquet")

    def begin(self, batch: str) -> None:
        """Note that somebody begins a batch, so that one that kills its worker can be told from its neighbours."""
        self.scratch.write_bytes(f"begun/{batch}/{uuid.uuid4().hex[:8]}", b"")

    def begun(self) -> Counter[str]:
        """How often each batch was begun."""
        return Counter(name.split("/")[1] for name in self.scratch.files("begun"))

    def note_row(self, batch: str, token: str, row: int) -> None:
        """Note, in quarantine, the row that is attempted next; `token` names the attempt."""
        self.scratch.write_json(f"culprits/{batch}/{token}", {"row": row, "at": time.time()})

    def note_death(self, batch: str, token: str) -> None:
        """Note, in quarantine, that the process of an attempt died. An attempt that ends with the driver, or with the
        whole cluster, has no such note: it says nothing of the row.
        """
        self.scratch.write_json(f"died/{batch}/{token}", {"at": time.time()})

    def culprits(self, batch: str) -> dict[int, list[float]]:
        """Row of a batch -> seconds that each attempt in quarantine spent on it before its process died."""
        found: dict[int, list[float]] = {}
        for token in (PurePosixPath(name).name for name in self.scratch.files(f"died/{batch}")):
            if self.scratch.exists(f"culprits/{batch}/{token}"):  # else it died before it began a row
                begun, died = (self.scratch.read_json(f"{kind}/{batch}/{token}") for kind in ("culprits", "died"))
                found.setdefault(begun["row"], []).append(died["at"] - begun["at"])
        return found

    def commit(self, batch: str, labels: pa.Table, rejected: list[Rejected]) -> None:
        """Keep the outcome of a batch: dead letters first, because the file of labels is what says "done"."""
        self.scratch.write_table(f"dead/{batch}.parquet", rejected_table(rejected, STAGE))
        if COLUMN in labels.column_names:
            self.folder.write_table(f"{COLUMN}/{batch}.parquet", rollout_table(labels))
            labels = labels.drop_columns(COLUMN)
        self.folder.write_table(f"labels/{batch}.parquet", labels)

    def labels(self, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """Labels, one batch at a time, in the order of their names."""
        for batch in self.batches():
            yield self.folder.read_table(f"labels/{batch}.parquet", columns)

    def dead_letters(self) -> pa.Table:
        """Every row that could not be used: rejected by the reader, while mining, or while labelling."""
        names = ["problems", *self.batches()]
        return pa.concat_tables([self.scratch.read_table(f"dead/{name}.parquet") for name in names])

    def audit(self) -> None:
        """Check that each row became one label or one dead letter, that no id occurs twice, and that there is no
        file of labels which the plan does not know.

        Raises:
            ValueError: a row is missing, or too many. It names the batch and the ids.
        """
        foreign = sorted(self.done() - set(self.batches()))
        if foreign:
            raise ValueError(
                f"{self.folder.url}/labels: expected the batches of the plan alone, found {foreign[:5]} as well. "
                "Make the artifact again (overwrite=true)."
            )
        for batch in self.batches():
            rows = self.scratch.read_table(f"rows/{batch}.parquet", ["id"])["id"].to_pylist()
            labels = self.folder.read_table(f"labels/{batch}.parquet", ["id"])["id"].to_pylist()
            dead = self.scratch.read_table(f"dead/{batch}.parquet", ["id"])["id"].to_pylist()
            wrong = (Counter(labels) + Counter(dead)) - Counter(rows) | (
                Counter(rows) - Counter(labels) - Counter(dead)
            )
            if wrong:
                raise ValueError(
                    f"{self.folder.url}: expected each row of batch {batch} once, as a label or as a dead letter, "
                    f"which does not hold for {sorted(wrong)[:5]}. Make the artifact again (overwrite=true)."
                )
        ids = pa.chunked_array([part["id"].combine_chunks() for part in self.labels(["id"])], pa.string())
        if pc.count_distinct(ids).as_py() != len(ids):
            twice = [item["values"] for item in pc.value_counts(ids).to_pylist() if item["counts"] > 1]
            raise ValueError(
                f"Rows to label: expected unique ids, got {twice[:5]} more than once. Give rows unique ids."
            )


def cut(tables: Iterable[pa.Table], batch_size: int, whole: str | None = None) -> Iterator[tuple[str, pa.Table]]:
    """(name, rows) of batches: at most `batch_size` consecutive rows of one split, whatever tables they came in.

    Neighbours of equal value in the column `whole` stay together; they also come in one table.
    """
    split, waiting, number = "", None, 0
    for table in tables:
        if not len(table):
            continue
        now = table["split"][0].as_py()
        if now != split:
            if waiting is not None and len(waiting):
                yield f"{split}-{number:06d}", waiting
            split, waiting, number = now, None, 0
        waiting = table if waiting is None else pa.concat_tables([waiting, table])
        while len(waiting) >= batch_size:
            end = _end(waiting, batch_size, whole)
            yield f"{split}-{number:06d}", waiting.slice(0, end)
            waiting, number = waiting.slice(end), number + 1
    if waiting is not None and len(waiting):
        yield f"{split}-{number:06d}", waiting


def unit_starts(rows: pa.Table, whole: str | None) -> list[int]:
    """Where the units of a table begin that are worked on together: its rows, or neighbours of equal value."""
    if whole is None or not len(rows):
        return list(range(len(rows)))
    values = rows[whole].to_pylist()
    return [0, *(i for i in range(1, len(rows)) if values[i] != values[i - 1])]


def _end(rows: pa.Table, batch_size: int, whole: str | None) -> int:
    """Where the first batch of rows ends."""
    if whole is None:
        return batch_size
    ends = [*unit_starts(rows, whole)[1:], len(rows)]
    return max((end for end in ends if end <= batch_size), default=ends[0])
