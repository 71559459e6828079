"""Step labels as TRL and OpenRLHF have them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stepward.core.rows import read_rows
from stepward.core.wing import Rejected
from stepward.domains.math.problems import Problem, RatedSolution
from stepward.domains.math.readers.rows import Row, RowError, collect, required, required_text, source_name

__all__ = ["read_openrlhf", "read_trl"]

_PLACEHOLDER = "ки"
_NUMBER = re.compile(r"^Step \d+:\s*")


def read_trl(source: str | Path) -> tuple[list[RatedSolution], list[Rejected]]:
    """Read TRL's stepwise supervision: rows of ``prompt``, ``completions`` and ``labels`` (true or false).

    Returns:
        Rated solutions, whose problems have no answer, and the rejected rows.
    """
    name = source_name("trl", source, "")

    def build(row: Row, number: int) -> Iterator[RatedSolution]:
        steps, labels = required(row, "completions", list), required(row, "labels", list)
        if not steps or not all(isinstance(step, str) and step.strip() for step in steps):
            raise RowError("field 'completions': expected a list of texts, none of them empty")
        if not all(isinstance(label, bool) for label in labels):
            raise RowError(f"field 'labels': expected true or false, got {labels}")
        yield _rated(f"{name}/{number}", required_text(row, "prompt"), steps, labels)

    return collect(read_rows(source), build)


def read_openrlhf(source: str | Path) -> tuple[list[RatedSolution], list[Rejected]]:
    """Read OpenRLHF's process rewards: ``input``, a question and steps from "Step 1:", each ended by the placeholder
    "ки", and ``value`` (or ``label``), a list of + and −, or of numbers from 0 to 1, right above one half.

    Returns:
        Rated solutions, whose problems have no answer, and the rejected rows.
    """
    name = source_name("openrlhf", source, "")

    def build(row: Row, number: int) -> Iterator[RatedSolution]:
        *pieces, rest = required(row, "input", str).split(_PLACEHOLDER)
        question, found, first = (pieces[0] if pieces else "").partition("Step 1:")
        if not found or not question.strip() or rest.strip():
            raise RowError(
                f"field 'input': expected a question, and steps from 'Step 1:', each ended by {_PLACEHOLDER}"
            )
        steps = [_NUMBER.sub("", piece.strip()) for piece in (found + first, *pieces[1:])]
        values = required(row, "value" if "value" in row else "label", list)
        yield _rated(f"{name}/{number}", question.strip(), steps, [_is_right(value) for value in values])

    return collect(read_rows(source), build)


def _is_right(value: Any) -> bool:
    if value in ("+", "-"):
        return bool(value == "+")
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return value > 0.5
    raise RowError(f"field 'value': expected + and -, or numbers from 0 to 1, got {value!r}")


def _rated(identity: str, question: str, steps: list[str], labels: list[bool]) -> RatedSolution:
    if len(steps) != len(labels):
        raise RowError(f"expected a label a step, got {len(labels)} for {len(steps)} steps")
    ratings = tuple(1 if right else -1 for right in labels)
    return RatedSolution(identity, Problem(f"{identity}/problem", question, "", "given"), tuple(steps), ratings)
