"""Solve rates: the headline table, the frontier, paired comparisons, other searches."""

from __future__ import annotations

import pyarrow as pa

from stepward.report.figures import forest, frontier, png
from stepward.report.page import Block, Gap, Grid, Picture, Prose, Section
from stepward.report.sections.setting import evaluate_table, setting
from stepward.report.sources import Sources
from stepward.report.tables import by, by_arm, distinct, where
from stepward.report.text import count, difference, p_value, rate, signed, with_interval
from stepward.report.wording import comparison_sentence, question, verdict
from stepward.statistics.rivals import nearest_budget


def answer(sources: Sources) -> tuple[str, list[str]]:
    """The question, and its answer: one sentence a reference, from the paired comparisons at the headline budget."""
    about = setting(sources)
    rows = where(evaluate_table(sources, "comparisons"), search=about.main, arm=about.primary)
    sentences = []
    for compared in by(rows, "reference").values():
        budget = nearest_budget(distinct(compared, "budget"), sources.headline)
        row = where(compared, budget=budget).to_pylist()[0]
        sentences.append(comparison_sentence(row, about.main.replace("_", "-")))
    bounds = [name for name in about.references if name in about.facts.get("bounds", ())]
    return question(about.primary, about.references, bounds), sentences


def frontier_section(sources: Sources) -> Section:
    """Solve rate of every guide at every budget: the table, then the curves."""
    about = setting(sources)
    points = where(evaluate_table(sources, "frontier"), search=about.main)
    outcomes = where(evaluate_table(sources, "trials"), search=about.main, answer="best")
    settings = f"{about.search_words(about.main)}; {about.sample_words()}"
    picture = Picture(
        "frontier",
        png(frontier(points, outcomes, about.styles)),
        "Share of problems solved against expansions, one line a guide. The numbers are in the table above.",
        f"How to read it: further up and further left is better. Lines count every problem at the expansion that "
        f"solved it; "
        f"markers carry 95 % Wilson intervals over problems, drawn side by side. A dotted bar at the right end is the "
        f"share whose search ran out of nodes: no budget would solve it. {settings}.",
    )
    blocks = [_rates(points, settings), *_ceiling(points), *_exhausted(points), picture]
    return Section("Solve rate against cost", blocks)


def _rates(points: pa.Table, settings: str) -> Grid:
    budgets = distinct(points, "budget")
    rows = []
    for name, cells in by_arm(points).items():
        found = {cell["budget"]: cell for cell in cells.to_pylist()}
        shown = [found.get(budget) for budget in budgets]
        rates = [with_interval(c["solve_rate"], c["low"], c["high"]) if c else "–" for c in shown]
        last = cells.to_pylist()[-1]
        unsolved, nodes = last["num_problems"] - last["num_solved"], last["num_exhausted"]
        rows.append([name, *rates, count(nodes), count(unsolved - nodes)])
    caption = (
        f"Share of problems solved within so many expansions, with 95 % Wilson intervals; and of those unsolved at "
        f"{count(budgets[-1])}, how many ended because no node was left to expand, and how many because the budget was "
        f"spent. {settings}."
    )
    header = ["guide", *(count(budget) for budget in budgets), "out of nodes", "out of budget"]
    return Grid(header, rows, caption)


def _ceiling(points: pa.Table) -> list[Block]:
    solvable, total = points["num_solvable"][0].as_py(), points["num_problems"][0].as_py()
    if solvable is None:
        return []
    if solvable == total:
        return [Prose(f"Every one of the {count(total)} problems has a solution within its steps.")]
    most = f"No search can solve more than {count(solvable)} of the {count(total)} problems ({rate(solvable / total)})"
    return [Prose(f"{most}: the others have no solution within their steps.")]


