"""The few figures of an arm that a tracker shows beside those of the others: at most `MOST`, the answer first.

Trackers make a section of charts of what stands before a slash, in alphabetical order: answer, calibration, cost,
versus. Everything else an evaluation found is in its tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from stepward.evaluate.settings import EvaluateSettings
from stepward.evaluate.tables import Row
from stepward.statistics.rivals import by_guide, closest

MOST = 12
BUDGETS = 3  # of an arm's solve rates, with an interval each
SIZES = (1, 4, 16)  # numbers of samples, of arms that choose among them
GIGA = 1e9


def headlines(tables: Mapping[str, pa.Table], settings: EvaluateSettings) -> dict[str, dict[str, float]]:
    """Arm -> its figures: of the first family, and of choices among samples, best first.

    "answer/…" is the solve rate at some budgets or the headline measure, each with its interval; "versus/…" the
    difference to the best trivial rival, or else to the strongest reference; "cost/…" what a problem took;
    "calibration/ece".
    """
    found = _measured(tables, settings) if "ablation" in tables else _solved(tables, settings)
    found |= _sampled(tables)
    for arm, rows in by_guide([*_rows(tables.get("rivals"))]).items():
        if arm in found:
            other = {name for name in found[arm] if name.startswith("versus/") and "ablation" not in tables}
            own = {name: value for name, value in found[arm].items() if name not in other}
            found[arm] = own | {"versus/best_rival": closest(rows)["difference"]}
    for row in _rows(tables.get("calibration"), states="all", calibration="none"):
        if row["arm"] in found:
            found[row["arm"]]["calibration/ece"] = row.get("ece", row.get("ece_monte_carlo"))
    kept = {arm: {name: float(v) for name, v in own.items() if v is not None} for arm, own in found.items()}
    up = "ablation" not in tables or settings.headline.higher_is_better
    return dict(sorted(kept.items(), key=lambda item: _place(item[1], up)))


def overview(figures: Mapping[str, Mapping[str, float]], num_problems: float) -> dict[str, float]:
    """What the run of the whole evaluation shows: the answer of its best arms."""
    best = list(figures.items())[: MOST - 1]
    answers = {f"answer/{arm}": next(iter(own.values())) for arm, own in best if own}
    return answers | {"num_problems": num_problems}


def _place(own: Mapping[str, float], higher_is_better: bool) -> float:
    answers = [value for name, value in own.items() if name.startswith("answer/")]
    if not answers:
        return float("inf")
    return -answers[0] if higher_is_better else answers[0]


def _solved(tables: Mapping[str, pa.Table], settings: EvaluateSettings) -> dict[str, Row]:
    found: dict[str, dict[str, Any]] = {}
    shown = sorted(settings.budgets)[:BUDGETS]
    middle = shown[len(shown) // 2]  # the one that arms are ordered and compared by
    for budget in sorted(shown, key=lambda budget: budget != middle):
        for row in _rows(tables.get("frontier"), search=settings.main, budget=budget):
            found.setdefault(row["arm"], {}).update(_with_interval(f"answer/solve_rate_at_{budget:g}", row))
    for arm, own in found.items():
        compared = list(_rows(tables.get("comparisons"), search=settings.main, budget=middle, arm=arm))
        own.update(_versus(compared, f"_at_{middle:g}"))
    for row in _rows(tables.get("costs"), search=settings.main):
        if row["arm"] in found:
            found[row["arm"]]["cost/gflops"] = row["flops"] / GIGA
    return found


def _sampled(tables: Mapping[str, pa.Table]) -> dict[str, Row]:
    found: dict[str, dict[str, Any]] = {}
    for row in sorted(_rows(tables.get("samples"), chosen=True), key=lambda row: -row["size"]):
        if row["size"] in SIZES:
            own = found.setdefault(row["arm"], {})
            own.update(_with_interval(f"answer/solve_rate_of_{row['size']}", row))
            own.setdefault("cost/gflops", row["flops"] / GIGA)
    for arm, own in found.items():
        own.update(_versus(list(_rows(tables.get("matched"), main=True, arm=arm)), "_at_equal_flops"))
    return found


def _measured(tables: Mapping[str, pa.Table], settings: EvaluateSettings) -> dict[str, Row]:
    found: dict[str, dict[str, Any]] = {}
    name = f"answer/{settings.measure}"
    for row in _rows(tables["ablation"], search=settings.main):
        own = {name: row["value"], f"{name}_low": row.get("value_low"), f"{name}_high": row.get("value_high")}
        own |= {"cost/nfe": row.get("mean_nfe"), "cost/gflops": _giga(row.get("mean_flops"))}
        reference = settings.references[0]
        own |= {f"versus/{reference}{end}": row.get(f"gain{end}") for end in ("", "_low", "_high")}
        found[row["arm"]] = own
    return found


def _giga(flops: float | None) -> float | None:
    return None if flops is None else flops / GIGA


def _with_interval(name: str, row: Row) -> Row:
    return {name: row["solve_rate"], f"{name}_low": row["low"], f"{name}_high": row["high"]}


def _versus(rows: list[Row], at: str) -> dict[str, float]:
    """The difference to the reference that does best."""
    if not rows:
        return {}
    strongest = max(rows, key=lambda row: row["reference_mean"])
    return {f"versus/{strongest['reference']}{at}": strongest["difference"]}


def _rows(table: pa.Table | None, **only: object) -> Iterable[Row]:
    rows = [] if table is None else table.to_pylist()
    return [row for row in rows if all(row[key] == value for key, value in only.items())]
