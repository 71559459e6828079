"""Several reward models of one kind as one: their mean, or a careful reading of their disagreement.

A search picks maxima, and so picks out a single model's over-estimates; the minimum or a lower confidence bound of
several models trained with other seeds resists that. Source: Coste et al. 2024, "Reward model ensembles help mitigate
overoptimization" (mean, worst case, and variance-penalised optimisation).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from stepward.core.batch import Batch
from stepward.core.cost import Combinator, metered_reward
from stepward.core.interfaces import Domain, RewardModel

REDUCTIONS = ("mean", "min", "lower_bound")


class Ensemble(Combinator):
    """Mean, minimum, or mean − c · standard deviation over the members' scores.

    Args:
        members: at least one; all are evaluated and charged.
        domain: what the members are metered in.
        reduction: "mean", "min" or "lower_bound".
        num_deviations: c of "lower_bound", in population standard deviations of the members; 1 is a good start.
    """

    def __init__(
        self,
        members: Sequence[RewardModel],
        domain: Domain,
        *,
        reduction: str = "mean",
        num_deviations: float = 1.0,
    ) -> None:
        if not members:
            raise ValueError("Ensemble: expected at least one member, got none.")
        if reduction not in REDUCTIONS:
            raise ValueError(f"Ensemble: expected reduction among {list(REDUCTIONS)}, got {reduction!r}.")
        if not num_deviations >= 0:
            raise ValueError(f"Ensemble: expected num_deviations >= 0, got {num_deviations}.")
        self._members = [metered_reward(member, domain) for member in members]
        self.reduction, self.num_deviations = reduction, num_deviations

    def score(self, parents: Batch, children: Batch) -> Float[np.ndarray, " n"]:
        """Reduced score of each child."""
        scores = np.stack([member.score(parents, children) for member in self._members])
        if self.reduction == "min":
            return scores.min(axis=0)
        careful = self.num_deviations if self.reduction == "lower_bound" else 0.0
        return scores.mean(axis=0) - careful * scores.std(axis=0)
