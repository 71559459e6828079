"""Sentences made from numbers. "Differs" is said only where interval and adjusted test agree on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stepward.report.text import count, p_value, rate, signed

LEVEL = 0.05
Row = dict[str, Any]


def verdict(row: Row) -> str:
    """What one paired comparison shows: "more", "fewer" or "no difference shown"."""
    if row["holm_p_value"] > LEVEL or row["low"] <= 0 <= row["high"]:
        return "no difference shown"
    return "more" if row["difference"] > 0 else "fewer"


def question(arm: str, references: Sequence[str], bounds: Sequence[str]) -> str:
    """The question of an experiment. `bounds` are references that know the truth: nothing is asked to beat them."""
    rivals = [name for name in references if name not in bounds]
    near = f"how near does it come to {' and '.join(bounds)}?"
    if not rivals:
        return f"How well does {arm} guide search{', and ' + near if bounds else '?'}"
    return f"Does {arm} guide search better than {' or '.join(rivals)}{', and ' + near if bounds else '?'}"


def comparison_sentence(row: Row, search: str) -> str:
    """One comparison as a sentence: rates, verdict, interval, test."""
    place = f"At {count(row['budget'])} expansions a problem, {search} search guided by {row['arm']}"
    found = verdict(row)
    rates = f"{rate(row['mean'])} against {rate(row['reference_mean'])} of {row['num_pairs']:,} problems"
    test = "exact McNemar" if row["test"] == "mcnemar" else "sign-flip test"
    p = p_value(row["holm_p_value"])
    statistics = (
        f"paired difference {signed(row['difference'])}, 95 % interval {signed(row['low'])} to {signed(row['high'])}; "
        f"{test}, Holm-adjusted p {p if p.startswith('<') else f'= {p}'}"
    )
    if found == "no difference shown":
        return f"{place}, no difference to {row['reference']} is shown: {rates} solved ({statistics})."
    return f"{place} solves {found} problems than {row['reference']}: {rates} ({statistics})."


def sample_sentence(row: Row) -> str:
    """One comparison of choices among samples, at equal computation, as a sentence."""
    found = verdict(row)
    place = f"At the FLOPs of {row['budget']} plain samples, {row['arm']} ({row['choice']} of {row['size']:.3g})"
    rates = f"{rate(row['mean'])} against {rate(row['reference_mean'])} of {row['num_pairs']:,} problems"
    p = p_value(row["holm_p_value"])
    statistics = (
        f"paired difference {signed(row['difference'])}, 95 % interval {signed(row['low'])} to {signed(row['high'])}; "
        f"Holm-adjusted p {p if p.startswith('<') else f'= {p}'}"
    )
    rival = f"{row['reference']} ({row['reference_choice']} of {row['reference_size']:.3g})"
    if found == "no difference shown":
        return f"{place}: no difference to {rival} is shown, {rates} solved ({statistics})."
    return f"{place} solves {found} problems than {rival}: {rates} ({statistics})."
