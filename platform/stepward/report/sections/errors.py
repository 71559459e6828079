"""Sections about a real measure: the answer, the ablation, values against steps and cost, gains, pictures, rankings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.stats import rankdata

from stepward.core.config import Plain
from stepward.report.figures import bars, forest, looks, png
from stepward.report.figures.candidates import candidate_order
from stepward.report.figures.fields import fields
from stepward.report.figures.reliability import reliability
from stepward.report.figures.rollouts import error_over_cost, error_over_time
from stepward.report.page import Block, Grid, Picture, Prose, Section
from stepward.report.sources import Sources
from stepward.report.tables import tensor_rows, where
from stepward.report.text import count, duration, p_value, rate

LEVEL = 0.05
LINES = 8  # arms in a figure of lines, so that each can be told from the others


@dataclass(frozen=True)
class About:
    """An evaluation as its manifest tells it."""

    identity: dict[str, Any]
    facts: dict[str, Any]
    seed: int

    @property
    def measures(self) -> dict[str, Plain]:
        """Name -> what a measure is."""
        return {measure["name"]: measure for measure in self.facts["measures"]}

    @property
    def headline(self) -> Plain:
        """The measure that stands first: its name, title, direction and kind."""
        return self.measures[self.facts["measure"]]

    @property
    def primary(self) -> str:
        """The arm that the evaluation is about: the one that is drawn, else the first that is no reference."""
        arms = self.identity["arms"] or {arm: {} for arm in self.facts["arms"]}
        drawn = self.identity["pictures"]
        if drawn:
            return str(drawn["arm"])
        return next((arm for arm in arms if arm not in self.identity["references"]), next(iter(arms)))


def error_answer(sources: Sources) -> tuple[str, list[str]]:
    """The question, and what the ablation says of the arm that the evaluation is about."""
    about, rows = _about(sources), _ablation(sources)
    identity, primary = about.identity, about.primary
    verb = "raise" if about.headline["higher_is_better"] else "lower"
    question = f"Does choosing among candidates by {primary} {verb} the {about.headline['description']}?"
    sentences = []
    for row in where(sources.evaluate.table("tables/comparisons.parquet"), arm=primary).to_pylist():
        sentences.append(_verdict(row, about))
    best = max((row for row in rows.values() if row["arm"] != identity["oracle"]), key=lambda row: row["gain"])
    if best["arm"] != primary:
        sentences.append(
            f"Of all arms {best['arm']} does best on the {identity['split']} problems: "
            f"{_percent(best['gain'])} [{_percent(best['gain_low'])}, {_percent(best['gain_high'])}] over "
            f"{identity['references'][0]}. It was not chosen beforehand: take it as a hint."
        )
    if identity["oracle"] in rows:
        known = rows[identity["oracle"]]
        sentences.append(
            f"A perfect choice among the same candidates gains {_percent(known['gain'])}; {primary} realises "
            f"{rows[primary]['gain'] / known['gain']:.0%} of it."
        )
    lost = {row["arm"]: row["num_blown_up"] for row in rows.values() if row["num_blown_up"]}
    if lost:
        shown = ", ".join(f"{arm} {num}" for arm, num in lost.items())
        sentences.append(f"Rollouts that blew up are in no mean: {shown}.")
    return question, sentences


def ablation_section(sources: Sources) -> Section:
    """Every arm: every measure, gain, cost."""
    about, rows = _about(sources), _ablation(sources)
    base = about.identity["references"][0]
    header = ["arm", *(_titled(measure) for measure in about.measures.values()), f"gain over {base}"]
    header += ["of the oracle's", "blew up", "NFE", "FLOPs", "time"]
    body = [
        [
            row["arm"],
            *(rate(row[name], 2 if measure["unit"] == "%" else 4) for name, measure in about.measures.items()),
            f"{_percent(row['gain'])} [{_percent(row['gain_low'])}, {_percent(row['gain_high'])}]",
            "–" if row.get("share_of_oracle_gain") is None else f"{row['share_of_oracle_gain']:.0%}",
            str(row["num_blown_up"]), count(row["mean_nfe"]), count(row["mean_flops"]),
            duration(row["mean_seconds"]),
        ]
        for row in rows.values()
    ]  # fmt: skip
    caption = (
        f"Means over {_most(rows)} {about.identity['split']} problems{_horizon(sources)}, seed {about.seed}; gains are "
        "paired, with 95 % BCa intervals of the ratio of sums. Costs are of one problem; scorers and lookahead are in "
        "FLOPs and time. A trial that blew up counts in no mean and in no pair. Measures: "
        f"{'; '.join(_described(measure) for measure in about.measures.values())}."
    )
    table = pa.table(
        {
            "arm": list(rows),
            "value": [row["gain"] for row in rows.values()],
            "low": [row["gain_low"] for row in rows.values()],
            "high": [row["gain_high"] for row in rows.values()],
        }
    )
    label = f"share of {base}'s {about.headline['name']} that is saved (95 % interval)"
    figure = bars(table, looks(rows), label, lowest=0.0, highest=0.05)
    words = f"How to read it: bars to the right of 0 are better than {base}, on the same problems."
    picture = Picture("ablation", png(figure), f"Gain of every arm over {base}.", words)
    return Section("Ablation", [picture, Grid(header, body, caption)])


def gain_section(sources: Sources) -> Section:
    """Every arm against every reference, paired, with Holm's adjustment."""
    table = sources.evaluate.table("tables/comparisons.parquet")
    text = sources.evaluate.open().facts.get("minimum_detectable_effect")
    blocks: list[Block] = [Prose(f"{text.rstrip('.')}.")] if text else []
    styles = looks(_ablation(sources))
    for reference in sources.evaluate.open().identity["references"]:
        rows = where(table, reference=reference)
        if not len(rows):
            continue
        rows = rows.append_column("label", rows["arm"]).sort_by([("difference", "descending")])
        caption = (
            f"How to read it: share of {reference}'s error that each arm saves, on the same problems. Filled: "
            f"Holm's p ≤ {LEVEL} over the {len(rows)} arms of this figure (sign-flip test)."
        )
        figure = forest(rows, styles, f"share of {reference}'s error saved (95 % interval)")
        blocks.append(Picture(f"against_{reference}", png(figure), f"Arms against {reference}.", caption))
        body = [
            [row["arm"], f"{row['difference']:+.2%}", f"[{row['low']:+.2%}, {row['high']:+.2%}]",
             p_value(row["p_value"]), p_value(row["holm_p_value"]), str(row["num_pairs"]), str(row["num_lost"])]
            for row in rows.to_pylist()
        ]  # fmt: skip
        header = ["arm", "saved", "95 % interval", "p", "Holm's p", "pairs", "not whole in both"]
        blocks.append(Grid(header, body, folded=f"The numbers against {reference}"))
    return Section("Paired comparisons", blocks)


