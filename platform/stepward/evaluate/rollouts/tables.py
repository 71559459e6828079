"""From the rollouts of all arms to tables: the ablation, paired comparisons, error against time, rankings.

A rollout that blew up is counted and has its step recorded; it is in no mean and in no pair. `num_problems` says how
many rollouts a figure is of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float

from stepward.core.cost import KINDS
from stepward.domains.pde.metrics import CONVENTIONS
from stepward.evaluate.rollouts.ranking import FIGURES
from stepward.evaluate.rollouts.settings import RolloutSettings
from stepward.statistics.bootstrap import bootstrap_mean
from stepward.statistics.paired import holm_adjusted, paired_comparison

Row = dict[str, Any]


class ArmErrors:
    """Errors of one arm: convention -> [p, T], NaN from where a rollout blew up or ended; problems in order of id."""

    def __init__(self, rows: pa.Table) -> None:
        self.horizon = rows["horizon"].to_numpy().astype(np.int64)
        self.steps = rows["steps"].to_numpy().astype(np.int64)
        self.whole: Bool[np.ndarray, " p"] = self.steps == self.horizon
        self.num_blown_up = len(rows) - rows["blew_up_at"].null_count
        self.cost = {kind: rows[kind].to_numpy().astype(np.float64) for kind in KINDS}
        self._errors = {name: _padded(rows[name].to_pylist(), int(self.horizon.max())) for name in CONVENTIONS}

    def __getitem__(self, convention: str) -> Float[np.ndarray, "p t"]:
        return self._errors[convention]

    def mean(self, convention: str) -> Float[np.ndarray, " p"]:
        """Mean error over the steps of each rollout; NaN where it is not whole."""
        return np.where(self.whole, _mean(np.where(self.whole[:, None], self[convention], np.nan)), np.nan)

    def published(self, convention: str) -> float:
        """The number as the publication reduces it, over whole rollouts; NaN without any."""
        errors, rule = self[convention][self.whole], CONVENTIONS[convention]
        if not len(errors):
            return float("nan")
        last = self.horizon[self.whole] - 1
        values = errors[np.arange(len(errors)), last] if rule.last_frame_only else _mean(errors)
        return float(rule.over_samples(values, axis=0))


def errors_by_arm(rollouts: pa.Table, settings: RolloutSettings) -> dict[str, ArmErrors]:
    """Errors of every arm, problems in the same order in all of them."""
    return {arm: ArmErrors(rollouts.filter(pc.equal(rollouts["arm"], arm))) for arm in settings.arms}


def ablation_rows(found: Mapping[str, ArmErrors], settings: RolloutSettings, rng: np.random.Generator) -> list[Row]:
    """One row an arm: errors under every convention, gain over the base with its interval, blow-ups, cost a problem."""
    base, rows = settings.references[0], []
    for arm, errors in found.items():
        mean, whole = errors.mean(settings.convention), errors.whole
        row: Row = {"arm": arm, "num_problems": int(whole.sum()), "num_blown_up": errors.num_blown_up}
        estimate = bootstrap_mean(mean[whole], rng=rng, **_statistics(settings))
        row |= {"error": estimate.value, "error_low": estimate.low, "error_high": estimate.high}
        row |= {name: errors.published(name) for name in CONVENTIONS}
        last = errors[settings.convention][np.arange(len(whole)), errors.horizon - 1][whole]
        row["final_error"] = float(last.mean()) if len(last) else float("nan")
        row |= gain_row(errors, found[base], settings, rng)
        row |= {f"mean_{kind}": float(amount.mean()) for kind, amount in errors.cost.items()}
        rows.append(row)
    return _with_oracle_shares(rows, settings.oracle)


def gain_row(arm: ArmErrors, base: ArmErrors, settings: RolloutSettings, rng: np.random.Generator) -> Row:
    """Share of the base's mean error that an arm saves, paired, with its interval; over rollouts whole in both."""
    saved, _ = _saved(arm, base, settings.convention)
    estimate = bootstrap_mean(saved, rng=rng, **_statistics(settings))
    return {"gain": estimate.value, "gain_low": estimate.low, "gain_high": estimate.high, "num_pairs": len(saved)}


def comparison_rows(found: Mapping[str, ArmErrors], settings: RolloutSettings, rng: np.random.Generator) -> list[Row]:
    """Every arm against each reference: the paired gain, a test, and Holm's adjustment over the arms of a reference."""
    rows: list[Row] = []
    for reference in settings.references:
        compared, lost = [], []
        for arm, errors in found.items():
            if arm == reference:
                continue
            saved, both = _saved(errors, found[reference], settings.convention)
            if len(saved):
                compared.append(
                    paired_comparison(
                        saved, np.zeros(len(saved)), names=(arm, reference), rng=rng, **_statistics(settings)
                    )
                )
                lost.append(int((~both).sum()))
        for row, num_lost in zip(holm_adjusted(compared), lost, strict=True):
            values = asdict(row)
            means = [_joint_mean(found, name, row.arm, row.reference, settings.convention) for name in
                     (row.arm, row.reference)]  # fmt: skip
            rows.append(values | {"mean": means[0], "reference_mean": means[1], "num_lost": num_lost})
    return rows


