"""Whether a trained guide beats its trivial rivals, in words.

It does where it beats every one of them, by Holm's test over them and by the interval; so no rival is chosen on the
problems that the claim is about. The sentence names the rival that comes closest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

LEVEL = 0.05
Row = Mapping[str, Any]


def nearest_budget(budgets: Iterable[float], wanted: float) -> float:
    """The budget of a table that is nearest to the wanted one, by ratio."""
    return min(budgets, key=lambda budget: max(budget / wanted, wanted / budget))


def by_guide(rows: Sequence[Row], headline: float = 20) -> dict[str, list[Row]]:
    """Guide -> its comparisons with its rivals, at the budget nearest to `headline` where there are several."""
    found: dict[str, list[Row]] = {}
    budgets = {row["budget"] for row in rows if row["budget"] is not None}
    at = nearest_budget(budgets, headline) if budgets else None
    for row in rows:
        if row["budget"] == at:
            found.setdefault(row["arm"], []).append(row)
    return found


def closest(rows: Sequence[Row]) -> Row:
    """Of a guide's comparisons with its rivals, the one in which it fares worst."""
    return min(rows, key=lambda row: row["difference"])


def beats(rows: Sequence[Row]) -> str:
    """Of a guide's comparisons with its rivals: "beats" all, "loses" to one, or "open"."""
    shown = [row for row in rows if row["holm_p_value"] <= LEVEL and not row["low"] <= 0 <= row["high"]]
    if any(row["difference"] < 0 for row in shown):
        return "loses"
    return "beats" if len(shown) == len(rows) else "open"


def sentence(rows: Sequence[Row]) -> str:
    """Whether a guide beats the best of its rivals, with the paired interval.

    Args:
        rows: its comparisons, as the table `rivals` has them, at one budget.
    """
    row = closest(rows)
    words = {
        "beats": f"{row['arm']} beats every one of its trivial rivals; {row['reference']} comes closest",
        "loses": f"{row['arm']} does not beat its trivial rivals: {row['reference']} is better",
        "open": f"{row['arm']} is not shown to beat its trivial rivals; {row['reference']} is the strongest",
    }[beats(rows)]
    share = row["measure"] == "solved"
    means = "{:.3f} against {:.3f} solved" if share else "{:.4f} against {:.4f}"
    change = "paired difference {:+.3f}, 95 % interval {:+.3f} to {:+.3f}"
    change = change if share else "saves {:+.1%} of the error, 95 % interval {:+.1%} to {:+.1%}"
    p = row["holm_p_value"]
    tested = f"Holm over {len(rows)} rival{'s' if len(rows) > 1 else ''}: p {'< .001' if p < 0.001 else f'= {p:.3f}'}"
    figures = change.format(row["difference"], row["low"], row["high"]).replace("-", "\N{MINUS SIGN}")
    return (
        f"{words} ({means.format(row['mean'], row['reference_mean'])} on {row['num_pairs']:,} problems"
        f"{row['at']}; {figures}; {tested})."
    )


def answer(
    rows: Sequence[Row],
    *,
    domain: str,
    declared: Sequence[str],
    asked: Sequence[str],
    guide: str,
    headline: float = 20,
) -> str:
    """The first sentence of an evaluation: how its guide stands to its rivals, or why that is not said.

    Args:
        rows: the table `rivals`.
        domain: name of the domain. declared: the rivals it has. asked: those that the settings left in.
        guide: the trained guide that the evaluation is about; "" where there is none.
        headline: budget that is spoken of, where there are several.
    """
    if not guide:
        return ""
    if not declared:
        return f"No trivial rival stands beside {guide}: the domain {domain} declares none."
    missing = [name for name in declared if name not in asked]
    if not asked:
        return f"No trivial rival stands beside {guide}: {', '.join(missing)} were left out by the setting rivals."
    mine = by_guide(rows, headline).get(guide)
    if not mine:
        return f"No arm of this evaluation compares {guide} with its trivial rivals."
    return sentence(mine) + (f" Left out by the setting rivals: {', '.join(missing)}." if missing else "")
