"""PRMBench: solutions with error steps of eight kinds, and right ones (Song et al. 2025, arXiv:2501.03124)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from stepward.core.rows import read_rows
from stepward.core.wing import Rejected
from stepward.domains.math.problems import Problem, RatedSolution
from stepward.domains.math.readers.rows import Row, RowError, collect, optional_text, required, required_text

__all__ = ["read_prmbench"]

_PLACE = " place"  # no field of a file begins with a blank


def read_prmbench(
    source: str | Path, *, outside: Literal["rejected", "ignored"] = "rejected"
) -> tuple[list[RatedSolution], list[Rejected]]:
    """Read rows of ``modified_question, modified_process, error_steps`` (counted from 1) and ``classification``.

    Args:
        source: a file, or a folder of them.
        outside: what becomes of a row whose error steps lie outside the process (111 of the 6,610 published rows, those
            of the subset included); the published program ignores such steps.

    Returns:
        Rated solutions, tagged with the kind of error and ``idx``, which rows of different kinds share: -1 at error
        steps, 1 elsewhere. Ids are of file, kind and line. The problems have no answer, and those of one question of
        PRM800K, which the rows write differently, are of one group. And the rejected rows.
    """
    placed = ((place, row if isinstance(row, Rejected) else {**row, _PLACE: place}) for place, row in read_rows(source))

    def build(row: Row, number: int) -> Iterator[RatedSolution]:
        steps, wrong = required(row, "modified_process", list), required(row, "error_steps", list)
        if not steps or not all(isinstance(step, str) for step in steps):
            raise RowError("field 'modified_process': expected a non-empty list of texts")
        if outside == "rejected" and not all(type(step) is int and 1 <= step <= len(steps) for step in wrong):
            raise RowError(f"field 'error_steps': expected numbers from 1 to {len(steps)}, got {wrong}")
        kind, original = required_text(row, "classification"), required_text(row, "original_question")
        group = optional_text(row, "question") or original
        file, _, line = row[_PLACE].rpartition(":")
        identity = f"prmbench/{file.partition('.')[0]}/{kind}/{line}"
        ratings = tuple(-1 if t in wrong else 1 for t in range(1, len(steps) + 1))
        tags = tuple(filter(None, (kind, optional_text(row, "idx"))))
        asked = optional_text(row, "modified_question") or original
        problem = Problem(f"{identity}/problem", asked, "", "prmbench", group=group)
        yield RatedSolution(identity, problem, tuple(steps), ratings, tags=tags)

    return collect(placed, build)
