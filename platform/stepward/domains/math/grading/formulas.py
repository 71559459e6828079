r"""Formulas in running text: where they are, which is the last, and what it says.

A formula stands between ``$…$``, ``\(…\)``, ``\[…\]``, in an environment, or bare: words of digits, signs and LaTeX
commands in a row. It is taken whole, so that ``2^{10}`` is never read as 10; what it says is the right side of
``x = …`` and of a calculation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from stepward.domains.math.grading.numbers import GROUPED, join_thousands
from stepward.domains.math.grading.units import read_unit
from stepward.domains.math.grading.writing import bracket_depths

__all__ = ["Formula", "formulas", "joined", "names_a_value", "plain_number", "said"]

_DELIMITED = re.compile(
    r"""
    \$\$(?P<dollars>(?:[^$]|\\\$){1,4000}?)\$\$
  | \\\[(?P<display>.{1,4000}?)\\\]
  | \\\((?P<inline>.{1,1000}?)\\\)
  | \\begin\{(?P<name>align|aligned|equation|gather|eqnarray|multline)(?P<star>\*?)\}(?P<rows>.{1,4000}?)
    \\end\{(?P=name)(?P=star)\}
  | (?P<bare>\\begin\{(?P<kind>[pbBvV]?matrix|array|cases)\}.{1,4000}?\\end\{(?P=kind)\})
  | (?<!\\)\$\s*(?P<dollar>(?:\\.|[^$\\\n]){1,1000}?)\s*\$(?!\d)
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMANDS = re.compile(r"\\(?:text\w*|mathrm|mbox|begin|end|operatorname)\s*\{[^{}]*\}|\\[A-Za-z]+")
_PROSE = re.compile(
    r"[A-Za-z]{2,}[,;]?\s+[A-Za-z]{2,}|\s[a-z]{3,}\s|\s(?:to|is|of|in|on|at|for)\s|^[\d.,]+\s*[a-z]{3,}"
)
_UPRIGHT = r"\\(?:text\w*|mathrm|mbox)\s*\{[^{}\n]*\}"
# Words of running text that belong to a formula: no run of letters but names of functions and of LaTeX.
_FUNCTION = r"sqrt|sin|cos|tan|log|ln|exp|pi|mod|max|min|gcd|lcm|infty|inf"
_FORMULA_WORD = re.compile(
    rf"(?:{_UPRIGHT}|\\[A-Za-z]+|\\.|(?:{_FUNCTION})(?![a-z])|[A-Za-z](?![A-Za-z])|[^A-Za-z\\])+", re.ASCII
)
_SIGN_AT_END = re.compile(r"(?:[-+*/^=<>|,(\[{]|\\(?:times|cdot|div|pm|le|leq|ge|geq|neq|ne|in|cup|cap|approx|equiv))$")
_SIGN_AT_START = re.compile(
    r"(?:[-+*/^=<>|)\]}!]|\\(?:times|cdot|div|pm|le|leq|ge|geq|neq|ne|in|cup|cap|approx|equiv)\b)"
)
_LONE_SIGN = re.compile(r"[-+*/^=<>|]+|\\[A-Za-z]+")
_WORD = re.compile(rf"(?:{_UPRIGHT}|\S)+")
_NUMBER_IN_WORD = re.compile(
    rf"(?<![\w^.)\]}}])-?[$€£¥]?-?(?:(?:{GROUPED}|\d+)(?:\.\d+)?(?:/\d+)?|\.\d+)(?P<percent>\\?%)?", re.ASCII
)
_MAX_RUN = 1000
_MIXED = re.compile(r"-?\d+ \d+/\d+|-?[$€£¥]?\d{1,3}(?: \d{3})+(?:\.\d+)?", re.ASCII)
_CLOCK = re.compile(r"\d+:\d+")
_HALF_OF_DAY = re.compile(r"\s*[ap]\.?m\b\.?", re.IGNORECASE)
_UNIT_AFTER = re.compile(r"\s*((?:square |sq\.? |cubic )?[A-Za-z°]+(?:\s*/\s*[A-Za-z]+| per [a-z]+)?(?:\^\{?\d\}?)?)")
_SCALE = re.compile(r"\s*[CF]\b")
_BASE_AFTER = re.compile(r"\s*\(?(?:in )?base[ -](\d+|[a-z]+)\)?", re.IGNORECASE)
_MONEY = ("dollar", "euro", "sterling", "yen", "rupee")
_BETWEEN = re.compile(r"[\s,;]*(?:\b(?:and|or)\b)?\s*")
_LINK = re.compile(r"[,;]|\band\b|\bor\b")
_RELATION = re.compile(r"(?<![<>:\\])(?<!\s!)=(?!=)|\\(?:approx|equiv|simeq)(?![A-Za-z])")
_IMPLIES = re.compile(r"\\(?:Rightarrow|implies|Longrightarrow|iff|Leftrightarrow|therefore)(?![A-Za-z])|=>")
_MODULUS = re.compile(r"\\pmod\s*(?:\{[^{}]*\}|\w+)|\\p?mod\s+\w+|\(mod \w+\)")
_LAYOUT = re.compile(r"\\(?:displaystyle|limits|left|right|[bB]igg?[lr]?)(?![A-Za-z])|\\!")
_GLUE = re.compile(r"\\q?quad(?![A-Za-z])|(?<!\\)\\[;:, ]|~")
_TRIMMED = re.compile(r"^(?:[\s,;:]|\.(?!\d))+|(?:[\s,;:!]|(?<!\.)\.(?!\.))+$")
_NAME = re.compile(
    r"\\?[A-Za-z]+(?:'|_\{?\w+\}?)*(?:\([^()]*\))?|\\(?:angle|triangle|overline|operatorname)\W*\w+\}?|\|[A-Z]+\||m?\\angle\s*\w+"
)
_SUBSCRIPT = re.compile(r"_(?:\{[^{}]*\}|\w)")
_ARGUMENT = re.compile(r"(?<=[A-Za-z])\(\d+\)")
_LETTERS = re.compile(r"[A-Za-z]")
_ROWS = re.compile(r"\\\\(?![A-Za-z])|\\newline")
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\{(?:align|aligned|split|gather|gathered|equation)\*?\}")
_GRID = re.compile(r"\\begin\{[a-zA-Z]*(?:matrix|array|cases)\*?\}")


