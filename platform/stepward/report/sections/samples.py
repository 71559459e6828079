"""Choices among sampled solutions: solve rate against computation, paired comparisons, searches that steer."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from stepward.report.figures import Look, compute_frontier, forest, looks, png
from stepward.report.page import Block, Grid, Picture, Prose, Section
from stepward.report.sections.setting import Setting, evaluate_table, setting
from stepward.report.sources import Sources
from stepward.report.tables import by, distinct, where
from stepward.report.text import count, difference, p_value, rate, signed, with_interval
from stepward.report.wording import sample_sentence, verdict

Row = dict[str, Any]
SIZES_SHOWN = (1, 2, 4, 8, 16)
BASELINES = ("majority", "oracle")  # arms that are no guides


def sample_answer(sources: Sources) -> tuple[str, list[str]]:
    """The question, and its answer: one sentence a rival at the budget that was chosen beforehand."""
    about = setting(sources)
    champions = about.identity["samples"]["champions"]
    champion = next((name for name in champions if name in about.guides), champions[0])
    rows = where(evaluate_table(sources, "matched"), main=True, arm=champion).to_pylist()
    gaps = _gaps(sources, 8)
    sentences = [sample_sentence(row) for row in rows]
    if gaps:
        row = gaps[0]
        sentences.append(
            f"With {row['size']} samples each, whatever they cost, {champion} goes {row['share']:.0%} of the way from "
            f"the majority vote ({rate(row['majority'])}) to the oracle ({rate(row['oracle'])}); 95 % interval "
            f"{row['low']:.0%} to {row['high']:.0%}."
        )
    return f"Does {champion} choose better than votes and other guides at equal computation?", sentences


def samples_section(sources: Sources) -> Section:
    """Solve rate of every arm's choice against FLOPs; then the table, all aggregations and rules folded below."""
    about = setting(sources)
    rates = evaluate_table(sources, "samples")
    chosen = where(rates, chosen=True)
    budgets = sorted(set(evaluate_table(sources, "matched")["flops"].to_pylist()))
    searches = _search_points(sources)
    caption = (
        f"How to read it: further up and further left is better. An arm chooses among the first N of the same sampled "
        f"solutions; a point is a number of samples, with its 95 % Wilson interval. Crosses are searches that steer. "
        f"The reading of the solutions by the guide is part of the cost. {about.sample_words()}."
    )
    picture = Picture(
        "compute_frontier",
        png(compute_frontier(chosen, _styles(about), searches, tuple(budgets))),
        "Share of problems solved against floating-point operations, one line an arm. The numbers are in the table.",
        caption,
    )
    blocks: list[Block] = [picture, _rates(chosen, about), *_gap_blocks(sources), _all_choices(rates)]
    return Section("Solve rate against computation", blocks)


def matched_section(sources: Sources) -> Section:
    """The champion against every arm at every budget: forest plots and numbers."""
    about = setting(sources)
    rows = evaluate_table(sources, "matched")
    blocks: list[Block] = []
    for budget in distinct(rows, "budget"):
        compared = where(rows, budget=budget)
        first = compared.slice(0, 1).to_pylist()[0]
        drawn = where(compared, arm=first["arm"])
        drawn = drawn.append_column("label", pa.array([f"− {r}" for r in drawn["reference"].to_pylist()]))
        drawn = drawn.set_column(drawn.column_names.index("arm"), "arm", drawn["reference"])
        words = f"the FLOPs of {budget} plain samples"
        caption = (
            f"{first['arm']} minus each arm at {words} ({count(first['flops'])} a problem), "
            f"every arm with as many samples as that pays for, the last one drawn by chance where it is between two "
            f"numbers. Paired 95 % BCa intervals; filled: p at most .05 by McNemar's test, or by sign flips where "
            f"chance drew, Holm-adjusted over the arms. {about.sample_words()}."
        )
        if first["main"]:
            blocks.append(Picture("matched", png(forest(drawn, _styles(about))), f"Differences at {words}.", caption))
        blocks.append(
            _matched(compared, f"At {words}{', the budget chosen beforehand' if first['main'] else ''}: the numbers")
        )
    return Section("At equal computation", blocks)


