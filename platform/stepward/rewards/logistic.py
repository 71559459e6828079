"""Logistic regression on outcomes: the small model that a trained guide must beat.

Fitted by scikit-learn; validation outcomes choose how strongly it is regularised, by their likelihood.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit

from stepward.core.rivals import FittedRival

STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)  # C, the inverse of the penalty


def fit_logistic(
    train: tuple[Any, Bool[np.ndarray, " n"]],
    validation: tuple[Any, Bool[np.ndarray, " v"]],
    strengths: tuple[float, ...] = STRENGTHS,
) -> FittedRival:
    """Coefficients [f] and intercept [1].

    Where training outcomes are all alike there is nothing to learn: coefficients are 0 and the score is one number, the
    share of successes (½ without any outcome). Without validation outcomes of both kinds, C is 0.1.

    Args:
        train, validation: features [n, f], dense or sparse, and outcomes.
        strengths: values of C to choose from.
    """
    from sklearn.linear_model import LogisticRegression

    features, right = train
    known = {"outcomes": len(right), "validation_outcomes": len(validation[1])}
    if not len(right) or right.all() or not right.any():
        share = (right.sum() + 0.5) / (len(right) + 1)
        constant = {
            "coefficients": np.zeros(features.shape[1], np.float32),
            "intercept": np.array([np.log(share / (1 - share))], np.float32),
        }
        nothing = {"C": "none: nothing to learn from, because all training outcomes are alike"}
        return FittedRival(constant, known | nothing)
    judged = bool(len(validation[1])) and not validation[1].all() and bool(validation[1].any())
    tried = []
    for strength in strengths if judged else (0.1,):
        model = LogisticRegression(C=strength, max_iter=300)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says so where it has not converged; validation judges what it found
            model.fit(features, right)
        loss = _loss(model.decision_function(validation[0]), validation[1]) if judged else 0.0
        tried.append((loss, strength, model))
    loss, strength, model = min(tried, key=lambda row: row[:2])
    weights = {"coefficients": model.coef_[0].astype(np.float32), "intercept": model.intercept_.astype(np.float32)}
    chosen = known | {"C": strength} | ({"validation_loss": round(loss, 6)} if judged else {})
    return FittedRival(weights, chosen)


def probabilities(features: Any, weights: Any) -> Float[np.ndarray, " n"]:
    """Of success, from features [n, f] and fitted weights."""
    logits = features @ np.asarray(weights["coefficients"], np.float64) + float(weights["intercept"][0])
    return expit(np.asarray(logits, np.float64))


def _loss(logits: np.ndarray, right: np.ndarray) -> float:
    """Mean negative log-likelihood, in nats."""
    return float(np.logaddexp(0.0, np.where(right, -logits, logits)).mean())
