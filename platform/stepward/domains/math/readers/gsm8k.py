"""GSM8K: 8.8 thousand grade-school word problems (Cobbe et al. 2021, arXiv:2110.14168).

A solution has one operation a line, calculator annotations ``<<48/2=24>>`` and a last line ``#### 72``.
The file of model-written solutions ends with ``A: 72`` instead and carries four models' verdicts a question.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from stepward.core.wing import Rejected
from stepward.domains.math.problems import ModelSolution, Problem
from stepward.domains.math.readers.rows import Row, RowError, collect, read_rows, required, required_text, source_name

__all__ = ["GSM8K_ID", "read_gsm8k", "read_gsm8k_model_solutions", "strip_calculator"]

GSM8K_ID = "openai/gsm8k"
_CALCULATOR = re.compile(r"<<[^<>\n]*>>")
_FINAL = re.compile(r"^(?:####|A:)[ \t]*(.*)$", re.MULTILINE)
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3})")


def read_gsm8k(
    source: str | Path = GSM8K_ID, *, split: str = "test", keep_calculator: bool = False
) -> tuple[list[Problem], list[Rejected]]:
    """Read questions with ``#### N`` answers.

    Args:
        source: a JSONL file with fields ``question`` and ``answer``, or a data set id (configuration ``main``).
        split: ``train`` or ``test``; only for a data set id.
        keep_calculator: keep the annotations ``<<...>>`` in the reference solution.

    Returns:
        The problems, answers without thousands separators, and the rejected rows.
    """
    name = source_name("gsm8k", source, split)

    def build(row: Row, number: int) -> Iterator[Problem]:
        question, solution = required_text(row, "question"), required_text(row, "answer")
        answer = _final(solution, "answer")
        text = solution if keep_calculator else strip_calculator(solution)
        yield Problem(f"{name}/{number}", question, answer, "gsm8k", text)

    return collect(read_rows(source, config="main", split=split), build)


def read_gsm8k_model_solutions(source: str | Path) -> tuple[list[ModelSolution], list[Rejected]]:
    """Read ``example_model_solutions.jsonl``: several models' solutions of each test question, with verdicts.

    Every field that holds an object with ``solution`` and ``is_correct`` is a generator. Texts stay as written.
    """
    name = source_name("gsm8k", source, "test")

    def build(row: Row, number: int) -> Iterator[ModelSolution]:
        truth = required_text(row, "ground_truth")
        problem = Problem(
            f"{name}/{number}",
            required_text(row, "question"),
            _final(truth, "ground_truth"),
            "gsm8k",
            strip_calculator(truth),
        )
        generators = [key for key, value in row.items() if isinstance(value, dict)]
        if not generators:
            raise RowError("no model solutions")
        for generator in generators:
            entry = row[generator]
            text, correct = required(entry, "solution", str), required(entry, "is_correct", bool)
            yield ModelSolution(f"{problem.id}/{generator}", problem, generator, text, correct)

    return collect(read_rows(source), build)


def strip_calculator(text: str) -> str:
    """Remove the calculator annotations: ``48/2 = <<48/2=24>>24`` becomes ``48/2 = 24``."""
    return _CALCULATOR.sub("", text)


def _final(solution: str, field: str) -> str:
    found = _FINAL.findall(solution)
    if not found or not found[-1].strip():
        raise RowError(f"field {field!r}: no final line '#### N'")
    return _THOUSANDS.sub("", found[-1].strip())
