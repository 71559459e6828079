"""Batches that killed their workers: row by row, each row noted before it is tried, so that the culprit is known.

Where a task needs all rows of a problem at once, the problem takes the place of the row.
"""

from __future__ import annotations

import uuid
from itertools import pairwise
from typing import Any

import pyarrow as pa

from stepward.label.task import reject, salvage
from stepward.label.work import LabelWork, unit_starts


def label_alone(work: LabelWork, task: Any, batch: str, max_attempts: int) -> int:
    """Label a batch row by row and keep it; returns its number of dead letters. This process may die of it.

    Rows at which `max_attempts` earlier attempts ended are not tried again: they become dead letters.
    """
    rows, token = work.rows(batch), uuid.uuid4().hex[:8]
    given_up = {row: times for row, times in work.culprits(batch).items() if times >= max_attempts}
    labels, rejected = [task.no_labels(rows)], []
    whole = getattr(task, "whole", None)
    for index, end in pairwise([*unit_starts(rows, whole), len(rows)]):
        if index in given_up:
            died = f"the process died {given_up[index]} times while it was labelled (killed, out of memory, or a crash)"
            rejected += [reject(rows, row, died) for row in range(index, end)]
            continue
        work.note_row(batch, token, index)
        done, bad = salvage(task.label, rows.slice(index, end - index), whole)
        labels, rejected = labels + done, rejected + bad
    work.commit(batch, pa.concat_tables(labels), rejected)
    return len(rejected)