def _exhausted(points: pa.Table) -> list[Block]:
    """Searches that ended for want of nodes, not of budget: their lines are level however much more they may spend."""
    last = [rows.to_pylist()[-1] for rows in by_arm(points).values()]
    ended = {row["arm"]: row["num_exhausted"] for row in last if row["num_exhausted"]}
    if not ended:
        return []
    shown = ", ".join(f"{arm} {count(num)}" for arm, num in ended.items())
    return [
        Prose(
            f"Of the {count(last[0]['num_problems'])} problems so many ended unsolved because the search had no node "
            f"left to expand, whatever its budget (a node is expanded once): {shown}."
        )
    ]


def comparison_section(sources: Sources) -> Section:
    """Forest plots, one a reference, with the numbers behind them and what could have been found at all."""
    about = setting(sources)
    rows = where(evaluate_table(sources, "comparisons"), search=about.main)
    blocks: list[Block] = [*_detectable(sources)]
    for reference, compared in by(rows, "reference").items():
        labels = [f"{row['arm']} at {count(row['budget'])}" for row in compared.to_pylist()]
        drawn = compared.append_column("label", pa.array(labels, pa.string()))
        shown = sum(verdict(row) != "no difference shown" for row in compared.to_pylist())
        caption = (
            f"How to read it: right of the line, the guide solves more problems than {reference} at that many "
            f"expansions. Bars are paired 95 % BCa intervals over problems. Filled markers and * have a "
            f"Holm-adjusted exact McNemar p of at most .05 over these {len(compared)} comparisons; hollow ones show "
            f"no difference. {about.search_words(about.main)}; {about.sample_words()}."
        )
        alt = f"Forest plot of solve-rate differences to {reference}; {shown} of {len(compared)} comparisons differ."
        blocks.append(Picture(f"comparisons_{_file(reference)}", png(forest(drawn, about.styles)), alt, caption))
        blocks.append(_comparisons(compared, f"The {len(compared)} comparisons with {reference} in numbers"))
    return Section("Paired comparisons", blocks)


def _comparisons(rows: pa.Table, words: str) -> Grid:
    header = [
        "guide",
        "expansions",
        "solved",
        "reference",
        "difference",
        "95 % interval",
        "pairs that differ",
        "p",
        "Holm p",
        "",
    ]
    body = [
        [
            row["arm"], count(row["budget"]), rate(row["mean"]), rate(row["reference_mean"]), signed(row["difference"]),
            f"{signed(row['low'])} to {signed(row['high'])}", count(row["num_discordant"]), p_value(row["p_value"]),
            p_value(row["holm_p_value"]), verdict(row),
        ]
        for row in rows.to_pylist()
    ]  # fmt: skip
    return Grid(header, body, folded=words)


def _detectable(sources: Sources) -> list[Block]:
    text = sources.evaluate.open().facts.get("minimum_detectable_effect")
    if not text:
        return [Gap("The minimum detectable effect was not recorded.", f"{sources.evaluate.command} overwrite=true")]
    return [
        Prose(
            f"{text} Smaller differences may exist and still be missed; “no difference shown” is not “no difference”."
        )
    ]


def searches_section(sources: Sources) -> Section:
    """Other searches against the main one at equal budgets."""
    about = setting(sources)
    if len(about.identity["searches"]) == 1:
        return Section("Other searches", [Prose(f"The evaluation ran one search only: {about.main}.")])
    rows = evaluate_table(sources, "searches").to_pylist()
    body = [
        [
            row["search"], row["guide"], count(row["budget"]), rate(row["mean"]), rate(row["reference_mean"]),
            difference(row["difference"], row["low"], row["high"]), p_value(row["holm_p_value"]), verdict(row),
        ]
        for row in rows
    ]  # fmt: skip
    caption = (
        f"Every search against {about.main} at the same number of expansions, problem by problem; 95 % BCa "
        f"intervals; Holm within each search and guide. {about.sample_words()}."
    )
    header = ["search", "guide", "expansions", "solved", about.main, "difference", "Holm p", ""]
    return Section("Other searches", [Grid(header, body, caption)])


def _file(name: str) -> str:
    """A name as part of a file name."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)
