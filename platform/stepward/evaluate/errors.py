"""From trials with a real measure to tables: the ablation, paired comparisons, values against steps.

A trial that blew up is counted and has its step recorded; it is in no mean and in no pair. `num_problems` says how many
trials a figure is of. All intervals of an evaluation are of one draw of problems, so a number has one interval wherever
it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float

from stepward.core.cost import KINDS
from stepward.core.measures import Measure, measures_of
from stepward.core.wing import Wing
from stepward.evaluate.settings import EvaluateSettings
from stepward.evaluate.tables import Row, table_of
from stepward.evaluate.trials import select
from stepward.statistics.bootstrap import Estimate, bootstrap_mean, bootstrap_saving
from stepward.statistics.paired import ArmComparison, holm_adjusted, paired_comparison


class ArmValues:
    """Values of the trials of one arm; problems in order of id.

    Attributes:
        whole: trials that ended with an answer and did not blow up.
        steps: steps that have values.
        cost: kind -> amount a problem.
    """

    def __init__(self, trials: pa.Table, measures: tuple[Measure, ...]) -> None:
        self.cost = {kind: trials[kind].to_numpy().astype(np.float64) for kind in KINDS}
        stepped = "steps" in trials.column_names
        single = [m for m in measures if not m.per_step]
        answered = np.ones(len(trials), bool)
        for measure in single:
            answered &= ~np.isnan(_numbers(trials, measure.name))
        whole = trials["whole"].to_numpy(zero_copy_only=False) if stepped else np.ones(len(trials), bool)
        self.whole: Bool[np.ndarray, " p"] = whole & answered
        self.steps = trials["steps"].to_numpy().astype(np.int64) if stepped else np.zeros(len(trials), np.int64)
        self.num_blown_up = len(trials) - trials["blew_up_at"].null_count if stepped else int((~answered).sum())
        width = int(self.steps.max(initial=1))
        self._values = {
            m.name: _padded(trials[m.name].to_pylist(), width) if m.per_step else _numbers(trials, m.name)[:, None]
            for m in measures
        }

    def __getitem__(self, measure: str) -> Float[np.ndarray, "p t"]:
        """Value of every step, NaN from where a trial blew up or ended; one column where a measure has one value."""
        return self._values[measure]

    def mean(self, measure: str) -> Float[np.ndarray, " p"]:
        """Mean over the steps of each trial; NaN where it is not whole."""
        return np.where(self.whole, _mean(np.where(self.whole[:, None], self[measure], np.nan)), np.nan)

    def last(self, measure: Measure) -> Float[np.ndarray, " w"]:
        """Value at the last step of whole trials."""
        values = self[measure.name][self.whole]
        return values[np.arange(len(values)), self.steps[self.whole] - 1 if measure.per_step else 0]

    def published(self, measure: Measure) -> float:
        """The number as the publication reduces it, over whole trials; NaN without any."""
        values = self.last(measure) if measure.over_steps == "last" else _mean(self[measure.name][self.whole])
        return measure.of_problems(values)


def error_tables(trials: pa.Table, settings: EvaluateSettings, wing: Wing) -> dict[str, pa.Table]:
    """ablation, comparisons, and errors (against the steps), of every family of arms."""
    measures = measures_of(wing.verifier())
    rows: dict[str, list[Row]] = {"ablation": [], "comparisons": [], "errors": []}
    for family, arms in settings.families().items():
        found = {arm: ArmValues(select(trials, family, arm), measures) for arm in arms}
        made = {
            "ablation": ablation_rows(found, settings, measures),
            "comparisons": comparison_rows(found, settings),
            "errors": step_rows(found, settings, measures),
        }
        for name, some in made.items():
            rows[name] += [{"search": family} | row for row in some]
    return {name: table_of(some) for name, some in rows.items() if some or name != "errors"}


def ablation_rows(
    found: Mapping[str, ArmValues], settings: EvaluateSettings, measures: tuple[Measure, ...]
) -> list[Row]:
    """One row an arm: every measure, gain over the first reference with its interval, blow-ups, cost a problem."""
    headline, rows = settings.headline, []
    base = next((name for name in settings.references if name in found), None)
    for arm, values in found.items():
        row: Row = {"arm": arm, "num_problems": int(values.whole.sum()), "num_blown_up": values.num_blown_up}
        estimate = bootstrap_mean(
            values.mean(headline.name)[values.whole], rng=settings.resampling(), **settings.statistics
        )
        row |= {"value": estimate.value, "value_low": estimate.low, "value_high": estimate.high}
        row |= {measure.name: values.published(measure) for measure in measures}
        last = values.last(headline)
        row["final_value"] = float(last.mean()) if len(last) else float("nan")
        if base is not None:
            gain, num = saving(values, found[base], settings)
            row |= {"gain": gain.value, "gain_low": gain.low, "gain_high": gain.high, "num_pairs": num}
        row |= {f"mean_{kind}": float(amount.mean()) for kind, amount in values.cost.items()}
        rows.append(row)
    best = {row["arm"]: row.get("gain") for row in rows}.get(settings.oracle)
    return [row | {"share_of_oracle_gain": row["gain"] / best} for row in rows] if best and best > 0 else rows


def saving(arm: ArmValues, base: ArmValues, settings: EvaluateSettings) -> tuple[Estimate, int]:
    """Share of the base's mean value that an arm is better by, paired, over problems whole in both; and how many."""
    values, reference = _both(arm, base, settings.measure)
    estimate = bootstrap_saving(values, reference, rng=settings.resampling(), **settings.statistics)
    if settings.headline.higher_is_better:
        estimate = replace(estimate, value=-estimate.value, low=-estimate.high, high=-estimate.low)
    return estimate, len(values)


