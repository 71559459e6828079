"""From the trials of a sweep to a finished artifact: tables, the winner, and its settings for the train job."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import yaml

from stepward.core.artifacts import Artifact, Manifest, content_digest
from stepward.core.config import Plain
from stepward.evaluate.trial import trial_inputs, unit
from stepward.train.settings import learning_of
from stepward.tune.settings import Plan, TuneSettings
from stepward.tune.trials import Trial, history_table, trials_table
from stepward.tune.winner import behind, pick_winner, runner_up

NOT_CONTENT = ["seconds"]  # columns that differ from run to run


def finish(settings: TuneSettings, plan: Plan, trials: Sequence[Trial], started: float) -> Manifest:
    """Write everything a tune artifact holds; `started` is the monotonic time at which the stage began."""
    artifact = settings.artifact("tune")
    folder = artifact.folder
    winner = pick_winner(trials, settings.selection.rule)
    second = runner_up(trials, winner)
    gaps = dict(zip((trial.id for trial in trials), behind(trials, winner, settings.seed), strict=True))
    further = [
        {} if gap is None else {"behind": gap.value, "behind_low": gap.low, "behind_high": gap.high}
        for gap in gaps.values()
    ]
    table, history = trials_table(trials, further), history_table(trials)
    folder.write_table("trials.parquet", table)
    folder.write_table("history.parquet", history)
    folder.write_bytes("best.yaml", best_yaml(settings, plan, winner).encode())
    counts = {status: sum(trial.status == status for trial in trials) for status in ("finished", "stopped", "failed")}
    metrics = {f"winner/{name}": value for name, value in winner.best_metrics.items()}
    metrics |= {"winner/best_epoch": winner.best_epoch, "winner/num_parameters": winner.num_parameters}
    metrics |= {f"trials/{status}": count for status, count in counts.items()}
    facts: dict[str, Any] = {
        "of": settings.of,
        "unit": unit_of(settings),
        "winner": winner.id,
        "settings": winner.settings,
        "loss": winner.loss,
        **counts,
    }
    if second is not None:
        gap = gaps[second.id]
        assert gap is not None, "a runner-up has a loss"
        facts["next"] = {"trial": second.id, "behind": gap.value, "low": gap.low, "high": gap.high}
        metrics |= {"next/behind": gap.value, "next/behind_low": gap.low, "next/behind_high": gap.high}
    folder.write_json("metrics.json", {name: float(value) for name, value in metrics.items()})
    return artifact.finish(
        identity=settings.identity(),
        seed=settings.seed,
        digest=content_digest([table.drop_columns(NOT_CONTENT), history]),
        inputs={"label": settings.artifact("label", settings.label)} | _further_inputs(settings, plan, winner),
        rows={"trials": len(table), "history": len(history)},
        cost={"seconds": time.monotonic() - started, "trial_seconds": sum(trial.seconds for trial in trials)},
        facts=facts,
        scratch=("sweep-*",),  # checkpoints and Ray's state
    )


def unit_of(settings: TuneSettings) -> str:
    """What the validation loss is a number of."""
    if settings.of == "train":
        return learning_of(settings.wing).unit
    return unit(settings.wing)


def _further_inputs(settings: TuneSettings, plan: Plan, winner: Trial) -> dict[str, Artifact]:
    """What searches read beside the problems: the guides of the winner, a surrogate."""
    if settings.of == "train":
        return {}
    return trial_inputs(plan.space.settings(settings.train_class, settings.base(), winner.settings))


def best_yaml(settings: TuneSettings, plan: Plan, winner: Trial) -> str:
    """Settings of the winner for the train job, on all training rows even where the trials had fewer.

    Every setting is written out, so that it stays what it was when a default changes.
    """
    chosen = plan.space.settings(settings.train_class, settings.base(), winner.settings)
    unused = {"objective", "optimisation"} if settings.of == "train" and chosen.fitted_at_once else set()
    values = chosen.model_dump(mode="json", exclude={"overwrite", *unused})
    if settings.of == "train" and "subset.num_rows" not in winner.settings:
        values["subset"]["num_rows"] = None
    words = (
        f"# Winner of {settings.artifact('tune').url}: trial {winner.id} of the space {settings.space}, "
        f"validation loss {winner.loss:.5f} {unit_of(settings)}.\n"
    )
    return words + yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def winner_line(facts: Plain) -> str:
    """The winner in one line: its loss, its settings, and how far the next one is behind."""
    values = ", ".join(f"{name}={_short(value)}" for name, value in facts["settings"].items())
    line = f"trial {facts['winner']} wins with validation loss {facts['loss']:.4f} ({values})"
    if "next" in facts:
        near = facts["next"]
        line += f"; next is {near['trial']}, {near['behind']:+.4f} [{near['low']:+.4f}, {near['high']:+.4f}]"
    return line


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return ":".join(map(_short, value.values())) if isinstance(value, dict) else str(value)
