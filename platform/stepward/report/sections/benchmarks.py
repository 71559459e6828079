"""Judges of steps on a benchmark, and the published figures beside them."""

from __future__ import annotations

from typing import Any

from stepward.report.page import Block, Grid, Section
from stepward.report.sources import Source
from stepward.report.text import count, rate, with_interval

Row = dict[str, Any]
FIGURES = ("prm_score", "f1", "f1_right", "f1_wrong", "accuracy_wrong", "accuracy_right", "auc")
ALL = "all"


def benchmark_section(source: Source) -> Section:
    """The headline of every judge at every threshold, with its parts; published figures; then category by category."""
    rows = source.table("tables/benchmark.parquet").to_pylist()
    facts = source.open().facts
    shown = [name for name in FIGURES if any(row.get(name) is not None for row in rows)]
    whole = sorted((row for row in rows if row["category"] == ALL), key=lambda row: -row[shown[0]])
    caption = (
        f"{facts['benchmark']}: {count(facts['solutions'])} solutions of {count(facts['problems'])} problems, "
        f"{count(facts['steps'])} steps; 95 % intervals over problems. A step counts as right above the threshold: the "
        "judge's own, or one chosen on other problems than those it is reported on. AUC: right and wrong steps of one "
        "solution in the right order, without a threshold."
    )
    body = [
        [row["guide"], f"{row['threshold']} {row['threshold_value']:.3g}", *(_cell(row, name) for name in shown)]
        for row in whole
    ]
    blocks: list[Block] = [Grid(["judge", "threshold", *shown], body, caption)]
    blocks += [_published(source, shown[0])] if "tables/references.parquet" in source.open().files else []
    categories = list(dict.fromkeys(row["category"] for row in rows if row["category"] != ALL))
    parts = {(row["guide"], row["threshold"], row["category"]): row.get(shown[0]) for row in rows}
    body = [
        [row["guide"], row["threshold"], *(rate(parts.get((row["guide"], row["threshold"], c))) for c in categories)]
        for row in whole
    ]
    blocks.append(Grid(["judge", "threshold", *categories], body, f"{shown[0]} by category.", folded="By category"))
    return Section(f"Benchmark {source.artifact.name}", blocks)


def _cell(row: Row, name: str) -> str:
    return with_interval(row.get(name), row.get(f"{name}_low"), row.get(f"{name}_high"))


def _published(source: Source, headline: str) -> Grid:
    """Published figures of the headline, as they were published."""
    rows = source.artifact.folder.read_table("tables/references.parquet").to_pylist()
    categories = list(dict.fromkeys(row["category"] for row in rows if "category" in row))
    judges = list(dict.fromkeys(row["judge"] for row in rows if "judge" in row))
    values = {(row["judge"], row["category"]): row["value"] for row in rows if "judge" in row}
    body = [[judge, *(rate(values.get((judge, category))) for category in categories)] for judge in judges]
    sources = ", ".join(dict.fromkeys(row["source"] for row in rows if "source" in row))
    return Grid(["published", *categories], body, f"{headline} as published, for reference: {sources or 'none'}.")
