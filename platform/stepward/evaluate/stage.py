"""The two ends of the evaluate stage: what can be found at all, said before the run, and the artifact after it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stepward.core.artifacts import Manifest, content_digest
from stepward.core.cost import KINDS
from stepward.core.seeding import stable_hash
from stepward.evaluate.held_out import label_rows
from stepward.evaluate.samples.study import comparison_rows, gap_rows, rate_rows, steering_rows
from stepward.evaluate.search_study import (
    MEASURED,
    comparison_table,
    cost_table,
    frontier_table,
    search_table,
    select,
    solve_curve,
    table_of,
)
from stepward.evaluate.settings import EvaluateSettings
from stepward.evaluate.summary import summary
from stepward.evaluate.work import EvaluateWork
from stepward.statistics.coverage import coverage, randomised_coverage
from stepward.statistics.power import MinimumDetectableEffect, detectable_rate_difference

CHOSEN_BY = {"solved": "best", "voted": "vote"}  # column of outcomes -> rule that chooses among what a search found
KEYS = ("arm", "states", "calibration", "step_factor", "num_candidates", "values_of", "bin")


def minimum_detectable_effect(settings: EvaluateSettings, num_problems: int) -> MinimumDetectableEffect:
    """What the comparisons of the first search can find, before anything was run."""
    arms = settings.arms(next(iter(settings.searches)))
    comparisons = max(1, (len(arms) - 1) * len(settings.budgets))
    return detectable_rate_difference(
        num_problems, discordance=settings.discordance, alpha=1 - settings.confidence, num_comparisons=comparisons
    )


def finish(work: EvaluateWork, seconds: float) -> Manifest:
    """From the items of work to tables, metrics, one run a guide for tracking, and the manifest."""
    settings, folder = work.settings, work.folder
    outcomes = work.outcomes()
    tables = {name: _ordered(table_of(rows)) for name, rows in work.studies().items()}
    tables |= _search_tables(outcomes, settings)
    tables["coverage"] = coverage_table(work)
    tables |= sample_tables(work, outcomes)
    effect = minimum_detectable_effect(settings, len(work.problems))
    for name, table in (tables | {"outcomes": outcomes}).items():
        folder.write_table(f"tables/{name}.parquet", table)
    metrics = summary(tables, settings)
    if np.isfinite(effect.effect):
        metrics["minimum_detectable_effect"] = effect.effect
    folder.write_json("metrics.json", metrics)
    _write_runs(work, outcomes, metrics)
    if "samples" in tables:
        _write_sample_runs(work, tables["samples"], metrics)
    digested = [outcomes.drop_columns(list(MEASURED)), *(table for name, table in tables.items() if name != "costs")]
    totals = {kind: float(outcomes[kind].to_numpy().sum()) for kind in KINDS if kind not in MEASURED}
    return settings.artifact("evaluate").finish(
        identity=settings.identity(),
        seed=settings.seed,
        digest=content_digest(digested),
        inputs=work.inputs(),
        rows={name: len(table) for name, table in (tables | {"outcomes": outcomes}).items()},
        cost=totals | {"seconds": seconds},
        facts={"minimum_detectable_effect": str(effect), "arms": arms(tables, settings), "split": settings.split},
        scratch=("shards",),
    )


def coverage_table(work: EvaluateWork) -> pa.Table:
    """How often intervals of the Monte-Carlo labels of the split contain V*; empty where V* is not known."""
    if work.wing.exact is None:
        return table_of([])
    rows = label_rows(work.labels.folder, work.settings.split)
    truths = np.asarray(work.wing.exact(work.wing.states(rows)), np.float64)
    counts = [rows[name].to_numpy().astype(np.int64) for name in ("successes", "num_rollouts")]
    confidence = work.settings.confidence
    found = {m: coverage(truths, *counts, method=m, confidence=confidence) for m in ("wilson", "jeffreys")}
    rng = np.random.default_rng(stable_hash(work.settings.seed, "coverage"))
    found["randomised"] = randomised_coverage(truths, *counts, rng=rng, confidence=confidence)
    return table_of([{"method": method, **vars(result)} for method, result in found.items()])


def sample_tables(work: EvaluateWork, outcomes: pa.Table) -> dict[str, pa.Table]:
    """Tables of the sample study: rates, comparisons at matched cost, gaps, and searches that steer against it."""
    found, settings = work.sample_outcomes(), work.settings
    if found is None:
        return {}
    rng = np.random.default_rng(stable_hash(settings.seed, "samples"))
    statistics: dict[str, Any] = {"confidence": settings.confidence, "num_resamples": settings.num_resamples}
    searches = {}
    for search in settings.searches:
        for arm in settings.arms(search):
            cell = select(outcomes, search, arm)
            assert cell["problem_id"].to_pylist() == found.problem_ids, "searches and samples are of the same problems"
            flops = cell["flops"].to_numpy()
            for how in ("solved", "voted"):
                if not cell[how].null_count:
                    solved = cell[how].to_numpy(zero_copy_only=False).astype(bool)
                    searches[search, arm, CHOSEN_BY[how]] = {"solved": solved, "flops": flops}
    return {
        "samples": table_of(list(rate_rows(found, settings.confidence))),
        "matched": table_of(list(comparison_rows(found, rng, **statistics))),
        "gaps": table_of(list(gap_rows(found, rng, **statistics))),
        "steering": table_of(list(steering_rows(found, searches, rng, **statistics))),
    }


def arms(tables: dict[str, pa.Table], settings: EvaluateSettings) -> list[str]:
    """Guides, and what chooses among samples without one."""
    others = tables["samples"]["arm"].unique().to_pylist() if "samples" in tables else []
    return list(dict.fromkeys([*settings.guides, *others]))


def _ordered(table: pa.Table) -> pa.Table:
    """The columns that name a row first."""
    first = [name for name in KEYS if name in table.column_names]
    return table.select([*first, *(name for name in table.column_names if name not in first)])


def _search_tables(outcomes: pa.Table, settings: EvaluateSettings) -> dict[str, pa.Table]:
    rng = np.random.default_rng(stable_hash(settings.seed, "searches"))
    return {
        "frontier": frontier_table(outcomes, settings),
        "comparisons": comparison_table(outcomes, settings, rng),
        "searches": search_table(outcomes, settings, rng),
        "costs": cost_table(outcomes, settings),
    }


def _write_runs(work: EvaluateWork, outcomes: pa.Table, metrics: dict[str, float]) -> None:
    """A folder `runs/<guide>/` for every guide: tracked as runs whose metrics have the same names."""
    main, plan = next(iter(work.settings.searches.items()))
    for arm in work.settings.arms(main):
        here = f"runs/{arm}"
        own = {name.removeprefix(f"{arm}/"): value for name, value in metrics.items() if name.startswith(f"{arm}/")}
        params: dict[str, Any] = {"guide": work.settings.guides[arm].model_dump(mode="json"), "search": plan.search}
        costs = select(outcomes, main, arm)["expansions_at_solve"].to_numpy()
        work.folder.write_json(f"{here}/params.json", params | {"split": work.settings.split})
        work.folder.write_json(f"{here}/metrics.json", own)
        work.folder.write_table(f"{here}/history.parquet", solve_curve(costs, plan.budget))


def _write_sample_runs(work: EvaluateWork, rates: pa.Table, metrics: dict[str, float]) -> None:
    """A folder `runs/<arm>/` for everything that chooses among samples; its history is the solve rate against N."""
    chosen = rates.filter(rates["chosen"])
    for arm in chosen["arm"].unique().to_pylist():
        rows = chosen.filter(pc.equal(chosen["arm"], arm))
        guide = work.settings.guides.get(arm)
        params = {"rule": rows["rule"][0].as_py(), "aggregation": rows["aggregation"][0].as_py()}
        params |= {"guide": None if guide is None else guide.model_dump(mode="json"), "split": work.settings.split}
        own = {name.removeprefix(f"{arm}/"): value for name, value in metrics.items() if name.startswith(f"{arm}/")}
        work.folder.write_json(f"runs/{arm}/params.json", params)
        work.folder.write_json(f"runs/{arm}/metrics.json", own)
        curve = pa.table({"step": rows["size"], "solve_rate": rows["solve_rate"], "flops": rows["flops"]})
        work.folder.write_table(f"runs/{arm}/history.parquet", curve)
