"""A reward model on the scale of its calibration."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from stepward.core.cost import Combinator, metered_reward
from stepward.core.interfaces import Domain, RewardModel
from stepward.rewards.calibration import Calibrator


class Calibrated(Combinator):
    """score = calibrator(inner score), a probability.

    Args:
        inner: the reward model the calibrator was fitted to.
        calibrator: temperature (for search) or isotonic (for probabilities in reports): see `calibration`.
        domain: what the inner model is metered in.
    """

    def __init__(self, inner: RewardModel, calibrator: Calibrator, domain: Domain) -> None:
        self._inner, self.calibrator = metered_reward(inner, domain), calibrator

    def score(self, parents: Any, children: Any) -> Float[np.ndarray, " n"]:
        """Calibrated probability of each child."""
        return self.calibrator.apply(self._inner.score(parents, children))
