r"""Answers that are one number, read exactly: a fraction of integers, with its unit, its base, and how it was written.

``1,234``, ``12 500``, ``3 1/2``, ``2\frac{1}{4}``, ``0.\overline{6}``, ``2.5e4``, ``4.2 \times 10^5``, ``31_5``,
``35\%``, ``\$24.50``, ``18\text{ jars}`` and ``7 km/h`` are numbers here; ``3n+1`` and ``2^{10}`` are formulas.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from stepward.domains.math.grading.units import Unit, read_unit
from stepward.domains.math.grading.writing import bracket_depths, unwrap_text

__all__ = [
    "GROUPED",
    "Quantity",
    "join_thousands",
    "read_decimal_comma",
    "read_quantity",
    "same_quantity",
    "split_unit",
]

# 1,234  1{,}234  1,\!234  1\,234  1 234: thousands set apart.
_SEPARATOR = r"(?:,\\! ?|\{,\}|\\,|\\ |[, ~'])"
GROUPED = rf"[1-9]\d{{0,2}}(?:{_SEPARATOR}\d{{3}})+(?!\d)"
_GROUPS = re.compile(rf"(?<![\d.]){GROUPED}", re.ASCII)
_SEPARATORS = re.compile(_SEPARATOR)
_MAX_DIGITS = 400  # a longer number is no answer, and `int` refuses texts of more than 4,300 digits
_FRACTION = r"\\frac\s*(?:\{\s*(?P<top>\d+)\s*\}|(?P<top1>\d))\s*(?:\{\s*(?P<under>\d+)\s*\}|(?P<under1>\d))"
_DECIMAL = r"(?P<integer>\d*)(?:\.(?P<decimals>\d*))?"
_NUMBER = re.compile(
    rf"""
    (?P<sign>[+-]?)\s*(?P<currency>[$€£¥]?)\s*(?P<sign2>-?)\s*
    (?:
        (?:(?P<whole>\d+)\s*)?{_FRACTION}
      | (?:(?P<whole2>\d+)[ ]+(?:and\s+)?)?(?P<top2>\d+)\s*/\s*(?P<under2>\d+)
      | 10\s*\^\s*(?:\{{\s*)?(?P<power3>-?\d+)(?:\s*\}})?
      | {_DECIMAL}(?:\\overline\s*\{{(?P<cycle>\d+)\}}|\\(?:dot|bar)\s*\{{?(?P<cycle1>\d)\}}?|\((?P<cycle2>\d+)\))
      | (?P<shown>\d*\.\d*?(?P<repeated>\d{{1,6}}?)(?P=repeated){{2,}})(?:\.\.\.|\\l?dots)
      | (?P<integer3>\d+)?(?:\.(?P<decimals3>\d*))?
        (?:[eE](?P<power>[+-]?\d+)|\s*(?:\\times|\\cdot|\*|[xX])\s*10\s*\^\s*(?:\{{\s*)?(?P<power2>[+-]?\d+)(?:\s*\}})?)?
    )
    (?:\s*_\s*\{{?\s*\(?(?P<base>\d+|[a-z]+)\)?\s*\}}?|\s*\(?(?:in\s+)?base\s+(?P<base2>\d+|[a-z]+)\)?)?
    (?:\s*(?P<percent>\\?%|percent(?:age)?\b|per\s+cent\b|pct\b))?
    (?P<rest>.*)
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_BASES = dict(
    zip(
        ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "sixteen"],
        [*range(2, 13), 16],
        strict=True,
    )
)
_DECIMAL_COMMA = re.compile(r"-?\d+,\d+(?!\d)[^\d,.]*", re.ASCII)
_WORDS = re.compile(r"[\s-]+[A-Za-z][A-Za-z' \-]*[A-Za-z]\.?")
_SPACES = re.compile(r"\\[,;:! ]|\\q?quad(?![A-Za-z])|~|\s+")
_TRAILING_UNIT = re.compile(
    r"(?P<core>.*?(?:[\d)}\]]|\\pi))(?P<unit>\s*\^\s*\{?\\circ\}?\s*[CF]?|\s+[A-Za-z][A-Za-z/ .]*(?:\^\{?\d\}?)?)"
)


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number as it was written.

    Attributes:
        value: its exact value; of a percentage, the number before the sign; in a base, that of the digits read as
            decimal ones.
        is_decimal: written with a decimal point, so perhaps rounded.
        is_percent: followed by a percent sign or word.
        base: the base that was stated, or None.
        unit: the unit of measure that was stated, or None; what was counted is no unit.
    """

    value: Fraction
    is_decimal: bool = False
    is_percent: bool = False
    base: int | None = None
    unit: Unit | None = None


def join_thousands(text: str) -> str:
    """`text` with the thousands separators taken out of its numbers, but not the commas inside brackets: (12,102)."""
    depths = bracket_depths(text) if "," in text and any(bracket in text for bracket in "([{") else None

    def join(number: re.Match[str]) -> str:
        is_list = depths and depths[number.start()] and re.search(r"\d,\d", number[0])
        return number[0] if is_list else _SEPARATORS.sub("", number[0])

    return _GROUPS.sub(join, text)


def split_unit(latex: str) -> tuple[str, Unit | None]:
    r"""What stands before a trailing unit of measure, and the unit: ``\sqrt{3}\text{ cm}`` gives ``\sqrt{3}``."""
    found = _TRAILING_UNIT.fullmatch(unwrap_text(latex).strip())
    unit = found and read_unit(found["unit"].replace("{", "").replace("}", ""))
    return (found["core"].strip(), unit) if found and unit else (latex, None)


@lru_cache(maxsize=4096)
def read_quantity(text: str) -> Quantity | None:
    """The quantity that `text` is, or None if it is anything else than one number with words around its unit."""
    text = _SPACES.sub(" ", unwrap_text(join_thousands(text)).replace("\\$", "$")).strip()
    found = _NUMBER.fullmatch(_unbraced(text)) if len(text) <= _MAX_DIGITS else None
    value = _value(found) if found else None
    if found is None or value is None:
        return None
    base = found["base"] or found["base2"]
    if base and not (base.isdigit() or base in _BASES):
        return None
    unit = read_unit(found["rest"]) or (read_unit(found["currency"]) if found["currency"] else None)
    is_product = re.match(r"[A-Za-z](?![A-Za-z])", found["rest"])  # 5m, glued, may be 5 times m
    if is_product or not (read_unit(found["rest"]) or not found["rest"].strip() or _WORDS.fullmatch(found["rest"])):
        return None
    negative = (found["sign"] == "-") != (found["sign2"] == "-")
    is_decimal = found["decimals3"] is not None
    number = (_BASES.get(base) or int(base)) if base else None
    return Quantity(-value if negative else value, is_decimal, bool(found["percent"]), number, unit)


def read_decimal_comma(text: str) -> Quantity | None:
    """The number that `text` is where a comma stands for its decimal point, as in ``2,74``, or None."""
    return read_quantity(text.replace(",", ".")) if _DECIMAL_COMMA.fullmatch(text) else None


def same_quantity(answer: Quantity, gold: Quantity) -> bool:
    """Whether two quantities are equal: exactly, but for decimals that may be rounded.

    Two stated units must measure the same, and are converted. A stated base must be the reference's; an answer may
    leave it out. A percentage equals the number before its sign and the hundredth of it. A decimal may differ by half
    a unit of the sixth place, and by 5 parts in a million.
    """
    if answer.base != gold.base and (answer.base or gold.base) != 10 and not (answer.base is None and gold.base):
        return False
    factor = Fraction(1)
    if answer.unit and gold.unit:
        if not answer.unit.fits(gold.unit):
            return False
        factor = answer.unit.factor / gold.unit.factor
    value = answer.value * factor
    rounded = answer.is_decimal or gold.is_decimal
    scales = [Fraction(1)]
    if answer.is_percent != gold.is_percent:
        scales.append(Fraction(1, 100) if answer.is_percent else Fraction(100))
    return any(_close(value * scale, gold.value, rounded=rounded) for scale in scales)


def _close(a: Fraction, b: Fraction, *, rounded: bool) -> bool:
    return a == b or (rounded and abs(a - b) <= min(Fraction(1, 2_000_000), 5 * max(abs(a), abs(b)) / 1_000_000))


def _value(found: re.Match[str]) -> Fraction | None:
    """The exact value of what `_NUMBER` matched, without sign, or None where no digit or a zero below."""
    part = found.groupdict()
    top, under = part["top"] or part["top1"] or part["top2"], part["under"] or part["under1"] or part["under2"]
    if top:
        return int(part["whole"] or part["whole2"] or 0) + Fraction(int(top), int(under)) if int(under) else None
    if part["shown"]:
        return _repeating(part["shown"][: -len(part["repeated"])], part["repeated"])
    if cycle := part["cycle"] or part["cycle1"] or part["cycle2"]:
        return _repeating(f"{part['integer']}.{part['decimals']}", cycle) if part["decimals"] is not None else None
    if part["power3"]:
        return Fraction(10) ** int(part["power3"]) if abs(int(part["power3"])) <= _MAX_DIGITS else None
    integer, decimals = part["integer3"] or "", part["decimals3"] or ""
    power = int(part["power"] or part["power2"] or 0)
    if not integer + decimals or abs(power) > _MAX_DIGITS:
        return None
    return Fraction(int(integer + decimals), 10 ** len(decimals)) * Fraction(10) ** power


def _repeating(shown: str, cycle: str) -> Fraction:
    integer, _, decimals = shown.partition(".")
    head = Fraction(int(integer + decimals or "0"), 10 ** len(decimals))
    return head + Fraction(int(cycle), (10 ** len(cycle) - 1) * 10 ** len(decimals))


def _unbraced(text: str) -> str:
    while text.startswith("{") and text.endswith("}") and "}" not in text[:-1]:
        text = text[1:-1].strip()
    return text
