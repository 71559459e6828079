"""Everything that is asked of one guide apart from searches: its share of every value table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from stepward.core.batch import Batch
from stepward.core.interfaces import RewardModel
from stepward.core.seeding import stable_hash
from stepward.core.storage import Folder
from stepward.core.wing import Wing
from stepward.evaluate.dividend import dividend_rows
from stepward.evaluate.held_out import HeldOut, label_rows
from stepward.evaluate.proposers import Proposers
from stepward.evaluate.settings import EvaluateSettings
from stepward.evaluate.study_settings import ValueStudy
from stepward.evaluate.tables import Row, table_of
from stepward.evaluate.values import calibrated, calibration_row, ranking_row, reliability_rows, siblings
from stepward.rewards.calibrators import Calibrator
from stepward.rewards.factory import Guides, load_calibrators, scale_of
from stepward.statistics.calibration import brier_score, expected_calibration_error
from stepward.statistics.coverage import coverage, randomised_coverage

Tables = dict[str, list[dict[str, Any]]]


def study_guide(
    arm: str,
    held: HeldOut,
    settings: EvaluateSettings,
    *,
    proposers: Proposers,
    guides: Guides | None = None,
    children: Float[np.ndarray, " c"] | None = None,
) -> Tables:
    """Rows of the tables ranking, calibration, reliability, robustness and dividend that are about one guide.

    Guides whose scores are no probabilities are ranked and not calibrated.

    Args:
        arm: name of the guide.
        held: what it is judged on.
        settings: of the evaluation.
        proposers: of the evaluation.
        guides: of the evaluation; None: they are built here, without rivals.
        children: Monte-Carlo values of the children of the first states (`sibling_labels`); None: not judged, unless
            the domain knows true values.
    """
    wing = proposers.wing
    guides = guides or Guides(settings.guides, store=settings.store, wing=wing, proposers=proposers)
    guide = guides[arm]
    rng = np.random.default_rng(stable_hash(settings.seed, "values", arm))
    tables: Tables = {"ranking": _ranking(guide, held, settings, rng, proposers, children)}
    if scale_of(arm, settings.guides, wing) == "probability":
        tables |= _calibration(guide, arm, held, settings, rng)
        study: dict[str, Any] = {"policy": proposers.policy, "wing": wing, "seed": settings.seed, "rng": rng}
        if settings.dividend is not None:
            tables["dividend"] = dividend_rows(guide, held, settings.dividend, **study)
    if wing.known is not None and wing.known.rebudget is not None:
        tables["robustness"] = _robustness(guide, arm, held, settings, rng, proposers)
    return {name: [{"arm": arm, **row} for row in rows] for name, rows in tables.items()}


def _ranking(
    guide: RewardModel,
    held: HeldOut,
    settings: EvaluateSettings,
    rng: np.random.Generator,
    proposers: Proposers,
    children: Float[np.ndarray, " c"] | None,
) -> list[Row]:
    truths = held.successes / held.num_rollouts if held.exact is None else held.exact
    rows = []
    for name, mask in held.subsets().items():
        chosen = np.flatnonzero(mask)
        if len(chosen):
            of = children if name == "all" else None
            row = _ranked(
                guide, held.states.take(chosen), truths[chosen], held.ids, chosen, settings, rng, proposers, of
            )
            rows.append({"states": name, **row})
    return rows


def _ranked(
    guide: RewardModel,
    states: Batch,
    truths: np.ndarray,
    ids: list[str],
    chosen: np.ndarray,
    settings: EvaluateSettings,
    rng: np.random.Generator,
    proposers: Proposers,
    children: Float[np.ndarray, " c"] | None = None,
) -> Row:
    """Ranking of states, and of the children of the first of them where V^π of children or its estimates are known."""
    study, family, family_truths = _study(settings), None, None
    wing = proposers.wing
    if wing.known is not None or children is not None:
        parents = states.take(np.arange(min(study.max_parents, len(states))))
        parent_ids = [ids[row] for row in chosen[: len(parents)]]
        family = siblings(parents, parent_ids, study.num_children, proposers(), settings.seed)
        family_truths = children if wing.known is None else wing.known.exact(family[1])
    return ranking_row(guide, states, truths, family, family_truths, study, rng, settings.confidence)


def _calibration(
    guide: RewardModel, arm: str, held: HeldOut, settings: EvaluateSettings, rng: np.random.Generator
) -> Tables:
    """Calibration before and after every calibration that was fitted; the guide's own, where it has one, is `none`."""
    fitted: dict[str, Calibrator] = {}
    trained = Guides(settings.guides, store=settings.store, wing=settings.wing).artifacts()
    if arm in trained and settings.guides[arm].calibration == "none":
        fitted = load_calibrators(trained[arm].folder)
    predictions = np.clip(guide.score(held.states, held.states), 0.0, 1.0)
    calibration, reliability = [], []
    budgets = None if settings.wing.budgets is None else settings.wing.budgets.left(held.states)
    for name, values in calibrated(predictions, fitted, budgets).items():
        for subset, mask in held.subsets().items():
            if mask.any():
                part = held.take(np.flatnonzero(mask))
                row = calibration_row(values[mask], part, _study(settings), rng, settings.confidence)
                calibration.append({"calibration": name, "states": subset, **row})
        curve = reliability_rows(values, held, _study(settings), settings.confidence)
        reliability += [{"calibration": name, **point} for point in curve]
    return {"calibration": calibration, "reliability": reliability}