def steering_section(sources: Sources) -> Section:
    """Searches against choosing among samples at no more than the same cost."""
    about = setting(sources)
    rows = evaluate_table(sources, "steering").to_pylist()
    body = [
        [
            row["search"], row["guide"], row["rule"], count(row["flops"]), rate(row["mean"]),
            f"{row['reference']}, N = {row['reference_size']:.3g}", rate(row["reference_mean"]),
            difference(row["difference"], row["low"], row["high"]), p_value(row["holm_p_value"]), verdict(row),
        ]
        for row in rows
    ]  # fmt: skip
    caption = (
        f"Each search against as many plain samples as cost the same on average, chosen among by the arm named; "
        f"“vote” weighs the answers of the solutions a search found. Holm over the table. {about.sample_words()}."
    )
    header = [
        "search", "guide", "chooses by", "FLOPs", "solved", "against", "solved", "difference", "Holm p", "",
    ]  # fmt: skip
    return Section("Searches that steer", [Grid(header, body, caption)])


def _styles(about: Setting) -> dict[str, Look]:
    """Guides keep their looks; the majority and the oracle come after them."""
    return looks([*about.guides, *BASELINES])


def _rates(chosen: pa.Table, about: Setting) -> Grid:
    sizes = [size for size in distinct(chosen, "size") if size in SIZES_SHOWN]
    rows = []
    for arm, cells in by(chosen, "arm").items():
        found = {row["size"]: row for row in cells.to_pylist()}
        how = f"{cells['rule'][0].as_py()} {cells['aggregation'][0].as_py()}".strip()
        shown = (with_interval(found[s]["solve_rate"], found[s]["low"], found[s]["high"]) for s in sizes)
        rows.append([arm, how, *shown, count(found[sizes[-1]]["flops"])])
    caption = (
        f"Share of problems solved by the choice among N samples, with 95 % Wilson intervals; FLOPs with "
        f"N = {sizes[-1]}. {about.sample_words()}."
    )
    return Grid(["arm", "chooses by", *(f"N = {size}" for size in sizes), "FLOPs"], rows, caption)


def _gaps(sources: Sources, size: int) -> list[Row]:
    """Rows of the champion's choice, those of `size` samples or of the most."""
    study = setting(sources).identity["samples"]
    rates = where(evaluate_table(sources, "samples"), arm=study["champions"][0], chosen=True).to_pylist()
    if not rates:
        return []
    how = {key: rates[0][key] for key in ("arm", "rule", "aggregation")}
    rows = where(evaluate_table(sources, "gaps"), **how).to_pylist()
    return [row for row in rows if row["size"] == size] or rows[-1:]


def _gap_blocks(sources: Sources) -> list[Block]:
    rows = where(evaluate_table(sources, "gaps"), size=8).to_pylist()
    if not rows:
        return [Prose("No gap between majority and oracle was measured at N = 8.")]
    body = [
        [row["arm"], f"{row['rule']} {row['aggregation']}", rate(row["solve_rate"]), f"{row['share']:.0%}",
         f"{row['low']:.0%} to {row['high']:.0%}"]
        for row in rows
    ]  # fmt: skip
    caption = (
        f"How much of the way from the majority vote ({rate(rows[0]['majority'])}) to the oracle "
        f"({rate(rows[0]['oracle'])}) each choice goes with eight samples, whatever it costs; percentile intervals."
    )
    return [Grid(["arm", "chooses by", "solved", "share of the way", "95 % interval"], body, caption)]


def _all_choices(rates: pa.Table) -> Grid:
    body = [
        [row["arm"], row["rule"], row["aggregation"], str(row["size"]), rate(row["solve_rate"]), count(row["flops"]),
         count(row["scored_tokens"])]
        for row in rates.to_pylist()
        if row["size"] in SIZES_SHOWN
    ]  # fmt: skip
    header = ["arm", "rule", "aggregation", "N", "solved", "FLOPs", "tokens read"]
    return Grid(header, body, folded="Every rule and aggregation")


def _matched(rows: pa.Table, words: str) -> Grid:
    header = [
        "arm", "chooses by", "N", "against", "chooses by", "N", "solved", "against", "difference", "95 % interval",
        "Holm p", "",
    ]  # fmt: skip
    body = [
        [
            row["arm"], row["choice"], f"{row['size']:.3g}", row["reference"], row["reference_choice"],
            f"{row['reference_size']:.3g}", rate(row["mean"]), rate(row["reference_mean"]), signed(row["difference"]),
            f"{signed(row['low'])} to {signed(row['high'])}", p_value(row["holm_p_value"]), verdict(row),
        ]
        for row in rows.to_pylist()
    ]  # fmt: skip
    return Grid(header, body, folded=words)


def _search_points(sources: Sources) -> pa.Table:
    rows = evaluate_table(sources, "costs").to_pylist()
    return pa.Table.from_pylist(
        [{"search": r["search"], "guide": r["arm"], "flops": r["flops"], "solve_rate": r["solve_rate"]} for r in rows]
    )
