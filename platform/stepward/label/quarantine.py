"""Batches that killed their workers: row by row, each row noted before it is tried, so that the culprit is known."""

from __future__ import annotations

import uuid

import pyarrow as pa

from stepward.label.task import LabelTask, reject, salvage
from stepward.label.work import LabelWork


def label_alone(work: LabelWork, task: LabelTask, batch: str, max_attempts: int) -> int:
    """Label a batch row by row and keep it; returns its number of dead letters. This process may die of it.

    Rows at which `max_attempts` earlier attempts ended are not tried again: they become dead letters.
    """
    rows, token = work.rows(batch), uuid.uuid4().hex[:8]
    given_up = {row: times for row, times in work.culprits(batch).items() if times >= max_attempts}
    labels, rejected = [task.no_labels(rows)], []
    for index in range(len(rows)):
        if index in given_up:
            died = f"the process died {given_up[index]} times while it was labelled (killed, out of memory, or a crash)"
            rejected.append(reject(rows, index, died))
            continue
        work.note_row(batch, token, index)
        done, bad = salvage(task.label, rows.slice(index, 1))
        labels, rejected = labels + done, rejected + bad
    work.commit(batch, pa.concat_tables(labels), rejected)
    return len(rejected)
