"""The figures of an evaluation that fit on one line each: flat names for `metrics.json` and for tracking."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from stepward.evaluate.settings import EvaluateSettings

RANKING = ("spearman", "sibling_spearman", "sibling_accuracy", "top1_accuracy", "top1_regret")
AT_FLOPS = "solve_rate_at_flops_of_"
CALIBRATION = ("ece", "ece_monte_carlo", "brier_exact", "brier_monte_carlo")


def summary(tables: Mapping[str, pa.Table], settings: EvaluateSettings) -> dict[str, float]:
    """``<arm>/<figure>`` -> value, of the first search, of values and of samples, and ``coverage/<method>``.

    Figures that are not defined are left out.
    """
    found = dict(_searches(tables, settings)) | dict(_values(tables)) | dict(_labels(tables))
    found |= dict(_samples(tables))
    return {name: float(value) for name, value in found.items() if value is not None}


def _searches(tables: Mapping[str, pa.Table], settings: EvaluateSettings) -> Iterator[tuple[str, Any]]:
    main = next(iter(settings.searches))
    rates: dict[tuple[str, float], float] = {}
    for row in _rows(tables, "frontier", search=main):
        at = f"at_{row['budget']:g}"
        rates[row["arm"], row["budget"]] = row["solve_rate"]
        yield f"{row['arm']}/solve_rate_{at}", row["solve_rate"]
        yield "num_problems", row["num_problems"]
        yield "num_solvable", row["num_solvable"]
    for (arm, budget), rate in rates.items():
        if rates.get(("exact", budget)):
            yield f"{arm}/share_of_exact_at_{budget:g}", rate / rates["exact", budget]
    for row in _rows(tables, "comparisons", search=main):
        name = f"{row['arm']}/minus_{row['reference']}_at_{row['budget']:g}"
        yield from ((name, row["difference"]), (f"{name}_low", row["low"]), (f"{name}_high", row["high"]))
    for row in _rows(tables, "costs", search=main):
        for kind in ("expansions", "scored", "flops", "seconds"):
            yield f"{row['arm']}/mean_{kind}", row[kind]


def _values(tables: Mapping[str, pa.Table]) -> Iterator[tuple[str, Any]]:
    for row in _rows(tables, "ranking"):
        for figure in RANKING:
            yield f"{row['arm']}/{figure}{_subset(row)}", row.get(figure)
    for row in _rows(tables, "calibration"):
        after = "" if row["calibration"] == "none" else f"_{row['calibration']}"
        for figure in CALIBRATION:
            yield f"{row['arm']}/{figure}{after}{_subset(row)}", row.get(figure)


def _samples(tables: Mapping[str, pa.Table]) -> Iterator[tuple[str, Any]]:
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


def sample_line(arm: str, metrics: Mapping[str, float]) -> str:
    """An arm of a sample study in a few words: solve rates at equal computation; "" where there is none."""
    found = {}
    for name, value in metrics.items():
        own, _, figure = name.partition("/")
        if own == arm and figure.startswith(AT_FLOPS):
            found[int(figure.removeprefix(AT_FLOPS))] = value
    if not found:
        whole = {int(n.rsplit("_", 1)[1]): v for n, v in metrics.items() if n.startswith(f"{arm}/solve_rate_of_")}
        return "of N samples, whatever it costs: " + _listed(whole) if whole else ""
    return "solved at the FLOPs of N samples: " + _listed(found)


def _listed(rates: Mapping[int, float]) -> str:
    return "  ".join(f"{size}: {rates[size]:.3f}" for size in sorted(rates))


def _labels(tables: Mapping[str, pa.Table]) -> Iterator[tuple[str, Any]]:
    for row in _rows(tables, "coverage"):
        yield f"coverage/{row['method']}", row["rate"]
        yield f"coverage/{row['method']}_expected", row["expected"]
        yield "coverage/num_partials", row["num_rows"]


def _rows(tables: Mapping[str, pa.Table], name: str, **only: Any) -> list[dict[str, Any]]:
    rows = tables[name].to_pylist() if name in tables else []
    return [row for row in rows if all(row[key] == value for key, value in only.items())]


def _subset(row: Mapping[str, Any]) -> str:
    return "" if row["states"] == "all" else f"_{row['states']}"
