r"""Find the final answer in a solution, by text alone: nothing is parsed or evaluated here.

What counts is what is stated last, outside of thoughts (``<think>…</think>``) and before another question begins: a
line marked ``####``, ``A:`` or ``Answer:``, a box, or "the answer is …". Where nothing is stated it is the last
formula or number, taken whole.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from stepward.domains.math.grading.formulas import Formula, formulas, joined, plain_number, said
from stepward.domains.math.grading.writing import ascii_math, brace_pairs

__all__ = ["final_answer", "last_boxed", "last_number", "marked_answer"]

# A number as people write it: sign, currency, thousands separators, decimals or a plain fraction.
_NUMBER = re.compile(r"(?<![\w)\]])-?\$?-?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:/\d+)?|\.\d+)", re.ASCII)
_MARKED_LINE = re.compile(
    r"^[ \t]*(?:\#{4}|(?:\#{1,3}[ \t]*)?\**(?:A|(?:The[ ])?(?:Final[ ])?Answer)\**[ \t]*(?::|(?=\n))\**|\#[ ]Answer\s+)"
    r"[ \t]*\**[ \t]*(?P<answer>.*)$",
    re.MULTILINE | re.VERBOSE,
)
_NEXT_LINE = re.compile(r"\s*(.+)")
_PHRASE = re.compile(
    r"\b(?:answer(?:\s+to\s[^.\n]{1,60}?)?\s+(?:is|was|would\s+be|will\s+be|must\s+be|equals)\b"
    r"|(?:the|final|correct)\s+answer[ \t]*[:=])\s*:?(?P<answer>.*?)(?=\banswer\b|$)",
    re.MULTILINE | re.IGNORECASE,
)
_BOX = re.compile(r"\\(?:fboxed|f?boxed|fbox|framebox)(?![A-Za-z])\s*(?:\[[^\]]*\]\s*)*")
_BARE_BOX = re.compile(r"(?:\\[A-Za-z]+(?:\{[^{}]*\})*|[^\s$\\{}]|\\[%$,!])+")
_BETWEEN_BOXES = re.compile(
    r"(?:[\s,;.$&]|\\[\[\](),;:! ]|\\\\|\\q?quad|~|\b(?:and|or)\b"
    r"|\\text\{(?:[^{}]*\b(?:and|or)\b[^{}]*|[\s,]*)\}|[A-Za-z](?:_\{?\w\}?)?\s*=)*"
)
_THOUGHT_TAG = re.compile(r"</?(?:think|thinking|thought|reasoning|scratchpad)>")
# One that was cut short never ends; one that the prompt opened has no beginning.
_THOUGHT = re.compile(r"<(think|thinking|thought|reasoning|scratchpad)>.*?(?:</\1>|\Z)", re.DOTALL)
_OPENED_BY_PROMPT = re.compile(r"\A.*</(?:think|thinking|thought|reasoning|scratchpad)>", re.DOTALL)
_TAGGED = re.compile(r"<answer>\s*(.*?)\s*</answer>", re.DOTALL | re.IGNORECASE)
_NEXT_QUESTION = re.compile(
    r"^[ \t]*[#*]*[ \t]*(?:(?:Question|Problem|Exercise|Example|Q|Human|User|Instruction)\b[ \t]*\d*\**[ \t]*[:.]"
    r")|<\|(?:im_start|im_end|eot_id|endoftext|end)\|>|</s>",
    re.MULTILINE,
)
_DENIAL = (
    r"\s*(?:not|neither|wrong|incorrect|unknown|less|more|greater|fewer|over|under|between|either"
    r"|at\s+(?:most|least))\b"
)
_NEGATED = re.compile(_DENIAL, re.IGNORECASE)
_DENIED = re.compile(rf"\banswer\s+(?:is|was|would be|will be|must be)(?:n't|{_DENIAL})[^.\n]*", re.IGNORECASE)
_REASON = re.compile(
    r"\.?\s*(?:[(\[.;!—]|,?\s*(?:because|since|as|for|so|which|where|when|after|out of|rounded|per|each|not)\b"
    r"|,\s+[a-z]|$)",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"\.\s+(?=[A-Z])|\.?\s*I hope\b")
_CALCULATOR = re.compile(r"<<[^<>\n]*>>")  # GSM8K writes 48/2 = <<48/2=24>>24
_TIMES = re.compile(r"(?<=\d)\s*[xX]\s*(?=10\s*\^)")
_AND_A_PART = re.compile(r"(?<=\d) and (?=\d+/\d)")
_CONDITION = re.compile(
    r"\b(?:if|when|where|since|because|with|for|for all|for every|for any|as|let|modulo?)\s+\Z", re.IGNORECASE
)
_SENTENCE = re.compile(r"[.!?]\s*(?:\$\$?|\\[\])])?(?:\s+(?=[A-Z])|\s*\n)|\n\n")


class _Stated(NamedTuple):
    """An answer that a solution states, and where the statement ends."""

    end: int
    answer: str


def final_answer(solution: str) -> str:
    r"""The final answer a solution states, or "" if it states none.

    It is the last of: a line marked ``####``, ``A:`` or ``Answer:``; a closed ``\boxed{…}`` (boxes that only commas and
    "and" part are one answer); "the answer is …". Without any, the last formula or number. A stated answer in words
    around one number gives the number, with its unit if that is one of measure.
    """
    text = ascii_math(solution)
    if "<<" in text:
        text = _CALCULATOR.sub("", text)
    if "10^" in text:
        text = _TIMES.sub(r"\\times ", text)
    if _THOUGHT_TAG.search(text):
        text = _OPENED_BY_PROMPT.sub("", _THOUGHT.sub("\n", text))
    text = _before_next_question(text)
    stated = _answers(text)
    return max(stated, key=lambda s: s.end).answer if stated else _last_formula(_DENIED.sub("", text))


def marked_answer(solution: str) -> str:
    """The text after the last ``####``, ``A:`` or ``Answer:`` line, or ""."""
    stated = _marks(solution)
    return stated[-1].answer if stated else ""


