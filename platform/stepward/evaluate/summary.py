"""The figures of an evaluation that fit on one line each: flat names for `metrics.json` and for tracking."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from stepward.evaluate.settings import EvaluateSettings
from stepward.evaluate.tables import Row
from stepward.statistics.rivals import closest

NAMES = ("search", "arm", "guide", "num_pairs")  # of a row, and what is no figure of it
RANKING = ("spearman", "sibling_spearman", "sibling_accuracy", "top1_accuracy", "top1_regret")
AT_FLOPS = "solve_rate_at_flops_of_"
SOLVED_AT = {
    "solved at the FLOPs of N samples:": AT_FLOPS,
    "solved at": "solve_rate_at_",
    "of N samples, whatever it costs:": "solve_rate_of_",
}
CALIBRATION = ("ece", "ece_monte_carlo", "brier_exact", "brier_monte_carlo")


def summary(tables: Mapping[str, pa.Table], settings: EvaluateSettings) -> dict[str, float]:
    """``<arm>/<figure>`` -> value, of the first search or of the arms written out, of values, samples and candidates,
    and ``coverage/<method>``.

    Figures that are not defined are left out.
    """
    found: dict[str, Any] = {}
    for part in (_searches, _ablation):
        found |= part(tables, settings)
    for figures in (_rivals, _values, _labels, _samples, _candidates):
        found |= figures(tables)
    return {name: float(value) for name, value in found.items() if value is not None and not np.isnan(value)}


def _searches(tables: Mapping[str, pa.Table], settings: EvaluateSettings) -> Iterator[tuple[str, object]]:
    main = settings.main
    rates: dict[tuple[str, float], float] = {}
    for row in _rows(tables, "frontier", search=main):
        at = f"at_{row['budget']:g}"
        rates[row["arm"], row["budget"]] = row["solve_rate"]
        yield f"{row['arm']}/solve_rate_{at}", row["solve_rate"]
        yield "num_problems", row["num_problems"]
        yield "num_solvable", row["num_solvable"]
    for (arm, budget), rate in rates.items():
        for bound in settings.bounds:
            if rates.get((bound, budget)):
                yield f"{arm}/share_of_{bound}_at_{budget:g}", rate / rates[bound, budget]
    for row in _rows(tables, "comparisons", search=main) if rates else []:
        name = f"{row['arm']}/minus_{row['reference']}_at_{row['budget']:g}"
        yield from ((name, row["difference"]), (f"{name}_low", row["low"]), (f"{name}_high", row["high"]))
    for row in _rows(tables, "costs", search=main):
        for kind in ("expansions", "scored", "flops", "seconds"):
            yield f"{row['arm']}/mean_{kind}", row[kind]


def _ablation(tables: Mapping[str, pa.Table], settings: EvaluateSettings) -> Iterator[tuple[str, object]]:
    """Every figure of every arm, and its gain over each reference."""
    for row in _rows(tables, "ablation", search=settings.main):
        for figure, value in row.items():
            if figure not in NAMES:
                yield f"{row['arm']}/{figure}", value
    for row in _rows(tables, "comparisons", search=settings.main) if "ablation" in tables else []:
        name = f"{row['arm']}/gain_over_{row['reference']}"
        yield from ((name, row["difference"]), (f"{name}_low", row["low"]), (f"{name}_high", row["high"]))


def _rivals(tables: Mapping[str, pa.Table]) -> Iterator[tuple[str, Any]]:
    """How every trained guide stands to the best of its rivals, budget by budget."""
    found: dict[tuple[str, Any], list[dict[str, Any]]] = {}
    for row in _rows(tables, "rivals"):
        found.setdefault((row["arm"], row["budget"]), []).append(row)
    for (arm, budget), rows in found.items():
        worst, at = closest(rows), "" if budget is None else f"_at_{budget:g}"
        name = f"{arm}/over_best_rival{at}"
        yield from ((name, worst["difference"]), (f"{name}_low", worst["low"]), (f"{name}_high", worst["high"]))


def _candidates(tables: Mapping[str, pa.Table]) -> Iterator[tuple[str, Any]]:
    """How guides order candidates."""
    for row in _rows(tables, "candidates"):
        for figure, value in row.items():
            if figure not in NAMES:
                yield f"{row['guide']}/ranking_{figure}", value


def _values(tables: Mapping[str, pa.Table]) -> Iterator[tuple[str, object]]:
    for row in _rows(tables, "ranking"):
        for figure in RANKING:
            yield f"{row['arm']}/{figure}{_subset(row)}", row.get(figure)
    for row in _rows(tables, "calibration"):
        after = "" if row["calibration"] == "none" else f"_{row['calibration']}"
        for figure in CALIBRATION:
            yield f"{row['arm']}/{figure}{after}{_subset(row)}", row.get(figure)


def _samples(tables: Mapping[str, pa.Table]) -> Iterator[tuple[str, object]]:
    """Of every arm's choice among samples: what it solves of N, what that costs, and where it stands at equal cost."""
    chosen: dict[str, tuple[str, str]] = {}
    for row in _rows(tables, "samples", chosen=True):
        chosen[row["arm"]] = row["rule"], row["aggregation"]
        yield f"{row['arm']}/solve_rate_of_{row['size']}", row["solve_rate"]
        yield f"{row['arm']}/flops_of_{row['size']}", row["flops"]
        yield "num_problems", row["num_problems"]
    for row in _rows(tables, "gaps"):
        if (row["rule"], row["aggregation"]) == chosen.get(row["arm"]):
            yield f"{row['arm']}/share_of_gap_of_{row['size']}", row["share"]
    for row in _rows(tables, "matched"):
        at = f"at_flops_of_{row['budget']}"
        name = f"{row['arm']}/minus_{row['reference']}_{at}"
        yield from ((name, row["difference"]), (f"{name}_low", row["low"]), (f"{name}_high", row["high"]))
        yield f"{row['arm']}/solve_rate_{at}", row["mean"]
        yield f"{row['reference']}/solve_rate_{at}", row["reference_mean"]


