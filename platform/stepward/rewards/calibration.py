"""Calibration after training: a monotone map from scores to success probabilities, fitted on Monte-Carlo labels.

Fit on the validation split, never on the test split (the calibration reported there would be that of the fit), and
preferably not on the training split (a model is over-confident exactly there).

Both maps keep the order of single scores, so a search that ranks by the last score alone gains nothing from them;
products, means and thresholds do. `TemperatureScaling` keeps it strictly. `IsotonicCalibration` is a staircase: scores
on one step become *ties*, which a search then breaks blindly. Use isotonic to report probabilities, temperature to
search; or rank by the raw score and gate by the isotonic one. A map for every budget is in `budget_calibration`.

Sources: Guo et al. 2017, "On calibration of modern neural networks", section 4.2; Zadrozny and Elkan 2002,
"Transforming classifier scores into accurate multiclass probability estimates".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Real
from scipy.optimize import brentq, isotonic_regression
from scipy.special import expit, logit

from stepward.core.config import Plain

EDGE = 1e-6  # probabilities are kept this far from 0 and 1 before their logit is taken
LOG_TEMPERATURE_RANGE = (np.log(0.01), np.log(100.0))


@dataclass(frozen=True)
class TemperatureScaling:
    """p = sigmoid(z / T) for a logit z. T > 1 softens an over-confident model, T < 1 sharpens a timid one.

    Attributes:
        temperature: T, within [0.01, 100].
        scores_are: what is scored, "logits" or "probabilities" (z is then their logit).
    """

    temperature: float
    scores_are: Literal["logits", "probabilities"] = "probabilities"

    def __post_init__(self) -> None:
        if self.scores_are not in ("logits", "probabilities"):
            raise ValueError(f"Expected scores_are 'logits' or 'probabilities', got {self.scores_are!r}.")
        if not (0 < self.temperature < np.inf):
            raise ValueError(f"Expected a finite temperature > 0, got {self.temperature}.")

    @classmethod
    def fit(
        cls,
        scores: Real[np.ndarray, " n"],
        successes: Real[np.ndarray, " n"],
        num_rollouts: Real[np.ndarray, " n"],
        *,
        scores_are: Literal["logits", "probabilities"] = "probabilities",
    ) -> TemperatureScaling:
        """The T of greatest binomial likelihood Σ S log p + (M - S) log (1 - p).

        The likelihood is concave in 1 / T, so T is the root of its slope. It ends at 0.01 if the labels are separable,
        and at 100 (p near 1/2) if the scores say nothing, or order the outcomes the wrong way round.
        """
        s, m = checked_counts(scores, successes, num_rollouts)
        z = logits_of(np.asarray(scores, np.float64), scores_are)

        def slope(log_temperature: float) -> float:
            return float(z @ (s - m * expit(z * np.exp(-log_temperature)))) / m.sum()

        low, high = LOG_TEMPERATURE_RANGE  # the slope in 1 / T falls with 1 / T, so it rises with T
        if slope(low) >= 0:
            return cls(float(np.exp(low)), scores_are)
        if slope(high) <= 0:
            return cls(float(np.exp(high)), scores_are)
        return cls(float(np.exp(brentq(slope, low, high, xtol=1e-10))), scores_are)

    def apply(self, scores: Real[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """sigmoid(z / T). A probability of 0 or 1 is first taken as 1e-6 away from it."""
        return expit(logits_of(np.asarray(scores, np.float64), self.scores_are) / self.temperature)

    def to_dict(self) -> dict[str, object]:
        """Kind, temperature and the unit of the scores."""
        return {"kind": "temperature", "temperature": self.temperature, "scores_are": self.scores_are}

    @classmethod
    def from_dict(cls, data: Plain) -> TemperatureScaling:
        """The inverse of `to_dict`."""
        return cls(float(data["temperature"]), data["scores_are"])


@dataclass(frozen=True)
class IsotonicCalibration:
    """The non-decreasing map closest to the labels, linear between its knots and constant beyond them.

    Attributes:
        scores: knots, strictly ascending; any unit, so distances and likelihoods may be calibrated too.
        probabilities: their images in [0, 1], non-decreasing.
    """

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __post_init__(self) -> None:
        x, y = np.array(self.scores), np.array(self.probabilities)
        if not (
            len(x) == len(y) > 0 and (np.diff(x) > 0).all() and (np.diff(y) >= 0).all() and y[0] >= 0 and y[-1] <= 1
        ):
            raise ValueError("Expected ascending scores with as many non-decreasing probabilities in [0, 1].")

    @classmethod
    def fit(
        cls,
        scores: Real[np.ndarray, " n"],
        successes: Real[np.ndarray, " n"],
        num_rollouts: Real[np.ndarray, " n"],
    ) -> IsotonicCalibration:
        """Weighted least squares of S / M with weights M, which for a monotone map is the binomial likelihood too.

        Wants about a thousand rows or more; with fewer prefer a temperature.
        """
        s, m = checked_counts(scores, successes, num_rollouts)
        knots, index = np.unique(np.asarray(scores, np.float64), return_inverse=True)
        weights = np.bincount(index.reshape(-1), m)
        shares = np.bincount(index.reshape(-1), s) / weights
        fitted = np.clip(isotonic_regression(shares, weights=weights).x, 0.0, 1.0)
        # Inside a plateau no knot is needed.
        inner = np.r_[False, (fitted[1:-1] == fitted[:-2]) & (fitted[1:-1] == fitted[2:]), False][: len(knots)]
        return cls(tuple(knots[~inner].tolist()), tuple(fitted[~inner].tolist()))

    def apply(self, scores: Real[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Interpolated probabilities."""
        _require_no_nan(scores)
        return np.interp(np.asarray(scores, np.float64), self.scores, self.probabilities)

    def to_dict(self) -> dict[str, object]:
        """Kind and knots."""
        return {"kind": "isotonic", "scores": list(self.scores), "probabilities": list(self.probabilities)}

    @classmethod
    def from_dict(cls, data: Plain) -> IsotonicCalibration:
        """The inverse of `to_dict`."""
        return cls(tuple(map(float, data["scores"])), tuple(map(float, data["probabilities"])))


def logits_of(scores: np.ndarray, scores_are: str) -> np.ndarray:
    """Logits of scores that are probabilities, kept from 0 and 1, or logits already."""
    _require_no_nan(scores)
    if scores_are == "logits":
        return scores
    if not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError(
            f"Expected probabilities, got scores in [{scores.min():g}, {scores.max():g}]: "
            "say scores_are='logits', or fit IsotonicCalibration for scores of another kind."
        )
    return logit(np.clip(scores, EDGE, 1 - EDGE))


def checked_counts(
    scores: np.ndarray, successes: np.ndarray, num_rollouts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """S and M as float arrays, checked against the scores."""
    s, m = np.asarray(successes, np.float64), np.asarray(num_rollouts, np.float64)
    if not (len(scores) == len(s) == len(m) > 0):
        raise ValueError(f"Expected as many labels as scores, and at least one; got {len(scores)}, {len(s)}, {len(m)}.")
    if not np.isfinite(scores).all():
        raise ValueError("Expected finite scores to fit on.")
    if not ((m > 0) & (s >= 0) & (s <= m)).all():
        raise ValueError("Expected 0 <= successes <= num_rollouts and num_rollouts > 0 in every row.")
    return s, m


def _require_no_nan(scores: np.ndarray) -> None:
    if np.isnan(scores).any():
        raise ValueError("Expected numbers as scores, got NaN: look at the reward model that made them.")
