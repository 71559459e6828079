"""Where two graders differ: the plain regular expression most projects use, against `Grader`.

A disagreement is worth a look: either the regular expression missed an equal form, or math-verify was too lenient.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from stepward.domains.math.grading.extraction import final_answer, last_number
from stepward.domains.math.grading.grader import Grader

__all__ = ["Disagreement", "append_disagreements", "find_disagreements", "regex_grade"]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One answer on which the graders differ.

    Attributes:
        id: the solution's id.
        answer: the extracted final answer.
        gold: the reference answer.
        regex_correct: what the regular expression says.
        correct: what the grader says.
        reason: the grader's reason.
    """

    id: str
    answer: str
    gold: str
    regex_correct: bool
    correct: bool
    reason: str


def regex_grade(solutions: Sequence[str], gold: Sequence[str]) -> list[bool]:
    """The plain rule: the last number of the solution equals the last number of the reference, as decimals."""
    return [_same_number(last_number(s), last_number(g)) for s, g in zip(solutions, gold, strict=True)]


def find_disagreements(
    ids: Sequence[str], solutions: Sequence[str], gold: Sequence[str], *, grader: Grader
) -> list[Disagreement]:
    """Grade solutions both ways and return the differences, in order."""
    answers = [final_answer(solution) for solution in solutions]
    verdicts = grader.grade(answers, gold)
    rows = zip(ids, answers, gold, regex_grade(solutions, gold), verdicts, strict=True)
    return [Disagreement(i, a, g, r, v.correct, v.reason) for i, a, g, r, v in rows if r != v.correct]


def append_disagreements(path: str | Path, disagreements: Iterable[Disagreement]) -> None:
    """Append them to a JSONL log, one object a line."""
    with Path(path).open("a", encoding="utf-8") as log:
        log.writelines(json.dumps(asdict(d)) + "\n" for d in disagreements)


def _same_number(a: str, b: str) -> bool:
    if "/" in a or "/" in b:
        return a == b != ""
    try:
        return Decimal(a) == Decimal(b)
    except InvalidOperation:
        return False
