"""How an experiment with ranked candidates was made: labels with their headroom, and training curves."""

from __future__ import annotations

from stepward.report.figures import png, training
from stepward.report.page import Block, Gap, Grid, Picture, Section
from stepward.report.sources import MissingError, Source, Sources
from stepward.report.text import count, duration, rate

SPLITS = ("train", "validation", "test")
ERRORS = {
    "error_deterministic": "deterministic",
    "error_mean_of_k": "mean of K",
    "error_random": "random candidate",
    "error_best": "best of K",
}
HISTORY = {"pairs": "all pairs", "triplet": "best > median > worst", "spearman": "Spearman"}


BASELINES = ("deterministic", "mean_of_k", "constant", "read_off_state")
OVER = ("over the mean of K", "over the best constant", "over one read off the state")


def of_rankings(sources: Sources) -> bool:
    """Whether labels rank candidates, rather than count successes of rollouts."""
    try:
        metrics = sources.label.json("metrics.json")
    except MissingError:
        return sources.evaluate.has("tables/candidates.parquet")
    return any(name.startswith("headroom_over_") for name in metrics)


def ranking_label_section(sources: Sources) -> Section:
    """Whether a choice among the candidates can help at all, before anything is learned."""
    manifest, metrics = sources.label.open(), sources.label.json("metrics.json")
    labels = manifest.identity["labels"]
    body = []
    for split in (name for name in SPLITS if name in manifest.rows):
        room = [f"headroom_over_{base}.{split}" for base in BASELINES]
        shown = [_room(metrics.get(name), metrics.get(name.replace(f".{split}", f"_se.{split}"))) for name in room]
        errors = [rate(metrics.get(f"{name}.{split}"), 4) for name in ERRORS]
        body.append([split, count(manifest.rows[split]), *errors, *shown])
    header = ["split", "states", *ERRORS.values(), "saved by the best over deterministic", *OVER]
    caption = (
        f"Errors one step on of K = {labels['num_candidates']} candidates a state, and the share of the error that the "
        f"best of them saves, ± two standard errors: no reward model can do better. {labels['num_kept']} candidates a "
        f"state are kept with their fields, evenly spaced in rank. Seed {manifest.seed}; "
        f"{count(manifest.cost.get('candidates', 0))} candidates in {duration(manifest.cost.get('seconds', 0.0))}; "
        f"{count(manifest.rows.get('dead_letters', 0))} dead letters."
    )
    return Section("Labels", [Grid(header, body, caption)])


def ranking_training_section(sources: Sources) -> Section:
    """How well held-out candidates were ordered, epoch by epoch, by every trained reward model."""
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
    manifest, metrics, history = source.open(), source.json("metrics.json"), source.table("history.parquet")
    caption = (
        f"How to read it: how {name} orders the candidates of validation states (chance: pairs .5, triplet .167, "
        f"Spearman 0); the dashed line marks the epoch whose weights were kept, that of most pairs in order. One "
        f"training run, seed {manifest.seed}, took {duration(manifest.cost.get('seconds', float('nan')))}."
    )
    figure = training(history, HISTORY, label="validation states", best=int(manifest.facts["best_epoch"]))
    rows = [[key, f"{value:.5g}"] for key, value in metrics.items()]
    return [
        Picture(f"training_{name}", png(figure), f"Ranking by {name} on validation states, by epoch.", caption),
        Grid(["metric", "value"], rows, folded=f"Metrics of {name}"),
    ]


def _room(value: float | None, error: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1%}" + ("" if error is None else f" ± {2 * error:.1%}")
