"""Numbers as people read them."""

from __future__ import annotations

import math

MINUS = "\N{MINUS SIGN}"
NO_BREAK = "\N{NO-BREAK SPACE}"


def rate(value: float | None, digits: int = 3) -> str:
    """A share, an error or a correlation; a dash where it is not known."""
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}".replace("-", MINUS)


def with_interval(value: float | None, low: float | None, high: float | None, digits: int = 3) -> str:
    """A value with its interval on the next line."""
    return f"{rate(value, digits)}\n{interval(low, high, digits)}".strip()


def difference(value: float | None, low: float | None, high: float | None) -> str:
    """A difference with its interval on the next line."""
    return f"{signed(value)}\n{signed(low)} to {signed(high)}".replace(" ", NO_BREAK)


def signed(value: float | None, digits: int = 3) -> str:
    """A difference with its sign."""
    if value is None or math.isnan(value):
        return "–"
    text = f"{abs(value):.{digits}f}"
    return text if float(text) == 0 else f"{'+' if value > 0 else MINUS}{text}"


def interval(low: float | None, high: float | None, digits: int = 3) -> str:
    """An interval; empty where there is none."""
    if low is None or high is None or math.isnan(low + high):
        return ""
    return f"[{low:.{digits}f},{NO_BREAK}{high:.{digits}f}]".replace("-", MINUS)


def p_value(p: float) -> str:
    """A p-value; very small ones as a bound."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def count(number: float) -> str:
    """A whole number with thousands set off, or a large one with two digits and a power of ten."""
    if not math.isfinite(number):
        return "∞"
    if abs(number) >= 1e7:
        exponent = math.floor(math.log10(abs(number)))
        return f"{number / 10**exponent:.2f}e{exponent}"
    return f"{number:,.0f}" if number == round(number) or abs(number) >= 100 else f"{number:,.2f}"


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    if seconds < 0.001:
        text = f"{seconds * 1e6:.0f} µs"
    elif seconds < 1:
        text = f"{seconds * 1e3:.1f} ms"
    else:
        text = f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
    return text.replace(" ", NO_BREAK)
