"""The grader: is this answer the reference answer? Every input gets a verdict; none raises, hangs or kills.

An answer passes three gates. Its size is checked first. Then two short cuts settle most answers: identical text, and
two plain integers. What is left goes to math-verify in a worker process that can be killed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from stepward.domains.math.grading.extraction import final_answer
from stepward.domains.math.grading.formulas import names_a_value
from stepward.domains.math.grading.numbers import (
    join_thousands,
    read_decimal_comma,
    read_quantity,
    same_quantity,
    split_unit,
)
from stepward.domains.math.grading.pool import Judgement, WorkerPool
from stepward.domains.math.grading.writing import ascii_math, unwrap_text

__all__ = ["Grader", "GraderLimits", "Verdict"]

_CLOCK = re.compile(r"(\d{1,6})\s*(?::|\\colon)\s*(\d{1,6})(?:\s*:\s*(\d{1,6}))?(?:\s*([aApP])\.?[mM]\.?)?", re.ASCII)
_WORDS = re.compile(r"\(?([A-Za-z][A-Za-z' .,-]*[A-Za-z])\)?\.?")
_LOOSE_NUMBERS = re.compile(r"-?[\d.]+(?:\s+[\d.]+)+", re.ASCII)
_LEADING = re.compile(r"^\s*(?:=|\\(?:approx|simeq|cong|sim)(?![A-Za-z]))")
_COMPARISONS = {">=": "\\ge ", "<=": "\\le ", "!=": "\\neq ", "**": "^"}
_COMPARISON = re.compile(r"[<>]=|(?<![\d)!])!=|\*\*")


@dataclass(frozen=True, slots=True)
class GraderLimits:
    """What an answer may cost.

    Attributes:
        characters: longest answer or reference that is read; the longest reference answer of MATH has fewer than 200.
        digits: most digits in one answer.
        seconds: processor time for one answer (the kernel counts whole seconds, so up to 1 s more). The wall time is at
            most 4.5 times this, and a second or so to restart the worker. Real answers of MATH take .004 s, at most
            .4 s.
    """

    characters: int = 1000
    digits: int = 200
    seconds: float = 1.0

    def __post_init__(self) -> None:
        if min(self.characters, self.digits, self.seconds) <= 0:
            raise ValueError(f"expected limits above 0, got {self}")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement on one answer.

    Attributes:
        correct: the answer equals the reference answer.
        reason: ``identical``, ``equal`` or ``different``; or why it could not be read, which counts as wrong:
            ``empty``, ``no reference``, ``too long``, ``too many digits``, ``unparsable`` (with the error's name),
            ``time-out``, ``memory``, ``worker died``.
        seconds: wall time spent on it; 0 where a short cut settled it.
    """

    correct: bool
    reason: str
    seconds: float = 0.0


class Grader:
    r"""Grades batches of final answers.

    Args:
        num_workers: processes that run math-verify. They start when a short cut first fails, about 1 s each.
        limits: size and time of an answer.

    Use it as a context manager, or call `close`; the workers also end with their parent, however it dies.

    **Semantics.** Numbers, times and ratios, and words are compared as `numbers` and this file say; the rest as
    math-verify 0.9 does: x = 5 equals 5, x \ge 4 equals [4, \infty), and sets do not depend on order. 1/2 = 0.5 =
    \frac12, 1,234 = 1 234 = 1234, 50% = 50 = 0.5. Numbers are compared exactly, and decimals to 6 places and 5 parts in
    a million. Where both state a unit the units must measure the same; a stated base must be the reference's.
    """

    def __init__(self, *, num_workers: int = 1, limits: GraderLimits | None = None) -> None:
        self.limits = limits or GraderLimits()
        self._pool = WorkerPool(num_workers=num_workers, seconds=self.limits.seconds)

    def grade(self, answers: Sequence[str], gold: Sequence[str]) -> list[Verdict]:
        """Grade final answers against reference answers, pair by pair; equal pairs are judged once.

        Args:
            answers: n final answers (`final_answer` finds them in solutions).
            gold: n reference answers.

        Returns:
            n verdicts.

        Raises:
            ValueError: the lengths differ.
            RuntimeError: math-verify cannot be started.
        """
        if len(answers) != len(gold):
            raise ValueError(f"expected one reference an answer, got {len(answers)} answers and {len(gold)} references")
        pairs = [
            (_LEADING.sub("", ascii_math(a)).strip(), _LEADING.sub("", ascii_math(g)).strip())
            for a, g in zip(answers, gold, strict=True)
        ]
        settled = {pair: self._without_worker(*pair) for pair in dict.fromkeys(pairs)}
        hard = [pair for pair, verdict in settled.items() if verdict is None]
        judged = self._pool.judge([_formulas(*pair) for pair in hard])
        verdicts = {pair: verdict for pair, verdict in settled.items() if verdict is not None}
        verdicts.update((pair, _verdict(judgement)) for pair, judgement in zip(hard, judged, strict=True))
        return [verdicts[pair] for pair in pairs]

    def grade_solutions(self, solutions: Sequence[str], gold: Sequence[str]) -> list[Verdict]:
        """Find each solution's final answer and grade it; a solution without one is ``empty``."""
        return self.grade([final_answer(solution) for solution in solutions], gold)

    def close(self) -> None:
        """End the worker processes."""
        self._pool.close()

    def __enter__(self) -> Grader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _without_worker(self, answer: str, gold: str) -> Verdict | None:
        if not gold:
            return Verdict(False, "no reference")
        if not answer:
            return Verdict(False, "empty")
        if max(len(answer), len(gold)) > self.limits.characters:
            return Verdict(False, "too long")
        if sum(map(str.isdigit, answer)) > self.limits.digits:
            return Verdict(False, "too many digits")
        return Verdict(True, "identical") if answer == gold else _plain_verdict(answer, gold)


