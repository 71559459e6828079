"""The two ends of the evaluate stage: what can be found at all, said before the run, and the artifact after it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stepward.core.artifacts import Manifest, content_digest
from stepward.core.config import Config, Plain
from stepward.core.cost import KINDS
from stepward.core.measures import measures_of
from stepward.evaluate.headlines import headlines, overview
from stepward.evaluate.readings import note_reading
from stepward.evaluate.samples.settings import SAMPLES
from stepward.evaluate.settings import EvaluateSettings
from stepward.evaluate.solving import solve_curve
from stepward.evaluate.summary import summary
from stepward.evaluate.trials import MEASURED, select
from stepward.evaluate.work import EvaluateWork
from stepward.statistics.power import MinimumDetectableEffect, detectable_mean_difference, detectable_rate_difference
from stepward.statistics.rivals import answer

FEW = 8  # trials below which a paired test of many arms of a real measure finds nothing that is of use
NOT_DIGESTED = ("costs", "pictures", "steps", "candidate_states", "pairs", "errors")  # made of others, or of no weight


def minimum_detectable_effect(settings: EvaluateSettings, num_problems: int) -> MinimumDetectableEffect:
    """What the comparisons of the first family can find, before anything was run: of solve rates, or in standard
    deviations of a paired difference.
    """
    arms = settings.families()[settings.main]
    if not settings.headline.binary:
        return detectable_mean_difference(
            num_problems,
            standard_deviation=1.0,
            alpha=1 - settings.confidence,
            num_comparisons=max(1, len(arms) - 1),
        )
    comparisons = max(1, (len(arms) - 1) * len(settings.budgets))
    return detectable_rate_difference(
        num_problems, discordance=settings.discordance, alpha=1 - settings.confidence, num_comparisons=comparisons
    )


def foresight(work: EvaluateWork) -> str:
    """What the comparisons can find, in words, before anything was run."""
    settings, num = work.settings, len(work.problems)
    if hopeless := _hopeless(settings, num):
        return hopeless
    if settings.headline.binary:
        return str(minimum_detectable_effect(settings, num))
    if num < FEW:
        return f"{num} trials an arm: too few to find any but huge differences"
    effect, arms = minimum_detectable_effect(settings, num), len(settings.families()[settings.main])
    return (
        f"{num} trials an arm, {arms} arms: differences of {effect.effect:.2f} standard deviations of a paired "
        "difference can be found"
    )


def _hopeless(settings: EvaluateSettings, num_problems: int) -> str:
    """A sentence where not even the clearest result could pass the tests of a family; "" where one could."""
    arms = settings.families()[settings.main]
    points = len(settings.budgets) if settings.headline.binary else 1
    num, level = max(1, len(arms) - 1) * max(1, points), 1 - settings.confidence
    least = min(1.0, num * 2.0 ** (1 - num_problems))
    if least <= level:
        return ""
    return (
        f"{num_problems} problem{'s' if num_problems > 1 else ''} and {num} comparisons with a reference: nothing "
        f"can be significant, because the least p that Holm's adjustment leaves is {least:.2g}. Take more problems, or "
        "compare fewer arms."
    )


def finish(work: EvaluateWork, seconds: float) -> Manifest:
    """From the items of work to tables, metrics, one run an arm for tracking, and the manifest."""
    settings, folder, tables = work.settings, work.folder, work.tables()
    for name, table in tables.items():
        folder.write_table(f"tables/{name}.parquet", table)
    metrics = summary(tables, settings)
    if settings.headline.binary:
        effect = minimum_detectable_effect(settings, len(work.problems)).effect
        metrics |= {"minimum_detectable_effect": effect} if np.isfinite(effect) else {}
    metrics["num_problems"] = float(len(work.problems))
    folder.write_json("metrics.json", metrics)
    runs, figures = list(_runs(tables, settings)), headlines(tables, settings)
    folder.write_json("headlines.json", overview(figures, metrics["num_problems"]))
    for arm, files in runs:
        _write_run(work, arm, figures, *files)
    searched = tables["trials"].filter(pc.not_equal(tables["trials"]["search"], SAMPLES))
    totals = {kind: float(searched[kind].to_numpy().sum()) for kind in KINDS if kind not in MEASURED}
    return settings.artifact("evaluate").finish(
        identity=settings.identity(),
        seed=settings.seed,
        digest=content_digest([_digested(name, t) for name, t in tables.items() if name not in NOT_DIGESTED]),
        inputs=work.inputs(),
        rows={name: len(table) for name, table in tables.items()},
        cost=totals | {"seconds": seconds},
        facts={
            "minimum_detectable_effect": foresight(work),
            "arms": list(dict.fromkeys([*_arms(settings), *(arm for arm, _ in runs)])),
            "split": settings.split,
            "test_readings": note_reading(settings, work.labels),
            "bounds": settings.bounds,
            "rivals": rival_facts(settings, tables["rivals"].to_pylist() if "rivals" in tables else []),
            "main": settings.main,
            "measure": settings.measure,
            "measures": [asdict(measure) for measure in measures_of(work.wing.verifier())],
        },
        scratch=("shards",),
    )


def rival_facts(settings: EvaluateSettings, rows: list[Plain]) -> Plain:
    """What a report needs to say how the guide stands to its trivial rivals, beside the table; and the sentence."""
    asked: Plain = {
        "declared": list(settings.wing.rivals),
        "asked": list(settings.rivals),
        "guide": settings.primary,
    }
    return asked | {"answer": answer(rows, domain=settings.domain, **asked)}


def _digested(name: str, table: pa.Table) -> pa.Table:
    """A table without what differs from run to run."""
    return table.drop_columns([c for c in table.column_names if c.removeprefix("mean_") in MEASURED])


def _arms(settings: EvaluateSettings) -> list[str]:
    """Arms of the first family, and guides that are judged without it."""
    return list(dict.fromkeys([*settings.families()[settings.main], *(settings.guides if settings.values else ())]))


def _runs(tables: Mapping[str, pa.Table], settings: EvaluateSettings) -> Iterator[tuple[str, tuple[Plain, pa.Table]]]:
    """Arm -> parameters and curve of the run that stands for it: the arms of the first family, then those that choose
    among samples.
    """
    main = settings.main
    for name, arm in settings.families()[main].items():
        cell = select(tables["trials"], main, name)
        guide = settings.guides[arm.guide].model_dump(mode="json") if arm.guide in settings.guides else None
        params = {"guide": guide, "search": arm.search} if main in settings.searches else {"arm": arm, "guide": guide}
        yield name, (params, _curve(cell, tables, settings, name))
    if "samples" not in tables:
        return
    chosen = tables["samples"].filter(tables["samples"]["chosen"])
    for name in chosen["arm"].unique().to_pylist():
        rows = chosen.filter(pc.equal(chosen["arm"], name))
        guide = settings.guides[name].model_dump(mode="json") if name in settings.guides else None
        params = {"rule": rows["rule"][0].as_py(), "aggregation": rows["aggregation"][0].as_py(), "guide": guide}
        curve = pa.table({"step": rows["size"], "answer/solve_rate_over_samples": rows["solve_rate"]})
        yield name, (params, curve)


def _curve(cell: pa.Table, tables: Mapping[str, pa.Table], settings: EvaluateSettings, arm: str) -> pa.Table:
    """Solve rate against expansions; or every measure against the steps."""
    if settings.headline.binary:
        costs = cell["expansions_at_solve"].to_numpy()
        plan = settings.searches.get(settings.main)
        most = plan.budget if plan else max(1.0, float(pc.max(cell["expansions"]).as_py()))
        curve = solve_curve(costs, most)
        return curve.rename_columns([f"answer/{c}_over_expansions" if c != "step" else c for c in curve.column_names])
    if "errors" not in tables:
        return pa.table({"step": pa.array([], pa.int64())})
    mine = tables["errors"]
    mine = mine.filter(pc.and_(pc.equal(mine["search"], settings.main), pc.equal(mine["arm"], arm)))
    parts = {name: mine.filter(pc.equal(mine["measure"], name)) for name in pc.unique(mine["measure"]).to_pylist()}
    # other names than the figures of the whole trial: a tracker shows the latest value of a name
    history = {f"answer/{name}_over_steps": part["value"] for name, part in parts.items()}
    return pa.table({"step": next(iter(parts.values()))["step"]} | history)


def _write_run(
    work: EvaluateWork,
    arm: str,
    figures: Mapping[str, Mapping[str, float]],
    params: Plain,
    curve: pa.Table,
) -> None:
    """A folder `runs/<arm>/`: tracked as a run whose metrics have the same names as those of the other arms."""
    plain = {name: v.model_dump(mode="json") if isinstance(v, Config) else v for name, v in params.items()}
    rank = list(figures).index(arm) + 1 if arm in figures else len(figures) + 1
    work.folder.write_json(f"runs/{arm}/params.json", plain | {"split": work.settings.split})
    work.folder.write_json(f"runs/{arm}/metrics.json", dict(figures.get(arm, {})))
    work.folder.write_json(f"runs/{arm}/tags.json", {"stepward.rank": f"{rank:03d}"})
    work.folder.write_table(f"runs/{arm}/history.parquet", curve)
