"""A reward model on the scale of its calibration."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from stepward.core.batch import Batch
from stepward.core.cost import Combinator, metered_reward
from stepward.core.interfaces import Domain, RewardModel
from stepward.rewards.calibrators import Calibrator, calibrate


class Calibrated(Combinator):
    """score = calibrator(inner score), a probability.

    Args:
        inner: the reward model the calibrator was fitted to.
        calibrator: temperature (for search), isotonic (for probabilities in reports) or by budget.
        domain: what the inner model is metered in.
        budgets: states -> steps left, for a calibration by budget.
    """

    def __init__(
        self,
        inner: RewardModel,
        calibrator: Calibrator,
        domain: Domain,
        budgets: Callable[[Batch], Int[np.ndarray, " n"]] | None = None,
    ) -> None:
        self._inner, self.calibrator, self._budgets = metered_reward(inner, domain), calibrator, budgets

    def score(self, parents: Batch, children: Batch) -> Float[np.ndarray, " n"]:
        """Calibrated probability of each child."""
        scores = self._inner.score(parents, children)
        return calibrate(self.calibrator, scores, None if self._budgets is None else self._budgets(children))
