"""What a reward model is trained for: settings that turn Monte-Carlo counts into targets, weights and a loss.

Which to take is an open question in the literature (hard labels won after filtering in one report, soft ones in
another), so all are here. The soft and the binomial objective are proper: their optimum is the success probability. A
hard label asks another question: "is there any success among M?", whose answer grows with M.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Real
from pydantic import Field
from torch import Tensor

from stepward.core.config import Config, one_of
from stepward.train import losses


@runtime_checkable
class RowObjective(Protocol):
    """What a step descends: a loss of every row."""

    def row_losses(self, logits: Tensor, targets: Tensor, groups: Tensor | None) -> Tensor:
        """Loss of every row, [n], before its weight; rows of one group stand next to each other."""
        ...


class _Objective(Config):
    """Cross-entropy to a target per row, with a weight per row."""

    # Whether the loss is linear in the target, so that rows of equal inputs may be pooled into one without any change.
    LINEAR: ClassVar[bool] = True

    label_smoothing: float = Field(0.0, ge=0, lt=1, description="ε: targets become (1 − ε) y + ε/2; .1 is usual")

    def targets(
        self, successes: Real[np.ndarray, " n"], num_rollouts: Real[np.ndarray, " n"]
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Target y in [0, 1] and weight of every row; weights have the mean 1."""
        return successes / num_rollouts, np.ones(len(successes))

    def row_losses(self, logits: Tensor, targets: Tensor, groups: Tensor | None) -> Tensor:
        """Loss of every row, [n], before its weight."""
        return losses.bce(logits, losses.smooth(targets, self.label_smoothing))


class SoftBCE(_Objective):
    """Cross-entropy to the success share S / M; every row counts the same."""

    kind: Literal["soft_bce"] = "soft_bce"


class Binomial(_Objective):
    """Likelihood of S successes in M rollouts: as `soft_bce`, but rows count in proportion to M."""

    kind: Literal["binomial"] = "binomial"

    def targets(self, successes: np.ndarray, num_rollouts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """S / M, with weights M over their mean."""
        return successes / num_rollouts, num_rollouts / num_rollouts.mean()


class HardBCE(_Objective):
    """Cross-entropy to 1 where the success share exceeds a threshold, else 0."""

    kind: Literal["hard_bce"] = "hard_bce"
    threshold: float = Field(0.0, ge=0, lt=1, description="share of successes to exceed; 0: any success at all")

    def targets(self, successes: np.ndarray, num_rollouts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """0 or 1, with equal weights."""
        return (successes / num_rollouts > self.threshold).astype(np.float64), np.ones(len(successes))


class Focal(_Objective):
    """Cross-entropy to S / M that counts rows less the better they are predicted."""

    LINEAR: ClassVar[bool] = False
    kind: Literal["focal"] = "focal"
    gamma: float = Field(2.0, ge=0, description="γ: 0 is the plain cross-entropy, 2 is usual")

    def row_losses(self, logits: Tensor, targets: Tensor, groups: Tensor | None) -> Tensor:
        """See `losses.focal`."""
        return losses.focal(logits, losses.smooth(targets, self.label_smoothing), self.gamma)


class Pairwise(_Objective):
    """Cross-entropy to S / M plus α times the Bradley–Terry loss between rows of one group, such as one problem."""

    LINEAR: ClassVar[bool] = False
    kind: Literal["pairwise"] = "pairwise"
    alpha: float = Field(0.5, gt=0, description="α: weight of the pairwise term")
    min_gap: float = Field(0.1, ge=0, le=1, description="difference of success shares from which on a pair counts")
    group_by: str = Field("problem_id", description="label column whose equal values make a group of alternatives")

    def row_losses(self, logits: Tensor, targets: Tensor, groups: Tensor | None) -> Tensor:
        """Both terms, row by row; needs groups."""
        assert groups is not None, "examples of the pairwise objective carry groups"
        pairs = losses.pairwise(logits, targets, groups, self.min_gap)
        return super().row_losses(logits, targets, groups) + self.alpha * pairs


class BradleyTerry(Config):
    """Which of a group is better, for targets of any unit: the pairwise term alone."""

    kind: Literal["bradley_terry"] = "bradley_terry"
    min_gap: float = Field(0.0, ge=0, description="difference of targets from which on a pair counts")

    def row_losses(self, logits: Tensor, targets: Tensor, groups: Tensor | None) -> Tensor:
        """Loss of every row, [n], before its weight."""
        assert groups is not None, "given targets have groups"
        return losses.pairwise(logits, targets, groups, self.min_gap)


class Squared(Config):
    """The target itself."""

    kind: Literal["squared"] = "squared"

    def row_losses(self, logits: Tensor, targets: Tensor, groups: Tensor | None) -> Tensor:
        """Loss of every row, [n], before its weight."""
        return (logits - targets).pow(2)


OBJECTIVES: dict[str, type[_Objective]] = {
    "soft_bce": SoftBCE,
    "binomial": Binomial,
    "hard_bce": HardBCE,
    "focal": Focal,
    "pairwise": Pairwise,
}
Objective: Any = one_of(OBJECTIVES)
