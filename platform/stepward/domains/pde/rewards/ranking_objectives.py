"""Settings of what a reward model of candidates is trained for; `objectives` has the functions."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from torch import Tensor

from stepward.core.config import Config, one_of
from stepward.domains.pde.rewards import objectives


class TwoHinge(Config):
    """Best, median and worst apart by a margin."""

    kind: Literal["two_hinge"] = "two_hinge"
    margin: float = Field(0.2, gt=0, description="margin m; the paper has .1")

    def losses(self, scores: Tensor, errors: Tensor) -> Tensor:
        """See `objectives.two_hinge`."""
        return objectives.two_hinge(scores, errors, self.margin)


class BradleyTerry(Config):
    """All pairs."""

    kind: Literal["bradley_terry"] = "bradley_terry"
    min_gap: float = Field(0.0, ge=0, description="difference of log errors from which on a pair counts")

    def losses(self, scores: Tensor, errors: Tensor) -> Tensor:
        """See `objectives.bradley_terry`."""
        return objectives.bradley_terry(scores, errors, self.min_gap)


class Listwise(Config):
    """The whole list at once."""

    kind: Literal["listwise"] = "listwise"
    temperature: float = Field(1.0, gt=0, description="T of the target; small looks at the best alone")

    def losses(self, scores: Tensor, errors: Tensor) -> Tensor:
        """See `objectives.listwise`."""
        return objectives.listwise(scores, errors, self.temperature)


class Regression(Config):
    """The logarithm of the error itself."""

    kind: Literal["regression"] = "regression"

    def losses(self, scores: Tensor, errors: Tensor) -> Tensor:
        """See `objectives.regression`."""
        return objectives.regression(scores, errors)


OBJECTIVES: dict[str, type[Config]] = {
    "bradley_terry": BradleyTerry,
    "two_hinge": TwoHinge,
    "listwise": Listwise,
    "regression": Regression,
}
RankingObjective: Any = one_of(OBJECTIVES)
