"""The bag-of-words rival of step labels: logistic regression on the words and word pairs of a step.

It knows no arithmetic. Where it does well, labels are told apart by style: a judge that was trained on the same labels
has to be better than this.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from stepward.core.config import Config
from stepward.core.seeding import stable_hash
from stepward.domains.math.rewards.rivals import Counts, Regressor, WordPairs
from stepward.domains.math.states import MathStates
from stepward.rewards.logistic import fit_logistic

__all__ = ["StepWords"]

HELD_OUT = 5  # one question in so many chooses how strongly the regression is regularised


class StepWords(Config):
    """Logistic regression on hashed words and pairs of words of the last step."""

    kind: Literal["words"] = "words"
    num_features: int = Field(2**17, ge=2**8, description="words and pairs are hashed into so many")
    reach: int = Field(12, ge=0, description="words between two that still make a pair; 0: single words alone")

    def fit(
        self, states: MathStates, successes: np.ndarray, num_rollouts: np.ndarray, seed: int
    ) -> dict[str, np.ndarray]:
        """Weights `coefficients` [num_features] and `intercept` [1]; a step is right where half of its labels say so.

        Raises:
            ValueError: all labels are alike, so there is nothing to tell apart.
        """
        right = 2 * np.asarray(successes) >= np.asarray(num_rollouts)
        if right.all() or not right.any():
            raise ValueError("expected labels of both kinds, got all alike; label more problems")
        held = np.array([stable_hash(seed, question, "words") % HELD_OUT == 0 for question in states.question])
        features = self.features(states)
        return fit_logistic((features[~held], right[~held]), (features[held], right[held])).weights

    def reward(self, weights: Mapping[str, np.ndarray]) -> Regressor:
        """The reward model with these weights."""
        return Regressor(self, weights)

    def features(self, states: MathStates) -> Counts:
        """Presence of each word and pair of the last step, [n, num_features], sparse."""
        last = [steps[-1] if steps else "" for steps in states.steps()]
        pairs = WordPairs(num_features=self.num_features, reach=self.reach)
        return pairs.features(states.replace(text=np.array(last, object)))