def _plain_verdict(answer: str, gold: str) -> Verdict | None:
    """The verdict where both are numbers, times or ratios, or words, or where their units differ; else None."""
    number, expected = read_quantity(answer), read_quantity(gold)
    if number and expected:
        return _settled(same_quantity(number, expected))
    if (number and number.is_decimal) or (expected and expected.is_decimal):
        number, expected = number or read_decimal_comma(answer), expected or read_decimal_comma(gold)
        if number and expected:
            return _settled(same_quantity(number, expected))
    clocks = [_CLOCK.fullmatch(unwrap_text(time.replace("{:}", ":")).strip()) for time in (answer, gold)]
    if clocks[0] and clocks[1]:
        return _settled(_same_clock(clocks[0].groups(), clocks[1].groups()))
    words = _words(answer), _words(gold)
    if words[0] and words[1]:
        return _settled(words[0] == words[1])
    if _LOOSE_NUMBERS.fullmatch(answer):  # "3 4", which math-verify adds
        return _settled(False)
    units = split_unit(answer)[1], split_unit(gold)[1]
    return _settled(False) if units[0] and units[1] and units[0] != units[1] else None


def _settled(correct: bool) -> Verdict:
    return Verdict(correct, "equal" if correct else "different")


def _same_clock(answer: Sequence[str | None], gold: Sequence[str | None]) -> bool:
    """Whether hours, minutes and seconds (or the terms of a ratio) agree, and the halves of the day if both say it."""
    halves = [(time[3] or "").lower() for time in (answer, gold)]
    terms = [[int(term) for term in time[:3] if term] for time in (answer, gold)]
    return terms[0] == terms[1] and ("" in halves or halves[0] == halves[1])


def _words(answer: str) -> str:
    """An answer in words in one case and spacing, "" for any other; a lone letter or two may be variables."""
    words = _WORDS.fullmatch(" ".join(unwrap_text(answer).split()))
    return words[1].lower() if words and (len(words[1]) > 3 or "\\text" in answer) else ""


def _formulas(answer: str, gold: str) -> tuple[str, str]:
    """What math-verify is given: no units, no thousands separators, no ``x =`` that only one of the two has."""
    answer, gold = _formula(answer), _formula(gold)
    if ("=" in answer) != ("=" in gold):
        answer, gold = _right_side(answer), _right_side(gold)
    return answer, gold


def _formula(answer: str) -> str:
    latex = join_thousands(split_unit(answer)[0])
    return _COMPARISON.sub(lambda sign: _COMPARISONS[sign[0]], latex)


def _right_side(latex: str) -> str:
    left, equals, right = latex.partition("=")
    return right if equals and "=" not in right and names_a_value(left) else latex


def _verdict(judgement: Judgement) -> Verdict:
    return Verdict(judgement.correct, judgement.reason, judgement.seconds)
