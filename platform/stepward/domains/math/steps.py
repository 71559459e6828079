"""Where a step of a solution ends, and where the solution itself does: one rule for all who write or read solutions.

A step begins where the last one ended. It is over as soon as the text shows that it is, whatever follows, so sampling
step by step and cutting a whole text give the same steps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from pydantic import Field, model_validator

from stepward.core.config import Config

__all__ = ["LINES", "Limits", "StepRule", "is_final_answer", "restates", "states_answer"]

_MARKER = r"(?:#+[ \t]*|\*\*)?Step[ \t]+\d+[ \t]*[:.)]"
_LINE, _BLANK_LINE = r"\n", r"\n[ \t]*\n"
# A sentence ends at . ! or ? before a space and a capital, digit, bracket or formula; "3.5" and "e.g. two" do not.
_SENTENCE = r"\n|(?<=[.!?])[ \t]+(?=[\"'(\[$\\]?[A-Z0-9$\\])"
_FINAL = re.compile(
    r"^\s*\**(?:####|A:|(?:Final )?Answer:|# Answer)|\\(?:f?boxed|fbox|framebox)(?![A-Za-z])|\b(?:final )?answer is\b",
    re.IGNORECASE,
)


class StepRule(Config):
    """What a step is. Whatever the rule, the last step ends with the solution."""

    by: Literal["line", "blank_line", "sentence", "marker", "tokens"] = Field(
        "line",
        description="line and blank_line end a step; marker begins one, at the start of a line; sentence: a sentence "
        "or a line; tokens: so many of the model",
    )
    marker: str | None = Field(None, description="regular expression of markers; none: 'Step 3:' and its kin")
    tokens: int | None = Field(None, ge=1, description="tokens of a step, with by=tokens")

    @model_validator(mode="after")
    def _no_setting_without_effect(self) -> StepRule:
        if self.marker is not None and self.by != "marker":
            raise ValueError(f"marker: would have no effect with by={self.by}; leave it out, or take by=marker")
        if (self.tokens is not None) != (self.by == "tokens"):
            raise ValueError(f"tokens: expected a number with by=tokens and none otherwise, got by={self.by}")
        try:
            empty = re.compile(self.marker or _MARKER).match("")
        except re.error as error:
            raise ValueError(f"marker: expected a regular expression, got {self.marker!r}: {error}") from None
        if empty:
            raise ValueError(f"marker: expected an expression that no empty text matches, got {self.marker!r}")
        return self

    def ends(self, text: str, start: int = 0) -> Iterator[int]:
        """Where the steps of a text end that begin at `start`, as far as they are finished; a blank step is none.

        Raises:
            ValueError: steps are counted in tokens, which a text does not show.
        """
        if self.by == "tokens":
            raise ValueError("steps.by=tokens: expected solutions that say where their steps end; a text does not.")
        for match in _end(self.by, self.marker).finditer(text, start):
            if text[start : match.end()].strip():
                yield match.end()
                start = match.end()

    def split(self, text: str) -> list[str]:
        """The steps of a whole text, which joined are the text again; what is blank at its end is of the last step."""
        ends = [0, *self.ends(text)]
        if text[ends[-1] :].strip() or len(ends) == 1:
            ends.append(len(text))
        ends[-1] = len(text)
        return [text[a:b] for a, b in pairwise(ends) if b]

    def written(self, step: str) -> str:
        """A step that was given apart, as a proposer would have written it."""
        step = step.strip()
        if self.by == "line":
            return " ".join(step.split("\n")) + "\n"
        if self.by == "blank_line":
            return re.sub(_BLANK_LINE + r"\s*", "\n", step) + "\n\n"
        return step + "\n"


LINES = StepRule()


@dataclass(frozen=True)
class Limits:
    """How solutions are written: what a step is, and how many there may be.

    Attributes:
        max_steps: steps of a solution.
        max_step_tokens: tokens of a step, where steps are not counted in tokens.
        steps: where a step ends.
        opening: what a line begins with that asks the next question, such as "Question:"; "": nothing does.
    """

    max_steps: int = 16
    max_step_tokens: int = 64
    steps: StepRule = LINES
    opening: str = ""

    def __post_init__(self) -> None:
        if min(self.max_steps, self.max_step_tokens) < 1:
            raise ValueError(f"expected limits of at least 1, got {self}")

    @property
    def step_tokens(self) -> int:
        """Tokens after which a step is over, one way or the other."""
        return self.steps.tokens or self.max_step_tokens


@lru_cache
def _end(by: str, marker: str | None) -> re.Pattern[str]:
    """A pattern whose matches end where steps may."""
    begins = rf"^(?=[ \t]*(?:{marker or _MARKER}))"
    found = {"line": _LINE, "blank_line": _BLANK_LINE, "sentence": _SENTENCE, "marker": begins}
    return re.compile(found[by], re.MULTILINE | (re.IGNORECASE if by == "marker" and marker is None else 0))


def states_answer(text: str, start: int = 0) -> bool:
    """Whether a line that is finished and ends beyond `start` states the final answer."""
    return any(is_final_answer(line) for _, line in _finished(text, start))


def restates(text: str, opening: str, start: int = 0) -> int | None:
    """Where a finished line beyond `start` begins as a question does, such as "Question: …"; None where none does."""
    if not opening:
        return None
    return next((at for at, line in _finished(text, start) if line.lstrip().startswith(opening)), None)


def _finished(text: str, start: int) -> Iterator[tuple[int, str]]:
    """(beginning, line) of the lines whose break stands at `start` or later."""
    at = text.rfind("\n", 0, start) + 1
    while (end := text.find("\n", at)) >= 0:
        yield at, text[at:end]
        at = end + 1


@lru_cache(maxsize=10_000)
def is_final_answer(step: str) -> bool:
    """Whether a step states the final answer: a ``####``, ``A:`` or ``Answer:`` line, a box, or "the answer is"."""
    return bool(_FINAL.search(step))
