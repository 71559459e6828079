"""How the experiment was made: cost of scoring, training, tuning, labels, and everything needed to make it again."""

from __future__ import annotations

import json

import pyarrow as pa

from stepward.report.figures import png, training, trials
from stepward.report.page import Block, Gap, Grid, Picture, Prose, Section, Verbatim
from stepward.report.sections.setting import evaluate_table, setting
from stepward.report.sources import MissingError, Source, Sources
from stepward.report.tables import require, where
from stepward.report.text import count, duration, rate, signed

LOSS = "validation_loss"
COSTS = ("expansions", "proposals", "scored", "nfe", "generated_tokens", "scored_tokens", "flops")


def cost_section(sources: Sources) -> Section:
    """What guides cost in the main search, and what each search costs with the primary guide."""
    about = setting(sources)
    table = evaluate_table(sources, "costs")
    blocks: list[Block] = []
    by_guide = where(table, search=about.main).to_pylist()
    used = _informative(table)
    header = ["solved", *(kind.replace("_", " ").replace("flops", "FLOPs") for kind in used), "time"]
    for first, rows, words in (
        ("arm", by_guide, f"{about.search_words(about.main)}, up to {count(by_guide[0]['budget'])} expansions"),
        ("search", where(table, arm=about.primary).to_pylist(), f"all searches with {about.primary}"),
    ):
        body = [
            [row[first], rate(row["solve_rate"]), *(count(row[kind]) for kind in used), duration(row["seconds"])]
            for row in rows
        ]
        caption = (
            f"Mean cost a problem: {words}; {about.sample_words()}. Time is that spent inside proposer and scorer; "
            "FLOPs are 2 × parameters × tokens of every forward pass."
        )
        blocks.append(Grid(["guide" if first == "arm" else first, *header], body, caption))
    return Section("Cost of scoring", blocks)


def _informative(table: pa.Table) -> list[str]:
    """Kinds of cost that are not all zero, and not a repetition of another kind (where a step is one token)."""
    columns: dict[tuple[float, ...], str] = {}
    for kind in COSTS:
        values = tuple(table[kind].to_pylist())
        if any(values):
            columns.setdefault(values, kind)
    return list(columns.values())


def training_section(sources: Sources) -> Section:
    """The training curve and the end figures of every trained reward model."""
    if not sources.trains:
        raise MissingError("No trained reward model was named.", "python jobs/train.py name=prm")
    blocks: list[Block] = []
    for name, source in sources.trains.items():
        try:
            blocks += _training(name, source)
        except MissingError as missing:
            blocks.append(Gap(missing.reason, missing.command))
    return Section("Training", blocks)


def _training(name: str, source: Source) -> list[Block]:
    manifest = source.open()
    metrics = source.json("metrics.json")
    table = Grid(
        ["metric", "value"], [[key, _number(value)] for key, value in metrics.items()], folded=f"Metrics of {name}"
    )
    if not manifest.facts.get("best_epoch"):
        return [Prose(f"{name} was fitted in one call, without epochs."), table]
    history = source.table("history.parquet")
    columns = {
        column: words
        for column, words in (("train_loss", "training"), ("validation_loss", "validation"))
        if column in history.column_names
    }
    if not columns:
        raise MissingError(
            f"The history of {source.role} holds no loss: {history.column_names}.", f"{source.command} overwrite=true"
        )
    caption = (
        f"How to read it: the loss of {name} on training and held-out rows; the dashed line marks the epoch whose "
        f"weights were kept, that of the lowest validation loss. Soft labels leave a floor above 0: the entropy of "
        f"the labels. One training run, seed {manifest.seed}, took "
        f"{duration(manifest.cost.get('seconds', float('nan')))}."
    )
    figure = training(history, columns, label="loss (nats a label)", best=int(manifest.facts["best_epoch"]))
    return [
        Picture(f"training_{name}", png(figure), f"Training and validation loss of {name} by epoch.", caption),
        table,
    ]


def tuning_section(sources: Sources) -> Section:
    """Every trial of the sweep, and the winner's settings."""
    source, manifest = sources.tune, sources.tune.open()
    rows = require(source.table("trials.parquet"), ["id", LOSS], f"trials.parquet of {source.role}")
    facts = manifest.facts
    winner = rows["id"].to_pylist().index(facts["winner"])
    caption = (
        f"How to read it: each point is one of n = {len(rows)} trials at the validation loss of its best epoch, lower "
        f"is better; trials stopped early count with what they had reached. The star is the trial chosen on validation "
        f"problems alone. Seed {manifest.seed}. Panels show one parameter at a time while the others vary too: read "
        f"trends, not effects."
    )
    figure = trials(_with_short_blocks(rows), LOSS, winner)
    blocks: list[Block] = [
        Picture("trials", png(figure), "Validation loss of every trial against each parameter.", caption)
    ]
    if "next" in facts:
        near = facts["next"]
        unit = facts.get("unit", "nats")
        gap = f"{signed(near['behind'], 4)} {unit}, 95 % interval {signed(near['low'], 4)} to {signed(near['high'], 4)}"
        won = f"Trial {facts['winner']} won; the next one, {near['trial']}"
        blocks.append(Prose(f"{won}, is behind by {gap}, over problems."))
    if source.has("best.yaml"):
        settings = source.artifact.folder.read_bytes("best.yaml").decode().strip()
        blocks.append(Verbatim(settings, folded="The winner's settings, for jobs/train.py"))
    return Section("Tuning", blocks)


def _with_short_blocks(rows: pa.Table) -> pa.Table:
    """Parameters that are blocks of settings, kept as JSON, by their kind and their numbers: "focal 1"."""
    for position, name in enumerate(rows.column_names):
        values = rows[name].to_pylist()
        if name.startswith("config/") and any(isinstance(value, str) and value.startswith("{") for value in values):
            short = [" ".join(f"{part}" for part in json.loads(value).values()) for value in values]
            rows = rows.set_column(position, name, pa.array(short))
    return rows


def label_section(sources: Sources) -> Section:
    """How many labels there are, how noisy, and what could not be labelled."""
    manifest = sources.label.open()
    metrics, rows = sources.label.json("metrics.json"), manifest.rows
    splits = [name for name in ("train", "validation", "test") if name in rows]
    labels = manifest.identity.get("labels", {})
    body = [
        [
            split, count(rows[split]), str(labels.get(f"num_rollouts_{split}", "–")),
            *(rate(metrics.get(f"{name}.{split}")) for name in ("mean_label", "share_at_0", "share_at_1")),
        ]
        for split in splits
    ]  # fmt: skip
    dead = rows.get("dead_letters", 0)
    words = (
        f"{count(dead)} rows could not be labelled and are in dead_letters.parquet of {manifest.name}."
        if dead
        else "No row was lost: there are no dead letters."
    )
    spent = f"{count(manifest.cost.get('rollouts', 0))} rollouts in {duration(manifest.cost.get('seconds', 0.0))}"
    caption = (
        "Monte-Carlo labels: M continuations of every partial solution by the policy, and the share that succeed. "
        f"Seed {manifest.seed}; {spent}."
    )
    header = ["split", "labels", "M", "mean", "share at 0", "share at 1"]
    return Section("Labels", [Grid(header, body, caption), Prose(words)])


def _number(value: float) -> str:
    return count(value) if abs(value) >= 1000 or value == round(value) else f"{value:.5g}"