def last_boxed(text: str) -> str:
    r"""The content of the last ``\boxed{...}`` whose braces are balanced, or "". Escaped braces do not count."""
    boxes = _boxes(text)
    return boxes[-1][2] if boxes else ""


def last_number(text: str) -> str:
    """The last number in `text`, without currency and thousands separators, or ""."""
    found = _NUMBER.findall(text)
    return plain_number(found[-1]) if found else ""


def _answers(text: str) -> list[_Stated]:
    """All answers that a text states."""
    marks, phrases = [*_marks(text), *_boxed(text)], _phrases(text)
    if marks or any(map(_is_telling, phrases)):  # beside those, "the answer is in metres" states nothing
        phrases = [phrase for phrase in phrases if _is_telling(phrase)]
    return marks + phrases


def _is_telling(stated: _Stated) -> bool:
    return bool(re.search(r"[\d\\$]", stated.answer))


def _before_next_question(text: str) -> str:
    """The text up to the line that puts another question, if an answer is stated before it."""
    first = _NEXT_QUESTION.search(text)
    stated = _answers(text) if first else []
    if not stated:
        return text
    following = _NEXT_QUESTION.search(text, min(s.end for s in stated))
    return text[: following.start()] if following else text


def _marks(text: str) -> list[_Stated]:
    """Answers of marked lines; a mark alone on its line marks the next one."""
    stated = []
    for mark in _MARKED_LINE.finditer(text):
        answer, end = mark["answer"], mark.end()
        if not answer.strip(" *"):
            following = _NEXT_LINE.match(text, end)
            answer, end = (following[1], following.end()) if following else ("", end)
        stated.append(_Stated(end, _tidy(answer)))
    stated += [_Stated(tag.end(), _tidy(tag[1])) for tag in _TAGGED.finditer(text)]
    return [s for s in stated if s.answer]


def _phrases(text: str) -> list[_Stated]:
    """Answers of "the answer is …", but not those that it denies or bounds, or puts in a box."""
    if "nswer" not in text and "NSWER" not in text:
        return []
    stated = []
    for phrase in _PHRASE.finditer(text):
        sentence = _SENTENCE_END.split(phrase["answer"])[0]
        if not _NEGATED.match(sentence) and not _BOX.search(sentence):
            stated.append(_Stated(phrase.start("answer") + len(sentence), _tidy(sentence)))
    return [s for s in stated if s.answer]


def _boxed(text: str) -> list[_Stated]:
    """Answers in boxes; those next to each other, with only commas, "and" or ``x =`` between, are one."""
    stated: list[_Stated] = []
    for start, end, content in _boxes(text):
        together = stated and _BETWEEN_BOXES.fullmatch(text, stated[-1].end, start)
        if together and content != stated[-1].answer:
            stated[-1] = _Stated(end, f"{stated[-1].answer}, {content}")
        else:
            stated.append(_Stated(end, content))
    return [s for s in stated if s.answer]


def _boxes(text: str) -> list[tuple[int, int, str]]:
    """Start, end and content of every closed box, by their starts; of nested boxes the inner one alone."""
    if "box" not in text:
        return []
    closing = dict(brace_pairs(text))
    boxes: list[tuple[int, int, str]] = []
    for box in _BOX.finditer(text):
        opening = box.end()
        if opening in closing:
            end = closing[opening] + 1
            content = text[opening + 1 : end - 1].strip()
        elif bare := _BARE_BOX.match(text, opening):
            end, content = bare.end(), bare[0].rstrip(".,;:!")
        else:
            continue
        while boxes and boxes[-1][1] >= end:
            boxes.pop()
        boxes.append((box.start(), end, content))
    return boxes


def _last_formula(text: str) -> str:
    """What the last formula says that tells a value and is no condition; one in ``$`` before a number in words."""
    found = formulas(text)
    last = _last_telling(found, text)
    return _together(joined(found, text, last)) if found else ""


def _last_telling(found: list[Formula], text: str) -> int:
    telling = [i for i, formula in enumerate(found) if not formula.is_name]
    stated = [i for i in telling if not _CONDITION.search(text, max(0, found[i].start - 20), found[i].start)]
    choice = stated or telling or list(range(len(found)))
    if not choice:
        return -1
    for i in reversed(choice):
        if _SENTENCE.search(text, max(found[i].end - 4, found[i].start), found[choice[-1]].start):
            break
        if found[i].is_delimited:
            return i
    return choice[-1]


def _together(found: list[Formula]) -> str:
    link = r" \text{ or } " if found[0].is_relation else ", "
    return link.join(said(formula.latex) for formula in found)


def _tidy(answer: str) -> str:
    """Drop words around a lone number or formula ("$18 per day" gives 18); leave answers in words as they are."""
    answer = last_boxed(answer) or answer.strip().strip("*`").strip()
    if _NUMBER.fullmatch(answer):
        return plain_number(answer)
    answer = _AND_A_PART.sub(" ", answer)
    found = [formula for formula in formulas(answer) if not formula.is_name]
    if not found or _NEGATED.match(answer):
        return answer.rstrip(".")
    last = 0
    while last + 1 < len(found) and len(joined(found, answer, last + 1)) == last + 2:
        last += 1
    is_only = last + 1 == len(found)
    if is_only or _REASON.match(answer, found[last].end):
        return _together(found[: last + 1])
    return answer.rstrip(".")
