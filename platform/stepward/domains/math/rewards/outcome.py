"""The outcome model: the same network as the text reward model, of whole solutions only.

It is no more than a text model that neither learns from unfinished solutions nor speaks of them. Labels of finished
solutions are outcomes, whoever continued the others, so it learns from the same label artifact as a process model.

Source: Cobbe et al. 2021, "Training verifiers to solve math word problems", section 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np

from stepward.core.interfaces import Status
from stepward.domains.math.rewards.rows import padded
from stepward.domains.math.rewards.text import TextSettings
from stepward.domains.math.states import MathDomain, MathStates

if TYPE_CHECKING:
    from stepward.domains.math.rewards.text_scoring import OutcomeReward

__all__ = ["OutcomeModel"]


class OutcomeModel(TextSettings):
    """The probability that a finished solution is right; ½, a logit of 0, for every other state.

    So it can rank the solutions of a best-of-N search or weigh their votes; it cannot guide one that chooses between
    unfinished ones, which all tie.
    """

    kind: Literal["outcome"] = "outcome"

    def encode(self, states: MathStates) -> dict[str, np.ndarray]:
        """Token ids of prompt and solution, padded on the right with −1, [n, t].

        A state that is not complete is a row of −1: it has logit 0 and no gradient, and a training with an objective
        linear in its target meets all of them as one row.
        """
        complete = MathDomain().status(states) == Status.COMPLETE
        tokens = iter(self.tokens(states.take(complete)))
        return {"tokens": padded([next(tokens) if whole else [] for whole in complete])}

    def reward(self, weights: Mapping[str, np.ndarray]) -> OutcomeReward:
        """The reward model with these weights; those of the base are not read."""
        from stepward.domains.math.rewards.text_scoring import OutcomeReward

        return OutcomeReward(self.encode, self.network(pretrained=False), weights)