def line(arm: str, metrics: Mapping[str, float]) -> str:
    """An arm in a few words: what it solves at equal computation or at each budget, or its value and gain."""
    own = {name.removeprefix(f"{arm}/"): value for name, value in metrics.items() if name.startswith(f"{arm}/")}
    for words, start in SOLVED_AT.items():
        found = {figure.removeprefix(start): value for figure, value in own.items() if figure.startswith(start)}
        rates = {int(size): value for size, value in found.items() if size.isdigit()}
        if rates:
            sibling = own.get("sibling_spearman") if start == "solve_rate_at_" else None
            return f"{words} {_listed(rates)}" + (f"   sibling Spearman {sibling:.3f}" if sibling is not None else "")
    if "value" not in own:
        return ""
    low, high, lost = own.get("gain_low", np.nan), own.get("gain_high", np.nan), int(own.get("num_blown_up", 0))
    gain = f"  gain {own['gain']:+.1%} [{low:+.1%}, {high:+.1%}]" if "gain" in own else ""
    words = f"{own['value']:.4f}{gain}  NFE {own.get('mean_nfe', 0):.0f}"
    return words + (f"  {lost} blew up" if lost else "")


def _listed(rates: Mapping[int, float]) -> str:
    return "  ".join(f"{size}: {rates[size]:.3f}" for size in sorted(rates))


def _labels(tables: Mapping[str, pa.Table]) -> Iterator[tuple[str, object]]:
    for row in _rows(tables, "coverage"):
        yield f"coverage/{row['method']}", row["rate"]
        yield f"coverage/{row['method']}_expected", row["expected"]
        yield "coverage/num_partials", row["num_rows"]


def _rows(tables: Mapping[str, pa.Table], name: str, **only: object) -> list[Row]:
    rows = tables[name].to_pylist() if name in tables else []
    return [row for row in rows if all(row[key] == value for key, value in only.items())]


def _subset(row: Mapping[str, object]) -> str:
    return "" if row["states"] == "all" else f"_{row['states']}"