class Formula(NamedTuple):
    """A formula and its place in the text, delimiters included."""

    start: int
    end: int
    latex: str
    is_delimited: bool = False

    @property
    def is_name(self) -> bool:
        """Whether it only names something: a letter or a few, no digit and no sign."""
        return not re.search(r"\d|\\(?:sqrt|pi|infty|frac|emptyset|text)|[-+=<>*/]", self.latex)

    @property
    def is_relation(self) -> bool:
        """Whether it bounds something."""
        return bool(re.search(r"[<>]|\\[lg]eq?(?![A-Za-z])", self.latex))

    @property
    def is_one_of_several(self) -> bool:
        """Whether it may be one of several answers: a value, or a name and its value; no calculation, no relation."""
        left, equals, right = self.latex.partition("=")
        is_named = not equals or ("=" not in right and bool(_NAME.fullmatch(left.strip())))
        return is_named and not re.search(r"[<>]|\\(?:[lg]eq?|in|equiv|approx)(?![A-Za-z])", self.latex)


def formulas(text: str) -> list[Formula]:
    """All formulas and numbers of a text, in order."""
    found: list[Formula] = []
    position = 0
    for region in _delimited(text):
        found += [*_bare(text, position, region.start), region]
        position = region.end
    found += _bare(text, position, len(text))
    return [f for before, f in pairwise([Formula(0, 0, ""), *found]) if f.start >= before.end]  # no 5 of "base 5"


