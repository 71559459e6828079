"""Rows to label: problems of every split, and the partial solutions mined from them."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from stepward.core.wing import Rejected
from stepward.label.settings import SPLITS, LabelSettings
from stepward.label.task import salvage

CHUNK = 1000  # problems mined at a time


def read_problems(settings: LabelSettings) -> tuple[pa.Table, list[Rejected]]:
    """Problems of all splits with a column `split`, and the rows of a user's file that cannot be used, once each.

    Raises:
        ValueError: there is no problem at all, or one id stands for two problems.
    """
    tables: list[pa.Table] = []
    rejected: dict[str, Rejected] = {}
    for split in SPLITS:
        table, bad = settings.here(settings.problems).problems(split, settings.seed)
        tables.append(table.append_column("split", pa.array([split] * len(table), pa.string())))
        rejected |= {row.id: row for row in bad}
    problems = pa.concat_tables(tables)
    if not len(problems):
        first = f" The first rejected row: {next(iter(rejected.values()))}." if rejected else ""
        raise ValueError(f"Problems: expected at least one that can be used, got none.{first}")
    ids = problems["id"].to_pylist()
    if len(set(ids)) != len(ids):
        raise ValueError("Problems: expected ids that are unique over all splits. Give every problem an id of its own.")
    return problems, list(rejected.values())


def mine(settings: LabelSettings, problems: pa.Table, rejected: list[Rejected]) -> Iterator[pa.Table]:
    """Partial solutions, some problems at a time, so that memory does not grow with their number.

    Problems that cannot be mined are added to `rejected`.
    """
    mining = settings.here(settings.mining)
    for split in SPLITS:
        of_split = problems.filter(pc.equal(problems["split"], split)).drop_columns("split")
        for first in range(0, len(of_split), CHUNK):
            mined, bad = salvage(lambda p: mining.mine(p, settings.seed), of_split.slice(first, CHUNK))
            rejected += bad
            for table in mined:
                yield table.append_column("split", pa.array([split] * len(table), pa.string()))
