"""The end of an evaluation of rollouts: tables, figures of every arm under the same names, and the manifest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stepward.core.artifacts import Manifest, content_digest
from stepward.core.cost import KINDS
from stepward.core.seeding import stable_hash
from stepward.domains.pde.metrics import CONVENTIONS
from stepward.evaluate.rollouts.pairs import pair_error, pair_rows
from stepward.evaluate.rollouts.study import MEASURED
from stepward.evaluate.rollouts.tables import (
    ablation_rows,
    comparison_rows,
    errors_by_arm,
    ranking_rows,
    table_of,
    time_rows,
)
from stepward.evaluate.rollouts.work import RolloutWork
from stepward.statistics.power import detectable_mean_difference

COSTS = ("nfe", "proposals", "scored", "flops", "seconds")
FEW = 8  # rollouts below which a paired test of many arms finds nothing that is of use
NOT_METRICS = ("arm", "guide", "num_pairs")


def finish(work: RolloutWork, seconds: float) -> Manifest:
    """From the items of work to tables, metrics, one run an arm for tracking, and the manifest."""
    settings, folder = work.settings, work.folder
    rollouts, rankings, pictures, steps = work.rollouts(), work.rankings(), work.pictures(), work.steps()
    tables = result_tables(rollouts, rankings, work)
    further = {"rollouts": rollouts, "ranking_states": rankings}
    further |= {name: table for name, table in (("pictures", pictures), ("steps", steps)) if table is not None}
    for name, table in (tables | further).items():
        folder.write_table(f"tables/{name}.parquet", table)
    folder.write_json("metrics.json", metrics_of(tables))
    _write_runs(work, tables)
    timed = [f"mean_{kind}" for kind in MEASURED]
    digested = [rollouts.drop_columns(list(MEASURED)), tables["ablation"].drop_columns(timed), tables["comparisons"]]
    totals = {kind: float(rollouts[kind].to_numpy().sum()) for kind in KINDS if kind not in MEASURED}
    return settings.artifact("evaluate").finish(
        identity=settings.identity(),
        seed=settings.seed,
        digest=content_digest([*digested, tables["ranking"]]),
        inputs=work.inputs(),
        rows={name: len(table) for name, table in (tables | further).items()},
        cost=totals | {"seconds": seconds},
        facts={"arms": list(settings.arms), "split": settings.split, "convention": settings.convention},
        scratch=("shards",),
    )


def result_tables(rollouts: pa.Table, rankings: pa.Table, work: RolloutWork) -> dict[str, pa.Table]:
    """ablation, comparisons, errors (against time), ranking, and pairs (reliability of its probabilities)."""
    settings = work.settings
    rng = np.random.default_rng(stable_hash(settings.seed, "rollouts"))
    found = errors_by_arm(rollouts, settings)
    rows = {
        "ablation": ablation_rows(found, settings, rng),
        "comparisons": comparison_rows(found, settings, rng),
        "errors": time_rows(found, settings, rng),
        "ranking": ranking_rows(rankings, settings, rng),
        "pairs": pair_rows(rankings, settings, rng),
    }
    for row in rows["ranking"]:
        bins = [pair for pair in rows["pairs"] if pair["guide"] == row["guide"]]
        row |= {"pair_calibration_error": pair_error(bins)} if bins else {}
    return {name: table_of(values) for name, values in rows.items()}


def metrics_of(tables: dict[str, pa.Table]) -> dict[str, float]:
    """``<arm>/<figure>`` and ``<guide>/<figure of its ranking>`` -> value; undefined figures are left out."""
    found: dict[str, float] = {}
    for name, key in (("ablation", "arm"), ("ranking", "guide")):
        for row in tables[name].to_pylist():
            prefix = "" if key == "arm" else "ranking_"
            found |= {
                f"{row[key]}/{prefix}{figure}": float(value)
                for figure, value in row.items()
                if figure not in NOT_METRICS and value is not None and np.isfinite(value)
            }
    for row in tables["comparisons"].to_pylist():
        found[f"{row['arm']}/gain_over_{row['reference']}"] = float(row["difference"])
        found[f"{row['arm']}/gain_over_{row['reference']}_low"] = float(row["low"])
        found[f"{row['arm']}/gain_over_{row['reference']}_high"] = float(row["high"])
    return found


def foresight(work: RolloutWork) -> str:
    """What the comparisons can find, said before anything was run."""
    num, arms = len(work.problems), len(work.settings.arms)
    if num < FEW:
        return f"{num} rollouts an arm: too few to find any but huge differences"
    effect = detectable_mean_difference(
        num, standard_deviation=1.0, alpha=1 - work.settings.confidence, num_comparisons=max(1, arms - 1)
    )
    return (
        f"{num} rollouts an arm, {arms} arms: differences of {effect.effect:.2f} standard deviations of a paired "
        "difference can be found"
    )


def line(arm: str, metrics: dict[str, float]) -> str:
    """An arm in a few words."""
    error, gain = metrics.get(f"{arm}/error", float("nan")), metrics.get(f"{arm}/gain", float("nan"))
    low, high = (metrics.get(f"{arm}/gain_{end}", float("nan")) for end in ("low", "high"))
    lost = int(metrics.get(f"{arm}/num_blown_up", 0))
    words = (
        f"error {error:.4f}  gain {gain:+.1%} [{low:+.1%}, {high:+.1%}]  NFE {metrics.get(f'{arm}/mean_nfe', 0):.0f}"
    )
    return words + (f"  {lost} blew up" if lost else "")


def _write_runs(work: RolloutWork, tables: dict[str, pa.Table]) -> None:
    """A folder `runs/<arm>/` for every arm: tracked as runs whose metrics, and errors against time, have one name."""
    for row in tables["ablation"].to_pylist():
        arm, here = row["arm"], f"runs/{row['arm']}"
        plan = work.settings.arms[arm]
        params: dict[str, Any] = {"arm": plan.model_dump(mode="json"), "split": work.settings.split}
        if plan.guide in work.settings.guides:
            params["guide"] = work.settings.guides[plan.guide].model_dump(mode="json")
        own = {k: float(v) for k, v in row.items() if k not in NOT_METRICS and v is not None and np.isfinite(v)}
        work.folder.write_json(f"{here}/params.json", params)
        work.folder.write_json(f"{here}/metrics.json", own)
        mine = tables["errors"].filter(pc.equal(tables["errors"]["arm"], arm))
        columns = {name: mine.filter(pc.equal(mine["convention"], name)) for name in CONVENTIONS}
        # other names than the figures of the whole rollout: a tracker shows the latest value of a name
        history = {"step": columns["nrmse"]["step"]}
        history |= {f"{name}_of_step": part["error"] for name, part in columns.items()}
        work.folder.write_table(f"{here}/history.parquet", pa.table(history))