def time_section(sources: Sources) -> Section:
    """Error of a few arms at every step."""
    about, arms = _about(sources), _few(sources)
    words = about.headline["description"]
    rows = where(sources.evaluate.table("tables/errors.parquet"), measure=about.headline["name"])
    rows = rows.filter(pc.is_in(rows["arm"], pa.array(arms)))
    caption = (
        f"How to read it: mean {words} of every step, with 95 % intervals over problems as bands; they "
        "overlap even where paired differences are clear: see the comparisons. Arms shown: references, the one the "
        "evaluation is about, the best and the oracle. Rollouts that blew up are left out from their step on."
    )
    figure = error_over_time(rows, looks(arms), words)
    return Section("Error against time", [Picture("error_time", png(figure), "Error of each step by arm.", caption)])


def cost_of_errors_section(sources: Sources) -> Section:
    """Error against forward passes and against FLOPs."""
    about, rows = _about(sources), _ablation(sources)
    drawn = pa.Table.from_pylist(list(rows.values())).rename_columns({"value": "error"})
    figure = error_over_cost(drawn, looks(rows), about.headline["description"])
    caption = (
        "How to read it: costs of one problem on a logarithmic scale; further left is cheaper, further down is better. "
        "Arms without a network (the classical solver) have no forward passes and stand at the left edge; their time "
        "is in the ablation table. ↑: far above the others; drawn at the upper edge."
    )
    return Section("Error against computation", [Picture("error_cost", png(figure), "Error by cost.", caption)])


def fields_section(sources: Sources) -> Section:
    """What the arm saw, at the first, the middle and the last step of some problems."""
    table, arm = sources.evaluate.table("tables/pictures.parquet"), _about(sources).primary
    rows = tensor_rows(table)
    blocks: list[Block] = []
    for problem in dict.fromkeys(row["problem_id"] for row in rows):
        mine = [row for row in rows if row["problem_id"] == problem]
        for row in _three(mine):
            caption = (
                f"{problem}, step {row['step']}, chosen by {arm}: the state before the step, what needs no choice, "
                "the choice, the truth, and the error of the choice; below, what candidates change, best score first "
                "(←: chosen)."
            )
            name = f"fields_{len(blocks)}"
            blocks.append(Picture(name, png(fields(row)), f"Fields of {problem} at step {row['step']}.", caption))
    return Section("Fields", blocks)


def candidates_section(sources: Sources) -> Section:
    """How well guides order the candidates of held-out states."""
    about = _about(sources)
    rows = sources.evaluate.table("tables/candidates.parquet").to_pylist()
    styles = looks([row["guide"] for row in rows])
    states = sources.evaluate.table("tables/candidate_states.parquet")
    ranks = {name: _true_ranks(where(states, guide=name)) for name in styles}
    header = ["guide", "all pairs", "best > median > worst", "Spearman", "log₁₀ regret", "pairs, lead", "calibration"]
    body = [
        [
            row["guide"],
            *(f"{rate(row[name])} [{rate(row[f'{name}_low'])}, {rate(row[f'{name}_high'])}]"
              for name in ("pairs", "triplet", "spearman", "regret")),
            "–" if row.get("pairs_lead") is None else _lead(row),
            rate(row.get("pair_calibration_error")),
        ]
        for row in rows
    ]  # fmt: skip
    reference = about.identity["rankings"]["reference"]
    caption = (
        f"{rows[0]['num_states']} held-out states of {rows[0]['num_problems']} {about.identity['split']} "
        f"problems; intervals over problems. Chance: pairs .5, triplet .167, Spearman 0. Lead: over "
        f"{reference}, paired. Calibration: error of the probability that the higher-scored of two is better, "
        "σ(difference of scores), for guides that were trained. All candidates of each state are judged."
    )
    words = "How to read it: a perfect guide follows the dashed diagonal; a blind one stays level at .5."
    picture = Picture("candidate_order", png(candidate_order(ranks, styles)), "True rank by place in the order.", words)
    return Section("Ranking of candidates", [picture, Grid(header, body, caption), *_reliable_pairs(sources)])


