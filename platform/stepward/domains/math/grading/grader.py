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
from stepward.domains.math.grading.pool import Judgement, WorkerPool

__all__ = ["Grader", "GraderLimits", "Verdict"]

_INTEGER = re.compile(r"-?(?:0|[1-9]\d*)", re.ASCII)
# 1,234  1{,}234  1,\!234  1\,234 are one number; math-verify reads the last as the mixed number 1 + 234.
_SEPARATED = re.compile(r"-?\d{1,3}(?:(?:,\\!|\{,\}|\\,|,)\d{3})+(?:\.\d+)?", re.ASCII)
_SEPARATOR = re.compile(r",\\!|\{,\}|\\,|,")


@dataclass(frozen=True, slots=True)
class GraderLimits:
    """What an answer may cost.

    Attributes:
        characters: longest answer that is read; the longest reference answer of MATH has fewer than 200.
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
        reason: ``identical``, ``integer`` (compared as integers), ``equal`` or ``different`` (math-verify);
            or why it could not be read, which counts as wrong: ``empty``, ``no reference``, ``too long``,
            ``too many digits``, ``unparsable`` (with the error's name), ``time-out``, ``memory``, ``worker died``.
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

    **Semantics** are those of math-verify 0.9 with numbers compared to 6 decimals: 1/2 = 0.5 = \frac12, 1,234 = 1234,
    50% = 50 = 0.5, x = 5 equals 5, and sets do not depend on order. Thousands separators are removed beforehand.
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
        pairs = [(a.strip(), g.strip()) for a, g in zip(answers, gold, strict=True)]
        settled = {pair: self._without_worker(*pair) for pair in dict.fromkeys(pairs)}
        hard = [pair for pair, verdict in settled.items() if verdict is None]
        judged = self._pool.judge([(_join_thousands(a), _join_thousands(g)) for a, g in hard])
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
        if len(answer) > self.limits.characters:
            return Verdict(False, "too long")
        if sum(map(str.isdigit, answer)) > self.limits.digits:
            return Verdict(False, "too many digits")
        if answer == gold:
            return Verdict(True, "identical")
        answer, gold = _join_thousands(answer), _join_thousands(gold)
        if _INTEGER.fullmatch(answer) and _INTEGER.fullmatch(gold):
            return Verdict(int(answer) == int(gold), "integer")
        return None


def _join_thousands(answer: str) -> str:
    return _SEPARATOR.sub("", answer) if _SEPARATED.fullmatch(answer) else answer


def _verdict(judgement: Judgement) -> Verdict:
    return Verdict(judgement.correct, judgement.reason, judgement.seconds)