def joined(found: list[Formula], text: str, last: int) -> list[Formula]:
    """The formulas that end with the one at `last` and are linked by nothing but commas, "and" and "or"."""
    first = last
    while first and _are_linked(found[first - 1], found[first], text):
        first -= 1
    return found[first : last + 1]


def _are_linked(a: Formula, b: Formula, text: str) -> bool:
    if a.is_relation and b.is_relation:
        return text[a.end : b.start].strip() == "or"
    alike = a.is_delimited == b.is_delimited and ("=" in a.latex) == ("=" in b.latex)
    together = _BETWEEN.fullmatch(text, a.end, b.start) and _LINK.search(text, a.end - 2, b.start)
    return alike and a.is_one_of_several and b.is_one_of_several and bool(together)


def said(latex: str) -> str:
    r"""What a formula says: its last row, after the last ⇒, right of ``x =`` or of the ``=`` of a calculation."""
    latex = _GLUE.sub(" ", _LAYOUT.sub("", join_thousands(latex)))
    if not _GRID.search(latex):
        latex = _ENVIRONMENT.sub("", latex)
        latex = next((row for row in reversed(_ROWS.split(latex)) if row.strip()), latex).replace("&", "")
    latex = _IMPLIES.split(latex)[-1]
    latex = _trimmed(_MODULUS.sub("", latex) if "\\equiv" in latex else latex)
    depths = bracket_depths(latex)
    cuts = [cut for cut in _RELATION.finditer(latex) if not depths[cut.start()]]
    if not cuts or any(sign in ",;" and not depth for sign, depth in zip(latex, depths, strict=True)):
        return latex
    left, right = latex[: cuts[0].start()].strip(), latex[cuts[-1].end() :].strip()
    if len(cuts) > 1 and _NAME.fullmatch(right):  # 36 - 19 = 17 = x
        return latex[cuts[-2].end() : cuts[-1].start()].strip()
    if len(cuts) > 1 and cuts[-1][0] == "\\approx" and cuts[-2][0] == "=":
        right = latex[cuts[-2].end() : cuts[-1].start()].strip()
    is_calculation = not _has_letters(left) and "\\pm" not in left
    is_named = not _has_letters(right) and (_NAME.fullmatch(left) or names_a_value(left, sums=True))
    return right if right and (is_calculation or is_named or len(cuts) > 1) else latex


def names_a_value(left: str, *, sums: bool = False) -> bool:
    """Whether the left side of an equation only names what the right side is: ``AB``, ``(p, q)``, ``V_1 : V_2``.

    Args:
        left: the left side.
        sums: whether ``a + b``, ``m - n`` and ``f(1) + f(2)`` name a value; ``x + y`` is a line.
    """
    left = _ARGUMENT.sub("", _SUBSCRIPT.sub("", left)).replace("\\frac", "")
    is_line = re.search(r"x", left) and re.search(r"y", left)
    if re.search(r"\|\s*[a-z]\s*\|", left):  # |x| = 3 says two values of x
        return False
    return not re.search(r"\d|\^" if sums and not is_line else r"\d|[-+^]", left)


def _has_letters(latex: str) -> bool:
    return bool(_LETTERS.search(_COMMANDS.sub("", latex)))


def plain_number(number: str) -> str:
    """A number without currency sign and thousands separators."""
    return re.sub(r"\\?[$€£¥]", "", join_thousands(number)).strip()


def _delimited(text: str) -> Iterator[Formula]:
    position = 0
    while found := _DELIMITED.search(text, position):
        latex = next(v for k, v in found.groupdict().items() if v is not None and k not in ("name", "star", "kind"))
        if found["dollar"] and _PROSE.search(_COMMANDS.sub(" ", latex)):  # $5 and then $3: sums of money
            position = found.start() + 1
            continue
        position = found.end()
        yield Formula(found.start(), found.end(), latex, is_delimited=True)


