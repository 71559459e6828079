"""Units of measure, as far as answers state them: two units can be the same, convertible, or of different kinds.

Words that are no unit of measure ("jars", "such subsets") say what was counted and decide nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

__all__ = ["Unit", "read_unit"]


@dataclass(frozen=True, slots=True)
class Unit:
    """What a quantity is measured in.

    Attributes:
        kind: powers of base dimensions, sorted, such as ``(("length", 1), ("time", -1))``.
        factor: how many base units one of it is.
    """

    kind: tuple[tuple[str, int], ...]
    factor: Fraction

    def fits(self, other: Unit) -> bool:
        """Whether the two measure the same; degrees that do not say of what fit any degrees."""
        angle = (("angle", 1),)
        degrees = {angle, (("celsius", 1),), (("fahrenheit", 1),)}
        return self.kind == other.kind or (angle in (self.kind, other.kind) and {self.kind, other.kind} <= degrees)


_LINES = """
length 1 m meter metre
length 1000 km kilometer kilometre
length 1/10 dm decimeter decimetre
length 1/100 cm centimeter centimetre
length 1/1000 mm millimeter millimetre
length 127/5000 in inch inche
length 381/1250 ft foot feet
length 1143/1250 yd yard
length 201168/125 mi mile
mass 1 g gram gramme
mass 1000 kg kilogram kilo
mass 1/1000 mg milligram
mass 1000000 ton tonne
mass 45359237/100000 lb pound
mass 45359237/1600000 oz ounce
time 1 s sec second
time 60 min minute
time 3600 h hr hour
time 86400 day
time 604800 week
month 1 month
month 12 yr year
length^3 1/1000 L l liter litre
length^3 1/1000000 mL ml milliliter millilitre
length^3 473176473/125000000000 gal gallon
length^3 473176473/500000000000 qt quart
length^3 473176473/1000000000000 pt pint
dollar 1 $ dollar usd buck
dollar 1/100 cent
euro 1 € euro eur
sterling 1 £ gbp
yen 1 ¥ yen
rupee 1 rs rupee
angle 1 ^\\circ deg degree
radian 1 rad radian
celsius 1 ^\\circc celsius
fahrenheit 1 ^\\circf fahrenheit
kelvin 1 K kelvin
force 1 N newton
energy 1 J joule
power 1 W watt
voltage 1 V volt
frequency 1 Hz hertz
"""
_UNITS = {
    name: (kind.partition("^")[0], int(kind.partition("^")[2] or 1), Fraction(factor))
    for kind, factor, *names in map(str.split, _LINES.split("\n")[1:-1])
    for name in names
}
_ALIASES = {"mph": "mile/hour", "kmph": "km/h", "kph": "km/h", "kmh": "km/h", "cc": "cm^3"}
_SQUARE = re.compile(r"\b(?:square|sq\.?)\s+([A-Za-z]+)", re.IGNORECASE)
_CUBIC = re.compile(r"\b(?:cubic|cu\.?)\s+([A-Za-z]+)", re.IGNORECASE)
_SQUARED = re.compile(r"\s+squared\b")
_CUBED = re.compile(r"\s+cubed\b")
_DEGREES = re.compile(r"\bdegrees?\s+([CF])(?![A-Za-z])|\bdegrees?\s+(celsius|fahrenheit)\b", re.IGNORECASE)
_PRICE = re.compile(r"((?:dollar|cent|euro|rupee|buck)s?)\s+(?:per|an|a|each)\b.*", re.IGNORECASE)
_FACTOR = re.compile(r"(\^\\circ\s*[CFcf]?(?![A-Za-z])|[A-Za-z]+\.?|[$€£¥])(?:\s*\^\s*\{?(-?\d)\}?)?")


@lru_cache(maxsize=4096)
def read_unit(text: str) -> Unit | None:
    r"""The unit that `text` is, such as ``km/h``, ``square feet``, ``^\circ`` or ``cents``, or None."""
    text = _ALIASES.get(text.strip().rstrip("."), text.strip())
    text = _PRICE.sub(r"\1", text)
    text = _DEGREES.sub(lambda d: f"^\\circ{d[1]}" if d[1] else d[2], text)
    text = _CUBIC.sub(r"\1^3", _SQUARE.sub(r"\1^2", text))
    text = _CUBED.sub("^3", _SQUARED.sub("^2", text))
    above, *below = re.split(r"\s*/\s*|\s+(?:per|an|a)\s+", text.replace("\\cdot", " "))
    powers: dict[str, int] = {}
    factor = Fraction(1)
    for part, sign in [(above, 1), *((part, -1) for part in below)]:
        position = 0
        while position < len(part):
            found = _FACTOR.match(part, position)
            known = found and _lookup(found[1])
            if not found or not known:
                return None
            kind, own_power, size = known
            power = sign * int(found[2] or 1)
            powers[kind] = powers.get(kind, 0) + own_power * power
            factor *= size**power
            position = found.end() + len(part[found.end() :]) - len(part[found.end() :].lstrip(" *"))
    return Unit(tuple(sorted((kind, power) for kind, power in powers.items() if power)), factor) if powers else None


def _lookup(word: str) -> tuple[str, int, Fraction] | None:
    """A unit by its name or sign, in the singular or plural; one-letter signs are told from capitals."""
    word = word.rstrip(".").replace(" ", "")
    lower = word.lower() if len(word) > 1 else word
    singular = [lower.removesuffix("s"), lower.removesuffix("es")] if len(word) > 3 else []
    return next((_UNITS[name] for name in (word, lower, *singular) if name in _UNITS), None)
