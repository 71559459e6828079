"""PRMBench: solutions with error steps of eight kinds, and right ones (Song et al. 2025, arXiv:2501.03124)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from stepward.core.rows import read_rows
from stepward.core.wing import Rejected
from stepward.domains.math.problems import Problem, RatedSolution
from stepward.domains.math.readers.rows import Row, RowError, collect, required, required_text

__all__ = ["read_prmbench"]

_PLACE = " place"  # no field of a file begins with a blank


def read_prmbench(source: str | Path) -> tuple[list[RatedSolution], list[Rejected]]:
    """Read rows of ``original_question, modified_process, error_steps`` (counted from 1) and ``classification``.

    Args:
        source: a file, or a folder of them.

    Returns:
        Rated solutions, tagged with the kind of error: -1 at error steps, 1 elsewhere. Ids are of file, kind and line,
        for rows of different kinds share their ``idx``. The problems have no answer. And the rejected rows, among them
        those whose error steps lie outside the process (111 of the 6,610 published rows).
    """
    placed = ((place, row if isinstance(row, Rejected) else {**row, _PLACE: place}) for place, row in read_rows(source))

    def build(row: Row, number: int) -> Iterator[RatedSolution]:
        steps, wrong = required(row, "modified_process", list), required(row, "error_steps", list)
        if not steps or not all(isinstance(step, str) for step in steps):
            raise RowError("field 'modified_process': expected a non-empty list of texts")
        if not all(type(step) is int and 1 <= step <= len(steps) for step in wrong):
            raise RowError(f"field 'error_steps': expected numbers from 1 to {len(steps)}, got {wrong}")
        kind, question = required_text(row, "classification"), required_text(row, "original_question")
        file, _, line = row[_PLACE].rpartition(":")
        identity = f"prmbench/{file.partition('.')[0]}/{kind}/{line}"
        ratings = tuple(-1 if t in wrong else 1 for t in range(1, len(steps) + 1))
        problem = Problem(f"{identity}/problem", question, "", "prmbench")
        yield RatedSolution(identity, problem, tuple(steps), ratings, tags=(kind,))

    return collect(placed, build)