def _bare(text: str, start: int, end: int) -> list[Formula]:
    """Formulas without delimiters between two places of a text."""
    found: list[Formula] = []
    run: list[tuple[int, int]] = []
    for word in _WORD.finditer(text, start, end):
        if not _FORMULA_WORD.fullmatch(word[0]):
            found += _run(text, run)
            found += _in_prose(text, *word.span())
            run = []
        elif run and _belongs(text[run[0][0] : run[-1][1]], text[run[-1][0] : run[-1][1]], word[0]):
            run.append(word.span())
        else:
            found += _run(text, run)
            run = [word.span()]
    return found + _run(text, run)


def _belongs(run: str, last: str, word: str) -> bool:
    """Whether a word goes on with the formula that a run of words before it began."""
    if len(run) < _MAX_RUN and bracket_depths(run + " ")[-1] and not re.search(r"[.;:!?]$", last):
        return True
    if last[-1] in ",.;:!?":
        return False
    if _SIGN_AT_END.search(last) or (_SIGN_AT_START.match(word) and (len(word) == 1 or word[0] != "-")):
        return True
    return bool(_MIXED.fullmatch(f"{last} {word.rstrip('.,;:!?')}") or word.startswith("\\"))


def _run(text: str, words: list[tuple[int, int]]) -> list[Formula]:
    """The formula in a run of words, if there is more than punctuation in it."""
    if words and len(words) > 1 and text[words[0][0] : words[0][1]] in ("-", "*", "+"):
        words = words[1:]  # the bullet of a list
    while words and _LONE_SIGN.fullmatch(text, *words[-1]) and text[words[-1][0]] != "\\":
        words = words[:-1]
    if not words:
        return []
    start, end = words[0][0], words[-1][1]
    latex = _balanced(_trimmed(_trimmed(text[start:end]).strip("*`\"'")))
    if not re.search(r"\d|\\[A-Za-z]{2,}", latex) or re.fullmatch(r"[A-Za-z]\d+", latex):
        return []
    number = _NUMBER_IN_WORD.fullmatch(latex) or _MIXED.fullmatch(latex)
    if number:
        return [_with_unit(text, start, end, plain_number(latex))]
    after = _HALF_OF_DAY if _CLOCK.fullmatch(latex) else _SCALE if latex.endswith("\\circ") else None
    found = after.match(text, end) if after else None
    return [Formula(start, found.end() if found else end, latex + (found[0] if found else ""))]


def _in_prose(text: str, start: int, end: int) -> list[Formula]:
    """The number in a word of running text: ``20cm``, ``$18/hour``, ``18-year-old``; none in ``x2`` and ``cm^2``."""
    number = _NUMBER_IN_WORD.search(text, start, end)
    if not number or re.match(r"[A-Za-z]?[\^_({=+*]|[A-Za-z]\d", text[number.end() : end]):
        return []
    return [_with_unit(text, number.start(), number.end(), plain_number(number[0]))]


def _with_unit(text: str, start: int, end: int, number: str) -> Formula:
    """A number, followed by its base or by its unit, unless that is a unit of money of which it is the amount."""
    if base := _BASE_AFTER.match(text, end):
        return Formula(start, base.end(), f"{number} (base {base[1]})")
    unit = _UNIT_AFTER.match(text, end) if text[end - 1] not in ".,;:!?" else None
    known = unit and read_unit(unit[1])
    if unit and known and (known.kind[0][0] not in _MONEY or known.factor != 1):
        return Formula(start, unit.end(), f"{number} {unit[1]}")
    return Formula(start, end, number)


def _balanced(latex: str) -> str:
    """Without closing brackets that nothing opened, at the end, and opening ones that nothing closes, before."""
    for opening, closing in ("()", "[]", "{}"):
        if latex.endswith(closing) and not latex.count(opening) and "[" not in latex and "(" not in latex:
            latex = latex[:-1]
        if latex.startswith(opening) and not any(sign in latex for sign in ")]}"):
            latex = latex[1:]
    return latex


def _trimmed(latex: str) -> str:
    latex = latex.strip()
    return latex if latex.endswith(("\\%", "!")) and len(latex) > 1 else _TRIMMED.sub("", latex)
