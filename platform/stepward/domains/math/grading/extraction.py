"""Find the final answer in a solution, by text alone: nothing is parsed or evaluated here."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["final_answer", "last_boxed", "last_number", "marked_answer"]

# A number as people write it: sign, currency, thousands separators, decimals or a plain fraction.
_NUMBER = re.compile(r"(?<![\w)\]])-?\$?-?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:/\d+)?|\.\d+)", re.ASCII)
_MARKED_LINE = re.compile(r"^[ \t]*\**(?:####|A:|(?:Final )?Answer:|# Answer\s+)\**[ \t]*(.*)$", re.MULTILINE)
_PHRASE = re.compile(r"\banswer is:?(.*)$", re.MULTILINE | re.IGNORECASE)
_BOX_OPENING = re.compile(r"\\f?boxed\s*\Z")


def final_answer(solution: str) -> str:
    r"""The final answer a solution states, or "" if it states none.

    Tried in this order: the last line marked ``####``, ``A:`` or ``Answer:``; the last closed ``\boxed{...}``; the
    last "the answer is ..."; the last number anywhere. A marked answer in words around one number gives the number.
    """
    return marked_answer(solution) or last_boxed(solution) or _phrase(solution) or last_number(solution)


def marked_answer(solution: str) -> str:
    """The text after the last ``####``, ``A:`` or ``Answer:`` line, or ""."""
    found = _MARKED_LINE.findall(solution)
    return _tidy(found[-1]) if found else ""


def last_boxed(text: str) -> str:
    r"""The content of the last ``\boxed{...}`` whose braces are balanced, or "". Escaped braces do not count."""
    last = (-1, 0)
    for opening, closing in _brace_pairs(text):
        if opening > last[0] and _BOX_OPENING.search(text, max(0, opening - 20), opening):
            last = (opening, closing)
    return text[last[0] + 1 : last[1]].strip()


def last_number(text: str) -> str:
    """The last number in `text`, without currency and thousands separators, or ""."""
    found = _NUMBER.findall(text)
    return _plain(found[-1]) if found else ""


def _brace_pairs(text: str) -> Iterator[tuple[int, int]]:
    """Positions of matching braces, in one pass: model text may open thousands and close none."""
    open_at: list[int] = []
    for match in re.finditer(r"\\.|[{}]", text, re.DOTALL):
        if match[0] == "{":
            open_at.append(match.start())
        elif match[0] == "}" and open_at:
            yield open_at.pop(), match.start()


def _phrase(solution: str) -> str:
    found = _PHRASE.findall(solution)
    return _tidy(found[-1].split(". ")[0]) if found else ""


def _tidy(answer: str) -> str:
    """Drop words around a lone number ("$18 per day" gives 18); leave LaTeX and expressions as they are."""
    answer = last_boxed(answer) or answer.strip().strip("*").strip()
    numbers = _NUMBER.findall(answer)
    is_formula = any(sign in answer for sign in "\\^_={}()[]<>+*")
    return _plain(numbers[0]) if len(numbers) == 1 and not is_formula else answer.rstrip(".")


def _plain(number: str) -> str:
    return number.replace("$", "").replace(",", "")