def _robustness(
    guide: RewardModel,
    arm: str,
    held: HeldOut,
    settings: EvaluateSettings,
    rng: np.random.Generator,
    proposers: Proposers,
) -> list[Row]:
    """The same states with fewer or more steps left, against V^π of that many; the guide was trained on factor 1."""
    wing, rows, known = proposers.wing, [], proposers.wing.known
    assert known is not None and known.rebudget is not None, "the caller has asked"
    for factor in _study(settings).budget_factors:
        states = known.rebudget(held.states, factor)
        truths = np.asarray(known.exact(states), np.float64)
        row = _ranked(guide, states, truths, held.ids, np.arange(len(held)), settings, rng, proposers)
        if scale_of(arm, settings.guides, wing) == "probability":
            predictions = np.clip(guide.score(states, states), 0.0, 1.0)
            bins: dict[str, Any] = {"num_bins": _study(settings).num_bins, "confidence": settings.confidence}
            bins["clusters"] = states.problem
            error = expected_calibration_error(predictions, truths, rng=rng, **bins)
            row |= {"brier_exact": brier_score(predictions, truths), "bias": float((predictions - truths).mean())}
            row |= {"ece": error.debiased, "ece_low": error.low, "ece_high": error.high}
        rows.append({"step_factor": factor, "mean_exact": float(truths.mean()), **row})
    return rows


def coverage_table(labels: Folder, settings: EvaluateSettings, wing: Wing) -> pa.Table:
    """How often intervals of the Monte-Carlo labels of the split contain V^π; empty where V^π is not known."""
    if wing.known is None:
        return table_of([])
    rows = label_rows(labels, settings.split)
    truths = np.asarray(wing.known.exact(wing.states(rows)), np.float64)
    counts = [rows[name].to_numpy().astype(np.int64) for name in ("successes", "num_rollouts")]
    confidence = settings.confidence
    found = {m: coverage(truths, *counts, method=m, confidence=confidence) for m in ("wilson", "jeffreys")}
    found["randomised"] = randomised_coverage(
        truths, *counts, rng=settings.resampling("coverage"), confidence=confidence
    )
    return table_of([{"method": method, **vars(result)} for method, result in found.items()])


def _study(settings: EvaluateSettings) -> ValueStudy:
    assert settings.values is not None, "guides are studied where there is a study of values"
    return settings.values
