"""Sections about rollouts: the answer, the ablation, errors against time and cost, comparisons, fields, rankings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.stats import rankdata

from stepward.report.figures import bars, forest, looks, png
from stepward.report.figures.candidates import candidate_order
from stepward.report.figures.fields import fields
from stepward.report.figures.reliability import reliability
from stepward.report.figures.rollouts import error_over_cost, error_over_time
from stepward.report.page import Block, Grid, Picture, Section
from stepward.report.sources import Sources
from stepward.report.tables import tensor_rows, where
from stepward.report.text import count, duration, p_value, rate

LEVEL = 0.05
LINES = 8  # arms in a figure of lines, so that each can be told from the others
WORDS = {
    "nrmse": "NRMSE over all channels and cells",
    "pdebench_nrmse": "PDEBench nRMSE",
    "well_vrmse": "The Well VRMSE",
    "poseidon_l1": "Poseidon median relative L1 (%), last step",
}
SHORT = {"nrmse": "NRMSE", "pdebench_nrmse": "PDE- Bench", "well_vrmse": "The Well", "poseidon_l1": "Posei- don"}


def rollout_answer(sources: Sources) -> tuple[str, list[str]]:
    """The question, and what the ablation says of the arm that the evaluation is about."""
    manifest = sources.evaluate.open()
    identity, rows = manifest.identity, _ablation(sources)
    primary = identity["pictured"] or next(iter(rows))
    question = f"Does choosing among a surrogate's candidates by {primary} make its rollouts better?"
    sentences = []
    for row in where(sources.evaluate.table("tables/comparisons.parquet"), arm=primary).to_pylist():
        sentences.append(_verdict(row))
    best = max((row for row in rows.values() if row["arm"] != identity["oracle"]), key=lambda row: row["gain"])
    if best["arm"] != primary:
        sentences.append(
            f"Of all arms {best['arm']} has the least error on the {identity['split']} problems: "
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
    """Every arm: error under every convention, gain, cost."""
    manifest, rows = sources.evaluate.open(), _ablation(sources)
    base = manifest.identity["references"][0]
    header = ["arm", *SHORT.values(), f"gain over {base}", "of the oracle's", "blew up", "NFE", "FLOPs", "time"]
    body = [
        [
            row["arm"],
            *(rate(row[name], 4 if name != "poseidon_l1" else 2) for name in WORDS),
            f"{_percent(row['gain'])} [{_percent(row['gain_low'])}, {_percent(row['gain_high'])}]",
            "–" if row.get("share_of_oracle_gain") is None else f"{row['share_of_oracle_gain']:.0%}",
            str(row["num_blown_up"]), count(row["mean_nfe"]), count(row["mean_flops"]),
            duration(row["mean_seconds"]),
        ]
        for row in rows.values()
    ]  # fmt: skip
    caption = (
        f"Means over {_most(rows)} {manifest.identity['split']} trajectories, {_horizon(sources)} steps, seed "
        f"{manifest.seed}; gains are paired, with 95 % BCa intervals. Costs are of one rollout; scorers and "
        "lookahead are in FLOPs and time. A rollout that blew up counts in no mean and in no pair. Errors: "
        f"{'; '.join(WORDS.values())}."
    )
    table = pa.table(
        {
            "arm": list(rows),
            "value": [row["gain"] for row in rows.values()],
            "low": [row["gain_low"] for row in rows.values()],
            "high": [row["gain_high"] for row in rows.values()],
        }
    )
    label = f"share of {base}'s error that is saved (95 % interval)"
    figure = bars(table, looks(rows), label, lowest=0.0, highest=0.05)
    words = "How to read it: bars to the right of 0 have less error than the surrogate alone, on the same trajectories."
    picture = Picture("ablation", png(figure), "Gain of every arm over the deterministic rollout.", words)
    return Section("Ablation", [picture, Grid(header, body, caption)])


def rollout_comparison_section(sources: Sources) -> Section:
    """Every arm against every reference, paired, with Holm's adjustment."""
    table = sources.evaluate.table("tables/comparisons.parquet")
    blocks: list[Block] = []
    styles = looks(_ablation(sources))
    for reference in sources.evaluate.open().identity["references"]:
        rows = where(table, reference=reference)
        if not len(rows):
            continue
        rows = rows.append_column("label", rows["arm"]).sort_by([("difference", "descending")])
        caption = (
            f"How to read it: share of {reference}'s error that each arm saves, on the same trajectories. Filled: "
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
    manifest = sources.evaluate.open()
    errors = sources.evaluate.table("tables/errors.parquet")
    arms = _few(sources)
    convention = manifest.identity["convention"]
    rows = where(errors, convention=convention)
    rows = rows.filter(pc.is_in(rows["arm"], pa.array(arms)))
    caption = (
        f"How to read it: mean {WORDS[convention]} of every step, with 95 % intervals over trajectories as bands; they "
        "overlap even where paired differences are clear: see the comparisons. Arms shown: references, the one the "
        "evaluation is about, the best and the oracle. Rollouts that blew up are left out from their step on."
    )
    figure = error_over_time(rows, looks(arms), WORDS[convention])
    return Section("Error against time", [Picture("error_time", png(figure), "Error of each step by arm.", caption)])


def cost_of_rollouts_section(sources: Sources) -> Section:
    """Error against forward passes and against FLOPs."""
    manifest, rows = sources.evaluate.open(), _ablation(sources)
    figure = error_over_cost(
        pa.Table.from_pylist(list(rows.values())), looks(rows), WORDS[manifest.identity["convention"]]
    )
    caption = (
        "How to read it: costs of one rollout on a logarithmic scale; further left is cheaper, further down is better. "
        "Arms without a network (the classical solver) have no forward passes and stand at the left edge; their time "
        "is in the ablation table. ↑: far above the others; drawn at the upper edge."
    )
    return Section("Error against computation", [Picture("error_cost", png(figure), "Error by cost.", caption)])


def fields_section(sources: Sources) -> Section:
    """What the arm saw, at the first, the middle and the last step of some problems."""
    table, arm = sources.evaluate.table("tables/pictures.parquet"), sources.evaluate.open().identity["pictured"]
    rows = tensor_rows(table)
    blocks: list[Block] = []
    for problem in dict.fromkeys(row["problem_id"] for row in rows):
        mine = [row for row in rows if row["problem_id"] == problem]
        for row in _three(mine):
            caption = (
                f"{problem}, step {row['step']}, chosen by {arm}: density before the step, the surrogate's own answer, "
                "the choice, the truth, and the error of the choice; below, what candidates change, best score first "
                "(←: chosen)."
            )
            name = f"fields_{len(blocks)}"
            blocks.append(Picture(name, png(fields(row)), f"Fields of {problem} at step {row['step']}.", caption))
    return Section("Fields", blocks)


def candidates_section(sources: Sources) -> Section:
    """How well guides order the candidates of held-out states."""
    manifest = sources.evaluate.open()
    rows = sources.evaluate.table("tables/ranking.parquet").to_pylist()
    styles = looks([row["guide"] for row in rows])
    states = sources.evaluate.table("tables/ranking_states.parquet")
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
    reference = manifest.identity["ranking_reference"]
    caption = (
        f"{rows[0]['num_states']} held-out states of {rows[0]['num_problems']} {manifest.identity['split']} "
        f"trajectories; intervals over trajectories. Chance: pairs .5, triplet .167, Spearman 0. Lead: over "
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
        "Intervals over trajectories. Choices do not depend on it; weights of a mean and of particles do."
    )
    return [Picture("pair_reliability", png(figure), "Reliability of pairwise probabilities.", caption)]


def _ablation(sources: Sources) -> dict[str, dict[str, Any]]:
    return {row["arm"]: row for row in sources.evaluate.table("tables/ablation.parquet").to_pylist()}


def _few(sources: Sources) -> list[str]:
    """Arms for a figure of lines: references, the one in question, the best of the others, the oracle."""
    identity, rows = sources.evaluate.open().identity, _ablation(sources)
    order = sorted((row for row in rows.values() if row["arm"] != identity["oracle"]), key=lambda row: -row["gain"])
    wanted = [*identity["references"], identity["pictured"], identity["oracle"], *(row["arm"] for row in order)]
    return list(dict.fromkeys(arm for arm in wanted if arm in rows))[:LINES]


def _verdict(row: dict[str, Any]) -> str:
    shown = row["holm_p_value"] <= LEVEL and row["low"] * row["high"] > 0
    numbers = (
        f"{_percent(row['difference'])} of its error, 95 % interval {_percent(row['low'])} to {_percent(row['high'])}; "
        f"sign-flip test, Holm-adjusted p {p_value(row['holm_p_value'])}, {row['num_pairs']} trajectories"
    )
    if not shown:
        return f"Against {row['reference']} no difference is shown ({numbers})."
    better = "less" if row["difference"] > 0 else "more"
    return f"{row['arm']} has {better} error than {row['reference']} ({numbers})."


def _true_ranks(rows: pa.Table) -> np.ndarray:
    """Mean true rank, 0 to 1, of the candidate at each place of a guide's order; tied candidates share their places."""
    scores, errors = (np.array(rows[name].to_pylist()) for name in ("scores", "errors"))
    ranks = (rankdata(errors, axis=1) - 1) / (errors.shape[1] - 1)
    order = np.argsort(-scores, axis=1, kind="stable")
    tied = scores[:, :, None] == scores[:, None, :]
    shared = (tied * ranks[:, None, :]).sum(axis=2) / tied.sum(axis=2)
    return np.asarray(np.take_along_axis(shared, order, axis=1).mean(axis=0))


def _three(rows: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    places = dict.fromkeys((0, (len(rows) - 1) // 2, len(rows) - 1))
    return [rows[place] for place in places]


def _horizon(sources: Sources) -> int:
    return int(pc.max(sources.evaluate.table("tables/rollouts.parquet")["horizon"]).as_py())


def _most(rows: dict[str, dict[str, Any]]) -> str:
    return count(max(row["num_problems"] for row in rows.values()))


def _lead(row: dict[str, Any]) -> str:
    value, low, high = (
        f"{row[name]:+.3f}".replace("-", "−") for name in ("pairs_lead", "pairs_lead_low", "pairs_lead_high")
    )
    return f"{value} [{low}, {high}]"


def _percent(value: float) -> str:
    return f"{value:+.1%}".replace("-", "−")
