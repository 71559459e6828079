"""All calibrations by name: fitting them together, reading them back, applying any of them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, Real

from stepward.core.config import Plain
from stepward.core.registry import lookup
from stepward.rewards.budget_calibration import BudgetCalibration
from stepward.rewards.calibration import IsotonicCalibration, TemperatureScaling

Calibrator = TemperatureScaling | IsotonicCalibration | BudgetCalibration

CALIBRATORS: dict[str, type[TemperatureScaling] | type[IsotonicCalibration] | type[BudgetCalibration]] = {
    "temperature": TemperatureScaling,
    "isotonic": IsotonicCalibration,
    "budget": BudgetCalibration,
}


def fit_calibrators(
    scores: Real[np.ndarray, " n"],
    successes: Real[np.ndarray, " n"],
    num_rollouts: Real[np.ndarray, " n"],
    budgets: Int[np.ndarray, " n"] | None = None,
) -> dict[str, Calibrator]:
    """Every calibration of these probabilities, by name; "budget" only where budgets are known."""
    counts = scores, successes, num_rollouts
    found: dict[str, Calibrator] = {
        "temperature": TemperatureScaling.fit(*counts),
        "isotonic": IsotonicCalibration.fit(*counts),
    }
    return found if budgets is None else found | {"budget": BudgetCalibration.fit(*counts, budgets)}


def calibrate(
    calibrator: Calibrator, scores: Real[np.ndarray, " n"], budgets: Int[np.ndarray, " n"] | None
) -> Float[np.ndarray, " n"]:
    """Calibrated probabilities.

    Raises:
        ValueError: the calibration asks for budgets and there are none.
    """
    if not isinstance(calibrator, BudgetCalibration):
        return calibrator.apply(scores)
    if budgets is None:
        raise ValueError("Calibration by budget: expected a domain that says how many steps a state has left.")
    return calibrator.apply(scores, budgets)


def calibrator_from_dict(data: Plain) -> Calibrator:
    """The calibrator that `to_dict` described; an unknown kind is an error that lists the known ones."""
    return lookup(CALIBRATORS, str(data.get("kind")), kind="calibrator").from_dict(data)