def time_rows(found: Mapping[str, ArmErrors], settings: RolloutSettings, rng: np.random.Generator) -> list[Row]:
    """Error of every arm under every convention at every step, with its interval, over rollouts that got that far."""
    rows = []
    for arm, errors in found.items():
        for name in CONVENTIONS:
            for step in range(int(errors.horizon.max())):
                values = errors[name][:, step]
                values = values[np.isfinite(values)]
                few = _statistics(settings) | {"num_resamples": min(settings.num_resamples, 1000)}
                estimate = bootstrap_mean(values, rng=rng, **few)
                middle = CONVENTIONS[name].over_samples(values) if len(values) else float("nan")
                rows.append(
                    {"arm": arm, "convention": name, "step": step + 1, "error": float(middle), "mean": estimate.value,
                     "low": estimate.low, "high": estimate.high, "num_problems": len(values)}
                )  # fmt: skip
    return rows


def ranking_rows(rankings: pa.Table, settings: RolloutSettings, rng: np.random.Generator) -> list[Row]:
    """One row a guide: how it orders candidates, with intervals, and its lead over the reference guide, paired.

    States of one problem are not independent, so intervals are over problems.
    """
    reference, rows = settings.ranking_reference, []
    means = {guide: _by_problem(rankings.filter(pc.equal(rankings["guide"], guide)))
             for guide in settings.ranking_guides()}  # fmt: skip
    for guide, figures in means.items():
        row: Row = {"guide": guide, "num_states": pc.sum(pc.equal(rankings["guide"], guide)).as_py()}
        for name in FIGURES:
            estimate = bootstrap_mean(figures[name], rng=rng, **_statistics(settings))
            row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
            row["num_problems"] = estimate.num_units
        if reference in means and guide != reference:
            lead = bootstrap_mean(figures["pairs"] - means[reference]["pairs"], rng=rng, **_statistics(settings))
            row |= {"pairs_lead": lead.value, "pairs_lead_low": lead.low, "pairs_lead_high": lead.high}
        rows.append(row)
    return rows


def table_of(rows: list[Row]) -> pa.Table:
    """Rows as a table with the columns of all of them; without any, an empty one that can still be written."""
    if not rows:
        return pa.table({"empty": pa.array([], pa.null())})
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.Table.from_pylist([{name: row.get(name) for name in names} for row in rows])


def _saved(arm: ArmErrors, base: ArmErrors, convention: str) -> tuple[Float[np.ndarray, " m"], Bool[np.ndarray, " p"]]:
    """Error saved by an arm on every problem that both rolled out whole, in units of the base's mean; and which."""
    both = arm.whole & base.whole
    errors, reference = arm.mean(convention)[both], base.mean(convention)[both]
    return (reference - errors) / (reference.mean() if len(reference) else 1.0), both


def _joint_mean(found: Mapping[str, ArmErrors], name: str, arm: str, reference: str, convention: str) -> float:
    both = found[arm].whole & found[reference].whole
    return float(found[name].mean(convention)[both].mean())


def _with_oracle_shares(rows: list[Row], oracle: str | None) -> list[Row]:
    best = {row["arm"]: row["gain"] for row in rows}.get(oracle)
    if best is None or not best > 0:
        return rows
    return [row | {"share_of_oracle_gain": row["gain"] / best} for row in rows]


def _by_problem(rows: pa.Table) -> dict[str, Float[np.ndarray, " p"]]:
    """Mean of every figure over the states of each problem, problems in the order of their ids."""
    problem = np.unique(rows["problem_id"].to_numpy(zero_copy_only=False), return_inverse=True)[1].reshape(-1)
    counts = np.bincount(problem)
    return {name: np.bincount(problem, rows[name].to_numpy()) / counts for name in FIGURES}


def _padded(lists: list[list[float]], width: int) -> Float[np.ndarray, "p t"]:
    found = np.full((len(lists), width), np.nan)
    for row, values in enumerate(lists):
        found[row, : len(values)] = values
    return found


def _mean(errors: Float[np.ndarray, "p t"]) -> Float[np.ndarray, " p"]:
    """Mean over the steps that are there; NaN without any."""
    there = np.isfinite(errors)
    total = np.where(there, errors, 0.0).sum(axis=1)
    return np.where(there.any(axis=1), total / np.maximum(there.sum(axis=1), 1), np.nan)


def _statistics(settings: RolloutSettings) -> dict[str, Any]:
    return {"confidence": settings.confidence, "num_resamples": settings.num_resamples}