def _reliable_pairs(sources: Sources) -> list[Block]:
    """Reliability of pairwise probabilities, where the evaluation has it."""
    table = "tables/pairs.parquet"
    bins = sources.evaluate.table(table) if sources.evaluate.has(table) else None
    if bins is None or not len(bins):
        return []
    bins = bins.rename_columns({"guide": "arm"})
    figure = reliability(
        bins.append_column("calibration", pa.array(["none"] * len(bins))),
        looks(dict.fromkeys(bins["arm"].to_pylist())),
        ("predicted probability that the higher-scored of two is better", "share in which it is", "pairs a bin"),
    )
    caption = (
        "How to read it: on the dashed line differences of scores mean what they say; below it the guide is too sure. "
        "Intervals over problems. Choices do not depend on it; weights of a mean and of particles do."
    )
    return [Picture("pair_reliability", png(figure), "Reliability of pairwise probabilities.", caption)]


def _about(sources: Sources) -> About:
    manifest = sources.evaluate.open()
    return About(manifest.identity, manifest.facts, manifest.seed)


def _titled(measure: Plain) -> str:
    return str(measure["name"]).replace("_", " ") + (f" ({measure['unit']})" if measure["unit"] else "")


def _described(measure: Plain) -> str:
    return f"{_titled(measure)}: {measure['description']}"


def _ablation(sources: Sources) -> dict[str, Plain]:
    rows = sources.evaluate.table("tables/ablation.parquet").to_pylist()
    return {row["arm"]: row for row in rows if row["search"] == rows[0]["search"]}


def _few(sources: Sources) -> list[str]:
    """Arms for a figure of lines: references, the one in question, the best of the others, the oracle."""
    about, rows = _about(sources), _ablation(sources)
    identity = about.identity
    order = sorted((row for row in rows.values() if row["arm"] != identity["oracle"]), key=lambda row: -row["gain"])
    wanted = [*identity["references"], about.primary, identity["oracle"], *(row["arm"] for row in order)]
    return list(dict.fromkeys(arm for arm in wanted if arm in rows))[:LINES]


def _verdict(row: Plain, about: About) -> str:
    shown = row["holm_p_value"] <= LEVEL and row["low"] * row["high"] > 0
    numbers = (
        f"{_percent(row['difference'])} of its {about.headline['name']}, 95 % interval {_percent(row['low'])} to "
        f"{_percent(row['high'])}; sign-flip test, Holm-adjusted p {p_value(row['holm_p_value'])}, "
        f"{row['num_pairs']} problems"
    )
    if not shown:
        return f"Against {row['reference']} no difference is shown ({numbers})."
    better = "better" if row["difference"] > 0 else "worse"
    return f"{row['arm']} is {better} than {row['reference']} ({numbers})."


def _true_ranks(rows: pa.Table) -> np.ndarray:
    """Mean true rank, 0 to 1, of the candidate at each place of a guide's order; tied candidates share their places."""
    scores, errors = (np.array(rows[name].to_pylist()) for name in ("scores", "errors"))
    ranks = (rankdata(errors, axis=1) - 1) / (errors.shape[1] - 1)
    order = np.argsort(-scores, axis=1, kind="stable")
    tied = scores[:, :, None] == scores[:, None, :]
    shared = (tied * ranks[:, None, :]).sum(axis=2) / tied.sum(axis=2)
    return np.asarray(np.take_along_axis(shared, order, axis=1).mean(axis=0))


def _three(rows: list[Plain]) -> Iterable[Plain]:
    places = dict.fromkeys((0, (len(rows) - 1) // 2, len(rows) - 1))
    return [rows[place] for place in places]


def _horizon(sources: Sources) -> str:
    if not sources.evaluate.has("tables/errors.parquet"):
        return ""
    return f", {pc.max(sources.evaluate.table('tables/errors.parquet')['step']).as_py()} steps"


def _most(rows: dict[str, Plain]) -> str:
    return count(max(row["num_problems"] for row in rows.values()))


def _lead(row: Plain) -> str:
    value, low, high = (
        f"{row[name]:+.3f}".replace("-", "−") for name in ("pairs_lead", "pairs_lead_low", "pairs_lead_high")
    )
    return f"{value} [{low}, {high}]"


def _percent(value: float) -> str:
    return f"{value:+.1%}".replace("-", "−")
