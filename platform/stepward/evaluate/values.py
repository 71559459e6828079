"""How well a guide knows the value of held-out partial solutions: order, order among siblings, calibration.

Where the domain knows V^π, it is the truth; else the Monte-Carlo labels are. Siblings are judged then if their children
were labelled too.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from stepward.core.batch import Batch, repeat
from stepward.core.config import Plain
from stepward.core.interfaces import Proposer, RewardModel
from stepward.core.seeding import Rng
from stepward.evaluate.held_out import HeldOut
from stepward.evaluate.study_settings import ValueStudy
from stepward.evaluate.tables import Row
from stepward.rewards.calibrators import Calibrator, calibrate
from stepward.statistics.bootstrap import Estimate
from stepward.statistics.calibration import CalibrationError, expected_calibration_error, reliability_curve
from stepward.statistics.clusters import clustered_mean, clustered_spearman
from stepward.statistics.ranking import sibling_accuracy, sibling_spearman, top1_regret


def siblings(parents: Batch, ids: list[str], num_children: int, proposer: Proposer, seed: int) -> tuple[Batch, Batch]:
    """`num_children` children of every state, and the parent of each child, row-major."""
    rng = Rng.from_ids(seed, ids, "siblings")
    return repeat(parents, num_children), proposer.propose(parents, num_candidates=num_children, rng=rng)


def ranking_row(
    guide: RewardModel,
    states: Batch,
    truths: Float[np.ndarray, " n"],
    family: tuple[Batch, Batch] | None,
    family_truths: Float[np.ndarray, " c"] | None,
    study: ValueStudy,
    rng: np.random.Generator,
    confidence: float = 0.95,
) -> Row:
    """Rank correlation over states, and rank statistics within the sets of `family`, all with intervals.

    Args:
        guide: the guide.
        states: n held-out states. truths: their values.
        family: (parents, children), `study.num_children` rows a parent; None: not judged.
        family_truths: values of the children.
    """
    rho = clustered_spearman(guide.score(states, states), truths, states.problem, confidence)
    row: Row = {"num_states": len(truths), "num_problems": rho.num_units}
    row |= {"spearman": rho.value, "spearman_low": rho.low, "spearman_high": rho.high}
    if family is None or family_truths is None:
        return row
    sets = np.repeat(np.arange(len(family_truths) // study.num_children), study.num_children)
    scores = guide.score(*family)
    spread: dict[str, Any] = {"min_spread": study.min_spread, "clusters": family[0].problem}
    found = {
        "sibling_spearman": sibling_spearman(scores, family_truths, sets, rng=deepcopy(rng), **spread),
        "sibling_accuracy": sibling_accuracy(scores, family_truths, sets, rng=deepcopy(rng), **spread),
        "top1_regret": top1_regret(scores, family_truths, sets, rng=deepcopy(rng), **spread),
    }
    for name, estimate in found.items():
        row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return row | {"top1_accuracy": top1_accuracy(scores, family_truths, sets, study, rng), **_sets(found)}


def top1_accuracy(
    scores: Float[np.ndarray, " c"],
    truths: Float[np.ndarray, " c"],
    sets: Int[np.ndarray, " c"],
    study: ValueStudy,
    rng: np.random.Generator,
) -> float:
    """Share of sibling sets whose highest-scored child is one of the best; of tied children one is picked at random."""
    truth = truths.reshape(-1, study.num_children)
    wide = np.repeat(truth.max(axis=1) - truth.min(axis=1) > study.min_spread, study.num_children)
    best = (truth == truth.max(axis=1, keepdims=True)).reshape(-1).astype(np.float64)
    return 1.0 - top1_regret(scores[wide], best[wide], sets[wide], rng=rng).value


def calibration_row(
    predictions: Float[np.ndarray, " n"], held: HeldOut, study: ValueStudy, rng: np.random.Generator, confidence: float
) -> Row:
    """Brier scores and calibration errors of predictions, against Monte-Carlo labels and, where known, V^π."""
    shares = held.successes / held.num_rollouts
    bins: dict[str, Any] = {"num_bins": study.num_bins, "confidence": confidence, "clusters": held.states.problem}
    units: dict[str, Any] = {"clusters": held.states.problem, "confidence": confidence}
    row: Row = {
        "num_states": len(held),
        "mean_prediction": float(predictions.mean()),
        "mean_label": float(shares.mean()),
    }
    noise = shares * (1 - shares) / np.maximum(held.num_rollouts - 1, 1)
    row |= _mean("brier_monte_carlo", clustered_mean((predictions - shares) ** 2 - noise, rng=deepcopy(rng), **units))
    row |= _error("ece_monte_carlo", expected_calibration_error(predictions, shares, rng=deepcopy(rng), **bins))
    if held.exact is not None:
        row |= _mean("brier_exact", clustered_mean((predictions - held.exact) ** 2, rng=deepcopy(rng), **units))
        row |= _error("ece", expected_calibration_error(predictions, held.exact, rng=deepcopy(rng), **bins))
    return row


def reliability_rows(
    predictions: Float[np.ndarray, " n"], held: HeldOut, study: ValueStudy, confidence: float
) -> list[Row]:
    """The reliability curve against V^π where it is known, else against Monte-Carlo labels."""
    truths = held.successes / held.num_rollouts if held.exact is None else held.exact
    units: dict[str, Any] = {"confidence": confidence, "clusters": held.states.problem}
    curve = reliability_curve(predictions, truths, num_bins=study.num_bins, **units)
    return [{"bin": position, **asdict(point)} for position, point in enumerate(curve)]


def calibrated(
    predictions: Float[np.ndarray, " n"],
    calibrators: Mapping[str, Calibrator],
    budgets: Int[np.ndarray, " n"] | None = None,
) -> dict[str, Float[np.ndarray, " n"]]:
    """Predictions before calibration ("none") and after each."""
    return {"none": predictions} | {name: calibrate(c, predictions, budgets) for name, c in calibrators.items()}


def _mean(name: str, found: Estimate) -> Row:
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def _error(name: str, error: CalibrationError) -> Row:
    return {
        name: error.debiased,
        f"{name}_low": error.low,
        f"{name}_high": error.high,
        f"{name}_plug_in": error.plug_in,
    }


def _sets(found: Plain) -> Row:
    return {"num_sibling_sets": found["sibling_spearman"].num_units}
