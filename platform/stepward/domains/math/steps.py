"""Split a solution into steps, losslessly: the joined steps are the text again, character by character.

A step is one operation, as in GSM8K: one line. Text without line breaks falls back to sentences; text with "Step k:"
markers is split at the markers, so that a step may have several lines.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Limits", "is_final_answer", "join_steps", "split_steps"]

_MARKER = re.compile(r"^[ \t]*(?:#+[ \t]*|\*\*)?Step[ \t]+\d+[ \t]*[:.)]", re.MULTILINE | re.IGNORECASE)
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
# A sentence ends at . ! or ? before white space and a capital, digit, bracket or formula; "3.5" and "e.g. two" do not.
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[\"'(\[$\\]?[A-Z0-9$\\])")
_FINAL = re.compile(
    r"^\s*\**(?:####|A:|(?:Final )?Answer:|# Answer)|\\(?:f?boxed|fbox|framebox)(?![A-Za-z])|\b(?:final )?answer is\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Limits:
    """What a solution may cost.

    Attributes:
        max_steps: lines of a solution.
        max_step_tokens: tokens of a line.
    """

    max_steps: int = 16
    max_step_tokens: int = 64

    def __post_init__(self) -> None:
        if min(self.max_steps, self.max_step_tokens) < 1:
            raise ValueError(f"expected limits of at least 1, got {self}")


def split_steps(text: str, *, mode: str = "auto") -> list[str]:
    """Split `text` into steps that keep their own line ends and spaces.

    Args:
        text: a solution, or the beginning of one.
        mode: ``lines``, one step a line, is stable under continuation: the steps of a text that ends with a newline
            stay the same when more lines follow, so a search should use it. ``markers`` splits at "Step k:",
            ``sentences`` at sentence ends. ``auto`` takes markers if there are two, else lines if there are two,
            else sentences.

    Returns:
        The steps. Blank lines belong to the step before them, leading ones to the first step; "" has no steps.
    """
    if mode == "auto":
        mode = _best_mode(text)
    if mode == "lines":
        pieces = _LINE.findall(text)
    elif mode == "markers":
        pieces = _cut(text, [match.start() for match in _MARKER.finditer(text)])
    elif mode == "sentences":
        pieces = _cut(text, [match.end() for match in _SENTENCE_END.finditer(text)])
    else:
        raise ValueError(f"expected mode 'auto', 'lines', 'sentences' or 'markers', got {mode!r}")
    return _attach_blanks(pieces)


def join_steps(steps: Sequence[str]) -> str:
    """The text that `split_steps` took apart."""
    return "".join(steps)


def is_final_answer(step: str) -> bool:
    """Whether a step states the final answer: a ``####``, ``A:`` or ``Answer:`` line, a box, or "the answer is"."""
    return bool(_FINAL.search(step))


def _best_mode(text: str) -> str:
    if len(_MARKER.findall(text)) >= 2:
        return "markers"
    return "lines" if len(text.split("\n")) > 1 and len(text.strip().splitlines()) > 1 else "sentences"


def _cut(text: str, positions: Sequence[int]) -> list[str]:
    edges = [0, *(p for p in positions if 0 < p < len(text)), len(text)]
    return [text[a:b] for a, b in pairwise(edges)]


def _attach_blanks(pieces: Sequence[str]) -> list[str]:
    steps: list[str] = []
    leading = ""
    for piece in pieces:
        if piece.strip():
            steps.append(leading + piece)
            leading = ""
        elif steps:
            steps[-1] += piece
        else:
            leading += piece
    return steps or ([leading] if leading else [])
