"""Grading of final answers: extraction, math-verify in killable workers, and a log of disagreements."""

from stepward.domains.math.grading.disagreements import (
    Disagreement,
    append_disagreements,
    find_disagreements,
    regex_grade,
)
from stepward.domains.math.grading.extraction import final_answer, last_boxed, last_number, marked_answer
from stepward.domains.math.grading.grader import Grader, GraderLimits, Verdict

__all__ = [
    "Disagreement",
    "Grader",
    "GraderLimits",
    "Verdict",
    "append_disagreements",
    "final_answer",
    "find_disagreements",
    "last_boxed",
    "last_number",
    "marked_answer",
    "regex_grade",
]
