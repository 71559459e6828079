"""Ground truth of math problems: the final answer, graded."""

from __future__ import annotations

from functools import cache

import numpy as np
from jaxtyping import Float

from stepward.domains.math.grading import Grader
from stepward.domains.math.states import Ending, MathStates

__all__ = ["AnswerVerifier"]


class AnswerVerifier:
    """1 where a solution states an answer that equals the reference answer, else 0.

    Answers that are equal as text or as integers cost nothing; the rest goes to math-verify in a worker that can be
    killed. There is one grader a process, and its worker starts with the first answer that needs it.
    """

    def outcome(self, states: MathStates) -> Float[np.ndarray, " n"]:
        """Graded by math-verify; a solution without an answer counts as wrong."""
        outcome = np.zeros(len(states))
        answered = np.flatnonzero(states.ending == Ending.ANSWERED)
        if len(answered):
            verdicts = _grader().grade_solutions(states.text[answered].tolist(), states.reference[answered].tolist())
            outcome[answered] = [verdict.correct for verdict in verdicts]
        return outcome


@cache
def _grader() -> Grader:
    return Grader()
