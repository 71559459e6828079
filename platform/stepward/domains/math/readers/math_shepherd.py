"""Math-Shepherd: steps labelled + where a continuation reached the answer (Wang et al. 2024, arXiv:2312.08935)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from stepward.core.wing import Rejected
from stepward.domains.math.problems import Problem, RatedSolution
from stepward.domains.math.readers.rows import Row, RowError, collect, read_rows, required, source_name

__all__ = ["MATH_SHEPHERD_ID", "read_math_shepherd"]

MATH_SHEPHERD_ID = "peiyi9979/Math-Shepherd"
_TAG, _FIRST = "ки", "Step 1:"  # the tag, Cyrillic, ends a step; in `label`, + or - stands in its place


def read_math_shepherd(
    source: str | Path = MATH_SHEPHERD_ID, *, split: str = "train"
) -> tuple[list[RatedSolution], list[Rejected]]:
    """Read rows of ``input`` (question and steps, each ended by the tag) and ``label`` (the same with + or -).

    Args:
        source: a file or folder, or the data set id.
        split: only for a data set id.

    Returns:
        Rated solutions: 1 for +, -1 for -; their problems have no answer, for the data set publishes none. And the
        rejected rows, among them those whose label does not say what the input says.
    """
    name = source_name("math_shepherd", source, split)

    def build(row: Row, number: int) -> Iterator[RatedSolution]:
        *pieces, rest = required(row, "input", str).split(_TAG)
        ratings = _ratings([*pieces, rest], required(row, "label", str))
        question, found, first = (pieces[0] if pieces else "").partition(_FIRST)
        if not found or not question.strip() or rest.strip():
            raise RowError(f"field 'input': expected a question, and steps from {_FIRST!r}, each ended by {_TAG!r}")
        steps = tuple(piece.strip() for piece in (found + first, *pieces[1:]))
        problem = Problem(f"{name}/{number}/problem", question.strip(), "", "math_shepherd")
        yield RatedSolution(f"{name}/{number}", problem, steps, ratings)

    return collect(read_rows(source, split=split), build)


def _ratings(pieces: list[str], label: str) -> tuple[int, ...]:
    """The sign after each piece of text but the last, read where the tag stood."""
    ratings: list[int] = []
    place = 0
    for piece in pieces[:-1]:
        place += len(piece)
        if not label.startswith(piece, place - len(piece)) or label[place : place + 1] not in ("+", "-"):
            raise RowError(f"field 'label': expected the text of 'input' with + or - for step {len(ratings) + 1}")
        ratings.append(1 if label[place] == "+" else -1)
        place += 1
    if label[place:].strip() != pieces[-1].strip():
        raise RowError("field 'label': expected the text of 'input', got another end")
    return tuple(ratings)
