"""SVAMP (Patel et al. 2021, arXiv:2103.07191) and MAWPS (Koncel-Kedziorski et al. 2016): short arithmetic problems.

Both hold many variants of one problem: other numbers, another question or another order for the same story.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from stepward.core.rows import read_rows
from stepward.core.wing import Rejected
from stepward.domains.math.problems import Problem
from stepward.domains.math.readers.rows import (
    Row,
    RowError,
    collect,
    optional_text,
    required_text,
    source_name,
)

__all__ = ["read_mawps", "read_svamp"]


def read_svamp(source: str | Path) -> tuple[list[Problem], list[Rejected]]:
    """Read rows of ``Body, Question, Answer`` and maybe ``Equation, Type``; the published file is one JSON list.

    Returns:
        The problems: the story (with a full stop where it has none) and its question as text, the equation as
        solution and the type as subject; and the rejected rows.
    """
    name = source_name("svamp", source, "")

    def build(row: Row, number: int) -> Iterator[Problem]:
        story, question = required_text(row, "Body"), required_text(row, "Question")
        text = f"{story if story[-1] in '.?!,' else story + '.'} {question}"
        equation, kind = optional_text(row, "Equation"), optional_text(row, "Type")
        yield Problem(f"{name}/{number}", text, _number(row, "Answer"), "svamp", equation, kind)

    return collect(read_rows(source), build)


def read_mawps(source: str | Path) -> tuple[list[Problem], list[Rejected]]:
    """Read rows of ``question, answer``, numbers filled into the published templates.

    Returns:
        The problems, and the rejected rows.
    """
    name = source_name("mawps", source, "")

    def build(row: Row, number: int) -> Iterator[Problem]:
        question = required_text(row, "question")
        yield Problem(f"{name}/{number}", question, _number(row, "answer"), "mawps")

    return collect(read_rows(source), build)


def _number(row: Row, name: str) -> str:
    """The answer without the ``.0`` of a whole number."""
    text = required_text(row, name)
    try:
        finite = math.isfinite(float(text))
    except ValueError:
        finite = False
    if not finite:
        raise RowError(f"field {name!r}: expected a number, got {text[:50]!r}")
    return text.removesuffix(".0")
