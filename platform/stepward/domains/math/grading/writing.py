r"""One way to write what people and models write in many: Unicode signs, spaces and digits become ASCII and LaTeX.

``−17``, full-width ``３７``, Arabic-Indic ``٣``, ``2½``, ``√21``, ``x²``, ``x ≥ 4`` and a no-break space come out as
``-17``, ``37``, ``3``, ``2\frac{1}{2}``, ``\sqrt{21}``, ``x^{2}``, ``x \ge  4`` and a space.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

__all__ = ["ascii_math", "brace_pairs", "bracket_depths", "unwrap_text"]

_SIGNS = {
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d", "-"),
    **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad", ""),
    **dict.fromkeys("\u2044\u2215\u00f7", "/"),
    **dict.fromkeys("\u22c5\u00b7\u2219", "\\cdot "),
    "\u066b": ".",
    "\u066c": ",",
    "\u2026": "...",
    "\u00d7": "\\times ",
    "\u00b1": "\\pm ",
    "\u2264": "\\le ",
    "\u2a7d": "\\le ",
    "\u2265": "\\ge ",
    "\u2a7e": "\\ge ",
    "\u2260": "\\neq ",
    "\u2248": "\\approx ",
    "\u2261": "\\equiv ",
    "\u21d2": "\\Rightarrow ",
    "\u221e": "\\infty ",
    "\u222a": "\\cup ",
    "\u2229": "\\cap ",
    "\u2208": "\\in ",
    "\u2205": "\\emptyset ",
    "\u03c0": "\\pi ",
    "\u03b8": "\\theta ",
    "\u03b1": "\\alpha ",
    "\u03b2": "\\beta ",
    "\u03bb": "\\lambda ",
    "\u00b0": "^\\circ ",
    "\u00a2": " cents",
    "\u221b": "\\sqrt[3]",
}
_SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n", strict=True))
_SUBSCRIPTS = dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True))
_RAISED = re.compile(f"[{''.join(_SUPERSCRIPTS)}]+")
_LOWERED = re.compile(f"[{''.join(_SUBSCRIPTS)}]+")
_ROOT = re.compile(r"(?:√|(?<=\\sqrt\[3\]))\s*(\d+(?:\.\d+)?|[A-Za-z]|\((?:[^()]|\([^()]*\))*\))")
_TEXT = re.compile(r"\\(?:text(?:rm|bf|it|normal|tt|sf)?|mathrm|mathbf|mbox|hbox|operatorname)\s*\{([^{}]*)\}")


def ascii_math(text: str) -> str:
    """`text` with mathematical signs, digits of any script, and odd spaces as ASCII or LaTeX; other letters stay."""
    if text.isascii():
        return text
    text = _RAISED.sub(lambda run: "^{" + "".join(_SUPERSCRIPTS[sign] for sign in run[0]) + "}", text)
    text = _LOWERED.sub(lambda run: "_{" + "".join(_SUBSCRIPTS[sign] for sign in run[0]) + "}", text)
    text = "".join(sign if sign.isascii() else _ascii(sign) for sign in text)
    return _ROOT.sub(lambda root: ("\\sqrt" if root[0][0] == "√" else "") + "{" + _inside(root[1]) + "}", text)


def unwrap_text(latex: str) -> str:
    r"""Without the wrappers of upright text: ``18\text{ jars}`` gives ``18 jars``."""
    return _TEXT.sub(r" \1 ", latex)


def brace_pairs(text: str) -> list[tuple[int, int]]:
    """Positions of matching braces, in the order of their ends; in one pass, as text may open thousands."""
    open_at, pairs = [], []
    for match in re.finditer(r"\\.|[{}]", text, re.DOTALL):
        if match[0] == "{":
            open_at.append(match.start())
        elif match[0] == "}" and open_at:
            pairs.append((open_at.pop(), match.start()))
    return pairs


def bracket_depths(text: str) -> list[int]:
    """How many brackets of any kind are open before each character; never below 0."""
    depths, depth = [], 0
    for sign in text:
        depth -= sign in ")]}" and depth > 0
        depths.append(depth)
        depth += sign in "([{"
    return depths


@lru_cache(maxsize=4096)
def _ascii(sign: str) -> str:
    if sign in _SIGNS:
        return _SIGNS[sign]
    digit = unicodedata.decimal(sign, None)
    if digit is not None:
        return str(digit)
    if unicodedata.category(sign) == "Zs":
        return " "
    folded = unicodedata.normalize("NFKC", sign)
    if "\u2044" in folded:  # a vulgar fraction
        return "\\frac{{{}}}{{{}}}".format(*(part or "1" for part in folded.split("\u2044")))
    return folded if folded.isascii() and "\uff00" <= sign <= "\uff5e" else sign


def _inside(operand: str) -> str:
    return operand[1:-1] if operand.startswith("(") else operand
