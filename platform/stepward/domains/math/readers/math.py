"""MATH: competition problems with LaTeX answers (Hendrycks et al. 2021, arXiv:2103.03874)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from stepward.core.wing import Rejected
from stepward.domains.math.grading.extraction import last_boxed
from stepward.domains.math.problems import Problem
from stepward.domains.math.readers.rows import Row, RowError, collect, optional_text, read_rows, source_name
from stepward.domains.math.readers.rows import required_text as text_of

__all__ = ["MATH_ID", "read_math"]

MATH_ID = "HuggingFaceH4/MATH-500"


def read_math(
    source: str | Path = MATH_ID, *, split: str = "test", config: str | None = None
) -> tuple[list[Problem], list[Rejected]]:
    r"""Read problems whose answer is a field, or the last ``\boxed{...}`` of the solution.

    Args:
        source: a JSON or JSONL file, a folder with one JSON object a problem (the published archive), or a data set
            id. Fields: ``problem`` (or ``question``); ``answer`` or ``final_answer`` or a ``solution`` with a box;
            optionally ``subject`` or ``type``, ``level``, ``unique_id``.
        split: only for a data set id.
        config: only for a data set id that has configurations, for instance a subject.

    Returns:
        The problems and the rejected rows. A row without question or answer is rejected.
    """
    name = source_name("math", source, split)

    def build(row: Row, number: int) -> Iterator[Problem]:
        solution = optional_text(row, "solution")
        answer = optional_text(row, "answer") or optional_text(row, "final_answer") or last_boxed(solution)
        question = text_of(row, "problem", "question")
        if not answer:
            raise RowError("no answer, final_answer or closed \\boxed in solution")
        subject = optional_text(row, "subject") or optional_text(row, "type")
        yield Problem(
            f"{name}/{number}", question, answer.strip(), "math", solution, subject, optional_text(row, "level")
        )

    return collect(read_rows(source, config=config, split=split), build)