def comparison_rows(found: Mapping[str, ArmValues], settings: EvaluateSettings) -> list[Row]:
    """Every arm against each reference: the paired gain, a test, and Holm's adjustment over the arms of a reference."""
    rows: list[Row] = []
    for reference in (name for name in settings.references if name in found):
        pairs = [(name, arm) for name, arm in found.items() if name != reference]
        pairs = [(name, arm) for name, arm in pairs if (arm.whole & found[reference].whole).any()]
        tested = [compared(name, arm, reference, found[reference], settings) for name, arm in pairs]
        for row, (_, arm) in zip(holm_adjusted(tested), pairs, strict=True):
            lost = int((~(arm.whole & found[reference].whole)).sum())
            rows.append(asdict(row) | {"measure": settings.measure, "num_lost": lost})
    return rows


def compared(name: str, arm: ArmValues, reference: str, base: ArmValues, settings: EvaluateSettings) -> ArmComparison:
    """The means, the test of their paired difference, and the gain as a share of the reference's mean."""
    values, others = _both(arm, base, settings.measure)
    sign = 1.0 if settings.headline.higher_is_better else -1.0
    tested = paired_comparison(
        sign * values, sign * others, names=(name, reference), rng=settings.resampling(), **settings.statistics
    )
    gain, _ = saving(arm, base, settings)
    means = float(values.mean()), float(others.mean())
    tested = replace(tested, mean=means[0], reference_mean=means[1])
    return replace(tested, difference=gain.value, low=gain.low, high=gain.high)


def step_rows(found: Mapping[str, ArmValues], settings: EvaluateSettings, measures: tuple[Measure, ...]) -> list[Row]:
    """Every measure of every arm at every step, with its interval, over trials that got that far."""
    few, rows = settings.statistics.copy(), []
    few["num_resamples"] = min(few["num_resamples"], 1000)
    for arm, values in found.items():
        for measure in (measure for measure in measures if measure.per_step):
            for step, column in enumerate(values[measure.name].T, start=1):
                there = column[np.isfinite(column)]
                estimate = bootstrap_mean(there, rng=settings.resampling(), **few)
                rows.append(
                    {"arm": arm, "measure": measure.name, "step": step, "value": measure.of_problems(there),
                     "mean": estimate.value, "low": estimate.low, "high": estimate.high, "num_problems": len(there)}
                )  # fmt: skip
    return rows


def _both(arm: ArmValues, base: ArmValues, measure: str) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Values of two arms on every problem that both solved whole."""
    both = arm.whole & base.whole
    return arm.mean(measure)[both], base.mean(measure)[both]


def _numbers(trials: pa.Table, name: str) -> Float[np.ndarray, " p"]:
    """A column of numbers, NaN where there is none."""
    return np.array([np.nan if value is None else value for value in trials[name].to_pylist()], np.float64)


def _padded(lists: list[list[float]], width: int) -> Float[np.ndarray, "p t"]:
    found = np.full((len(lists), width), np.nan)
    for row, values in enumerate(lists):
        found[row, : len(values)] = values
    return found


def _mean(values: Float[np.ndarray, "p t"]) -> Float[np.ndarray, " p"]:
    """Mean over the steps that are there; NaN without any."""
    there = np.isfinite(values)
    total = np.where(there, values, 0.0).sum(axis=1)
    return np.where(there.any(axis=1), total / np.maximum(there.sum(axis=1), 1), np.nan)
