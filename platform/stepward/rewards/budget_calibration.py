"""Calibration that asks how many steps are left: a model that is right on average can be wrong at every budget."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Real
from scipy.optimize import minimize
from scipy.special import expit

from stepward.core.config import Plain
from stepward.rewards.calibration import checked_counts, logits_of

MIN_ROWS = 200  # of a group of budgets: two parameters are fitted to it
SLOPES, SHIFTS = (0.01, 100.0), (-20.0, 20.0)


@dataclass(frozen=True)
class BudgetCalibration:
    """p = sigmoid(a_g z + c_g) for the logit z of a probability, with a slope and a shift for every group of budgets.

    Siblings have one budget, so their order stays; that of states with different budgets may change, which is what it
    is for. A budget that was not fitted is treated as the nearest that was.

    Source of the two-parameter form: Platt 1999, "Probabilistic outputs for support vector machines".

    Attributes:
        budgets: least budget of each group, strictly ascending; any integers that grow with the steps left.
        slopes: a_g > 0. shifts: c_g.
    """

    budgets: tuple[int, ...]
    slopes: tuple[float, ...]
    shifts: tuple[float, ...]

    def __post_init__(self) -> None:
        if not (len(self.budgets) == len(self.slopes) == len(self.shifts) > 0 and (np.diff(self.budgets) > 0).all()):
            raise ValueError("Expected ascending budgets with as many slopes and shifts.")
        if not (min(self.slopes) > 0 and np.isfinite([*self.slopes, *self.shifts]).all()):
            raise ValueError(f"Expected finite slopes above 0 and finite shifts, got {self.slopes}, {self.shifts}.")

    @classmethod
    def fit(
        cls,
        scores: Real[np.ndarray, " n"],
        successes: Real[np.ndarray, " n"],
        num_rollouts: Real[np.ndarray, " n"],
        budgets: Int[np.ndarray, " n"],
        *,
        min_rows: int = MIN_ROWS,
    ) -> BudgetCalibration:
        """Slope and shift of greatest binomial likelihood in every group.

        Args:
            scores: probabilities.
            budgets: steps left, row by row.
            min_rows: neighbouring budgets share a group until it has so many rows.
        """
        s, m = checked_counts(scores, successes, num_rollouts)
        z = logits_of(np.asarray(scores, np.float64), "probabilities")
        found = [(first, *_platt(z[rows], s[rows], m[rows])) for first, rows in _groups(np.asarray(budgets), min_rows)]
        return cls(*(tuple(column) for column in zip(*found, strict=True)))

    def apply(self, scores: Real[np.ndarray, " n"], budgets: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Calibrated probabilities; a probability of 0 or 1 is first taken as 1e-6 away from it."""
        group = np.maximum(np.searchsorted(self.budgets, budgets, side="right") - 1, 0)
        z = logits_of(np.asarray(scores, np.float64), "probabilities")
        return expit(np.asarray(self.slopes)[group] * z + np.asarray(self.shifts)[group])

    def to_dict(self) -> dict[str, object]:
        """Kind and groups."""
        return {
            "kind": "budget",
            "budgets": list(self.budgets),
            "slopes": list(self.slopes),
            "shifts": list(self.shifts),
        }

    @classmethod
    def from_dict(cls, data: Plain) -> BudgetCalibration:
        """The inverse of `to_dict`."""
        floats = (tuple(map(float, data[name])) for name in ("slopes", "shifts"))
        return cls(tuple(map(int, data["budgets"])), *floats)


def _groups(budgets: np.ndarray, min_rows: int) -> Iterator[tuple[int, np.ndarray]]:
    """Least budget and rows of each group, from the least on; what is left over at the end joins the last group."""
    values, counts = np.unique(budgets, return_counts=True)
    firsts, held = [int(values[0])], 0
    for value, count in zip(values, counts, strict=True):
        if held >= min_rows and counts[values >= value].sum() >= min_rows:
            firsts.append(int(value))
            held = 0
        held += int(count)
    for first, end in zip(firsts, [*firsts[1:], np.inf], strict=True):
        yield first, np.flatnonzero((budgets >= first) & (budgets < end))


def _platt(z: np.ndarray, s: np.ndarray, m: np.ndarray) -> tuple[float, float]:
    """Slope and shift of greatest likelihood; the problem is concave."""

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        y = parameters[0] * z + parameters[1]
        slope = (m * expit(y) - s) / m.sum()
        value = float((m * np.logaddexp(0.0, y) - s * y).sum() / m.sum())
        return value, np.array([slope @ z, slope.sum()])

    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[SLOPES, SHIFTS])
    return float(found.x[0]), float(found.x[1])
