"""What solutions say, for votes: texts that are equal where the answers are, as far as a look at the text can tell."""

from __future__ import annotations

from functools import lru_cache

from stepward.domains.math.grading import final_answer
from stepward.domains.math.grading.numbers import split_unit
from stepward.domains.math.states import Ending, MathStates

__all__ = ["stated_answers"]


def stated_answers(states: MathStates) -> list[str]:
    """The final answer of every solution, "" where none is stated.

    "0.5" and "1/2" are two answers: a vote that split them would be worse than one that did not, never better. Units
    of measure are left out, since one solution says "5 hours" and the other 5.
    """
    return [
        _answer(text) if ending == Ending.ANSWERED else ""
        for text, ending in zip(states.text, states.ending, strict=True)
    ]


@lru_cache(maxsize=10_000)
def _answer(text: str) -> str:
    return split_unit(final_answer(text))[0]
