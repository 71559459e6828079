"""What guides know of the value of a state: calibration, order among siblings, other step budgets, many candidates."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from stepward.report.figures import bars, parallelism, png, reliability, robustness
from stepward.report.page import Block, Grid, Picture, Section
from stepward.report.sections.setting import Setting, evaluate_table, setting
from stepward.report.sources import MissingError, Sources
from stepward.report.tables import where
from stepward.report.text import count, difference, rate, signed, with_interval

Row = dict[str, Any]
SIBLINGS = "sibling_spearman"


def calibration_section(sources: Sources) -> Section:
    """Brier scores and calibration errors before and after calibration, and the reliability diagram."""
    about = setting(sources)
    rows = evaluate_table(sources, "calibration").to_pylist()
    exact = rows[0].get("ece") is not None
    truth = "exact V^π" if exact else "Monte-Carlo labels"
    brier, ece = ("brier_exact", "ece") if exact else ("brier_monte_carlo", "ece_monte_carlo")
    body = [
        [
            row["arm"], row["calibration"], row["states"], count(row["num_states"]), rate(row[brier], 5),
            _estimate(row, ece, 4), rate(row[f"{ece}_plug_in"], 4),
        ]
        for row in rows
    ]  # fmt: skip
    bins = about.identity["values"]["num_bins"]
    caption = (
        f"Against {truth}: Brier score (mean squared error) and expected calibration error in {bins} bins of equal "
        f"mass, debiased with its 95 % interval, and as usually computed (plug-in, never 0). “Unseen” states are "
        f"situations that never occur in the training labels. Calibrations were fitted on the validation split. "
        f"{_held_out(about)}."
    )
    header = ["guide", "calibration", "states", "n", "Brier", "ECE (debiased)", "ECE (plug-in)"]
    return Section("Calibration", [Grid(header, body, caption), _reliability(sources, about, truth)])


def _reliability(sources: Sources, about: Setting, truth: str) -> Picture:
    curve = evaluate_table(sources, "reliability")
    keep = [row["arm"] in about.trained and row["calibration"] in ("none", "temperature") for row in curve.to_pylist()]
    shown = curve.filter(pa.array(keep))
    if not len(shown):
        raise MissingError("The reliability curve holds no trained guide.")
    total = sum(row["num_rows"] for row in where(shown, arm=shown["arm"][0].as_py(), calibration="none").to_pylist())
    caption = (
        f"How to read it: on the dashed line a predicted probability is the true one ({truth}); above it the guide "
        f"is too pessimistic. Bins of equal mass over n = {count(total)} states, with 95 % intervals, mostly smaller "
        f"than the markers; below, the rows of each bin. {_held_out(about)}."
    )
    return Picture(
        "reliability", png(reliability(shown, about.styles)), "Reliability diagram of the trained guides.", caption
    )


def ranking_section(sources: Sources) -> Section:
    """Do guides put states, and the children of one state, in the right order?"""
    about = setting(sources)
    table = where(evaluate_table(sources, "ranking"), states="all")
    rows = table.to_pylist()
    study = about.identity["values"]
    body = [
        [
            row["arm"],
            *(_estimate(row, name) for name in ("spearman", "sibling_spearman", "sibling_accuracy", "top1_regret")),
            rate(row.get("top1_accuracy")),
        ]
        for row in rows
    ]  # fmt: skip
    caption = (
        f"Rank correlation with the true value over n = {count(rows[0]['num_states'])} states; then within sibling "
        f"sets whose true values differ by more than {study['min_spread']:g}: rank correlation, share of pairs in "
        f"the right order (.5 is chance), value lost by taking the child scored highest, and how often that child is "
        f"the best. {_held_out(about)}."
    )
    header = ["guide", "Spearman", "sibling Spearman", "pairs right", "regret", "best child first"]
    blocks: list[Block] = [Grid(header, body, caption)]
    if any(row.get(SIBLINGS) is not None for row in rows):
        blocks.insert(0, _siblings(rows, about))
    return Section("Ranking of siblings", blocks)


def _siblings(rows: list[Row], about: Setting) -> Picture:
    drawn = [{"arm": row["arm"], **_point(row, SIBLINGS)} for row in rows if row[SIBLINGS] is not None]
    study = about.identity["values"]
    caption = (
        f"How to read it: 1 is the order of the true values, 0 is chance. Mean over n = "
        f"{count(rows[0]['num_sibling_sets'])} sets of {study['num_children']} siblings whose true values differ by "
        f"more than {study['min_spread']:g}, with 95 % BCa intervals over sets. {_held_out(about)}."
    )
    figure = bars(pa.Table.from_pylist(drawn), about.styles, "Spearman correlation with the true value among siblings")
    return Picture(
        "siblings",
        png(figure),
        "Bars of the sibling rank correlation of every guide; numbers in the table below.",
        caption,
    )


def robustness_section(sources: Sources) -> Section:
    """The same states with fewer or more steps left than in training: values, then solve rates."""
    about = setting(sources)
    table = evaluate_table(sources, "robustness")
    rows = table.to_pylist()
    drawn = [
        {"arm": r["arm"], "factor": r["step_factor"], **_point(r, SIBLINGS)} for r in rows if r[SIBLINGS] is not None
    ]
    figure = robustness(pa.Table.from_pylist(drawn), about.styles, "sibling Spearman correlation")
    caption = (
        f"How to read it: a flat line is a guide whose order of siblings does not depend on the number of steps it "
        f"was trained for. n = {count(rows[0]['num_states'])} states, their steps left multiplied by the factor, "
        f"against the true values of that many steps; 95 % BCa intervals. {_held_out(about)}."
    )
    body = [
        [
            r["arm"], f"{r['step_factor']:g} B", rate(r["spearman"]), rate(r[SIBLINGS]), rate(r.get("ece"), 4),
            signed(r.get("bias"), 4),
        ]
        for r in rows
    ]  # fmt: skip
    header = ["guide", "steps", "Spearman", "sibling Spearman", "ECE", "bias"]
    picture = Picture(
        "robustness", png(figure), "Sibling rank correlation over step budgets, one line a guide.", caption
    )
    blocks: list[Block] = [
        picture,
        Grid(header, body, "Values at other step budgets; bias is prediction minus truth.", folded="The numbers"),
    ]
    return Section("Other step budgets", [*blocks, *_solving_with_other_steps(sources, about)])


def _solving_with_other_steps(sources: Sources, about: Setting) -> list[Block]:
    """Solve rates of searches of the main kind whose problems had other step budgets, at the headline budget."""
    plans = about.identity["searches"]
    same = [name for name, plan in plans.items() if plan["search"] == plans[about.main]["search"]]
    points = evaluate_table(sources, "frontier").to_pylist()
    points = [row for row in points if row["search"] in same and row["budget"] == sources.headline]
    if len({row["step_factor"] for row in points}) < 2:
        return []
    drawn = [
        {"arm": r["arm"], "factor": r["step_factor"], "value": r["solve_rate"], "low": r["low"], "high": r["high"]}
        for r in points
    ]
    figure = robustness(pa.Table.from_pylist(drawn), about.styles, f"share solved at {sources.headline} expansions")
    caption = (
        f"How to read it: share of problems solved within {sources.headline} expansions when each problem may take "
        f"half, all or twice its steps; problems with fewer steps are harder for every guide. 95 % Wilson intervals. "
        f"{about.search_words(about.main)}; {about.sample_words()}."
    )
    return [Picture("robustness_solving", png(figure), "Share solved over step budgets, one line a guide.", caption)]


def dividend_section(sources: Sources) -> Section:
    """Several candidates against one, predicted and realised."""
    about = setting(sources)
    table = where(evaluate_table(sources, "dividend"), values_of="children")
    rows = table.to_pylist()
    drawn = [{**row, "low": row["excess_low"], "high": row["excess_high"]} for row in rows]
    caption = (
        f"How to read it: grey bars are how often at least one of k candidates, continued once each, succeeded. "
        f"Filled markers are what 1 − ∏(1 − p) promised from the guide's values; a marker above its bar promises too "
        f"much, and its 95 % interval (BCa over n = {count(rows[0]['num_parents'])} states) says whether by chance. "
        f"The product assumes that candidates of one state succeed independently of each other, given their p. "
        f"{_held_out(about)}."
    )
    body = [
        [
            row["arm"], str(row["num_candidates"]), rate(row["single"]), rate(row["predicted"]), rate(row["realised"]),
            difference(row["excess"], row["excess_low"], row["excess_high"]),
        ]
        for row in rows
    ]  # fmt: skip
    header = ["values of", "k", "one alone", "predicted", "realised", "realised − predicted"]
    picture = Picture(
        "parallelism",
        png(parallelism(pa.Table.from_pylist(drawn), about.styles)),
        "Realised success of k candidates and what each guide predicted.",
        caption,
    )
    return Section("Parallelism dividend", [picture, Grid(header, body, folded="The numbers")])


def coverage_section(sources: Sources) -> Section:
    """Do the intervals of Monte-Carlo labels hold the true value as often as they say?"""
    about = setting(sources)
    rows = evaluate_table(sources, "coverage").to_pylist()
    body = [
        [
            row["method"],
            rate(row["rate"], 4),
            rate(row["expected"], 4),
            rate(row["standard_error"], 4),
            count(row["num_rows"]),
        ]
        for row in rows
    ]
    caption = (
        f"Every Monte-Carlo label has a 95 % binomial interval; here the share of intervals that hold the exact "
        f"value, over rows whose value is neither 0 nor 1. “Expected” is the share for binomial counts of just these "
        f"values: intervals of discrete counts cannot hold 95 % everywhere. {_held_out(about)}."
    )
    header = ["interval", "covered", "expected", "standard error", "n"]
    return Section("Labels against the truth", [Grid(header, body, caption)])


def _point(row: Row, name: str) -> Row:
    return {"value": row[name], "low": row[f"{name}_low"], "high": row[f"{name}_high"]}


def _estimate(row: Row, name: str, digits: int = 3) -> str:
    return with_interval(row.get(name), row.get(f"{name}_low"), row.get(f"{name}_high"), digits)


def _held_out(about: Setting) -> str:
    return f"Held-out partial solutions of the {about.identity['split']} split, seed {about.seed}"
