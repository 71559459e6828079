"""Batches that killed their workers: row by row, each row noted before it is tried, so that the culprit is known.

Where a task needs all rows of a problem at once, the problem takes the place of the row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise

import pyarrow as pa

from stepward.core.labels import LabelTask
from stepward.label.task import reject, salvage
from stepward.label.work import LabelWork, unit_starts

OVERRAN = "it took longer than a row may (pool.time_limit)"


def label_alone(
    work: LabelWork,
    task: LabelTask,
    batch: str,
    token: str,
    max_attempts: int,
    *,
    time_limit: float | None = None,
    limited: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> int:
    """Label a batch row by row and keep it; returns its number of dead letters. This process may die of it.

    Rows at which the processes of `max_attempts` earlier attempts died are not tried again: they become dead letters.

    Args:
        token: names this attempt.
        time_limit: seconds after which `limited` ends the process.
        limited: a block in which a row is labelled.
    """
    rows = work.rows(batch)
    given_up = {row: spent for row, spent in work.culprits(batch).items() if len(spent) >= max_attempts}
    labels, rejected = [task.no_labels(rows)], []
    for index, end in pairwise([*unit_starts(rows, task.whole), len(rows)]):
        if index in given_up:
            rejected += [reject(rows, row, _epitaph(given_up[index], time_limit)) for row in range(index, end)]
            continue
        work.note_row(batch, token, index)
        with limited():
            done, bad = salvage(task.label, rows.slice(index, end - index), task.whole)
        labels, rejected = labels + done, rejected + bad
    work.commit(batch, pa.concat_tables(labels), rejected)
    return len(rejected)


def _epitaph(spent: Sequence[float], time_limit: float | None) -> str:
    """Why a row is given up, from the seconds that each attempt lived."""
    overran = time_limit is not None and min(spent) >= time_limit
    reason = OVERRAN if overran else "killed, out of memory, or a crash"
    return f"the process died {len(spent)} times while it was labelled ({reason})"
