"""Trivial rivals: the first sentence of every report, and the table behind it."""

from __future__ import annotations

from stepward.report.page import Block, Grid, Prose, Section
from stepward.report.sections.setting import evaluate_table, setting
from stepward.report.sources import Sources
from stepward.report.text import count, p_value, rate, signed
from stepward.statistics.rivals import answer, beats, by_guide, closest

VERDICTS = {"beats": "beats all", "loses": "beaten", "open": "not shown"}


def rival_sentences(sources: Sources) -> list[str]:
    """How the guide of the evaluation stands to its trivial rivals; none where it has no trained guide."""
    facts = sources.evaluate.open().facts.get("rivals")
    domain = sources.evaluate.artifact.domain
    if facts is None:
        return ["No trivial rival was compared: the evaluation was made by a version that had none."]
    asked = {name: facts[name] for name in ("declared", "asked", "guide")}
    rows = evaluate_table(sources, "rivals").to_pylist() if sources.evaluate.has("tables/rivals.parquet") else []
    said = answer(rows, domain=domain, headline=sources.headline, **asked)
    return [said] if said else []


def rivals_section(sources: Sources) -> Section:
    """Every trained guide against each of its rivals, at the budget of the sentence."""
    about = setting(sources)
    rows = evaluate_table(sources, "rivals").to_pylist()
    body, found = [], by_guide(rows, sources.headline)
    for guide, mine in found.items():
        worst = closest(mine)
        for row in sorted(mine, key=lambda row: row["difference"]):
            said = VERDICTS[beats(mine)] if row is worst else ""
            figures = [rate(row["mean"]), rate(row["reference_mean"]), signed(row["difference"])]
            tested = [f"{signed(row['low'])} to {signed(row['high'])}", p_value(row["holm_p_value"])]
            costs = [count(row["flops"]), count(row["reference_flops"])]
            body.append([guide if row is worst else "", row["reference"], *figures, *tested, *costs, said])
    header = ["guide", "rival", "guide has", "rival has", "difference", "95 % interval", "Holm p", "FLOPs",
              "FLOPs of the rival", ""]  # fmt: skip
    where = next(iter(found.values()))[0]["at"].strip()
    caption = (
        f"Every trained guide against what anybody could do without one{', ' + where if where else ''}; the strongest "
        f"rival of each guide first. A difference above 0 is in favour of the guide. Paired 95 % intervals over "
        f"problems; Holm over the rivals of each guide. “beats all” means that every rival is beaten by interval and "
        f"test. {about.sample_words()}."
    )
    blocks: list[Block] = [Grid(header, body, caption), *_fitted(sources)]
    return Section("Trivial rivals", blocks)


def _fitted(sources: Sources) -> list[Block]:
    """What fitting chose, a rival."""
    found: dict[str, list[str]] = {}
    if sources.evaluate.has("tables/rival_choices.parquet"):
        for row in evaluate_table(sources, "rival_choices").to_pylist():
            found.setdefault(row["rival"], []).append(f"{row['parameter'].replace('_', ' ')} {row['value']}")
    words = "; ".join(f"{rival}: {', '.join(values)}" for rival, values in found.items())
    return [Prose(f"Fitted from the training labels, chosen by the validation labels: {words}.")] if words else []
