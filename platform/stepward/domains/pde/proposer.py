"""Settings of the proposers that make one child of K candidates, with the generator and the reward they are made of."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from stepward.core.config import Config, one_of
from stepward.core.interfaces import RewardModel, rollout_policy
from stepward.domains.pde.generators import (
    GENERATORS,
    MeanOfK,
    NearestToMean,
    Patchwork,
    Select,
    StructuredSettings,
    WeightedMean,
)
from stepward.domains.pde.rewards import REWARDS, NearDeterministicSettings, TrainedSettings
from stepward.domains.pde.states import PDE
from stepward.rewards import Lookahead

_Generator: Any = one_of(GENERATORS)
_Reward: Any = one_of({"saved": TrainedSettings, **REWARDS})


class _Composing(Config):
    """What all of them ask for."""

    generator: _Generator = Field(StructuredSettings(), description="makes the candidates")
    num_candidates: int = Field(16, ge=2, description="candidates K of every state")


class MeanOfKSettings(_Composing):
    """The mean of K candidates."""

    kind: Literal["mean_of_k"] = "mean_of_k"

    def build(self) -> MeanOfK:
        return MeanOfK(self.generator.build(), PDE(), self.num_candidates)


class NearestToMeanSettings(_Composing):
    """The candidate nearest to the mean of K."""

    kind: Literal["near_mean"] = "near_mean"

    def build(self) -> NearestToMean:
        return NearestToMean(self.generator.build(), PDE(), self.num_candidates)


class SelectSettings(_Composing):
    """The best of K by a reward, after a lookahead where the lead is small."""

    kind: Literal["select"] = "select"
    reward: _Reward = Field(NearDeterministicSettings(), description="scores the candidates")
    lookahead: int = Field(0, ge=0, description="steps that candidates are rolled forward without chance; 0: none")
    discount: float = Field(1.0, gt=0, le=1, description="γ of the lookahead")
    margin: float | None = Field(
        None, gt=0, description="lead, in standard deviations of the scores, that needs no lookahead; none: always look"
    )

    def model_post_init(self, _: Any) -> None:
        if not self.lookahead and {"margin", "discount"} & self.model_fields_set:
            raise ValueError("margin and discount have no effect without lookahead; leave them out")

    def build(self) -> Select:
        domain, generator = PDE(), self.generator.build()
        reward: RewardModel = self.reward.build(domain)
        if not self.lookahead:
            return Select(generator, reward, domain, self.num_candidates)
        ahead = Lookahead(reward, rollout_policy(generator), domain, depth=self.lookahead, discount=self.discount)
        margin = float("inf") if self.margin is None else self.margin
        return Select(generator, reward, domain, self.num_candidates, refined=ahead, margin=margin)


class WeightedMeanSettings(_Composing):
    """The mean of K candidates, weighed by a reward."""

    kind: Literal["weighted_mean"] = "weighted_mean"
    reward: _Reward = Field(NearDeterministicSettings(), description="scores the candidates")
    temperature: float = Field(0.5, gt=0, description="T of softmax(z / T), z standardised scores")

    def build(self) -> WeightedMean:
        domain = PDE()
        reward = self.reward.build(domain)
        return WeightedMean(self.generator.build(), reward, domain, self.num_candidates, temperature=self.temperature)


class PatchworkSettings(_Composing):
    """The best of K patch by patch, or a blend."""

    kind: Literal["patchwork"] = "patchwork"
    reward: TrainedSettings = Field(TrainedSettings(), description="a trained reward model with a score map")
    patch: int = Field(8, ge=1, description="cells of a patch along an axis")
    temperature: float = Field(0.0, ge=0, description="T of the blend; 0 takes the best of each patch")
    smooth: bool = Field(True, description="interpolate weights between patches: no seams")

    def build(self) -> Patchwork:
        domain = PDE()
        options = {"patch": self.patch, "temperature": self.temperature, "smooth": self.smooth}
        return Patchwork(self.generator.build(), self.reward.build(domain), domain, self.num_candidates, **options)  # type: ignore[arg-type]


COMPOSING: dict[str, type[Config]] = {
    "mean_of_k": MeanOfKSettings,
    "near_mean": NearestToMeanSettings,
    "select": SelectSettings,
    "weighted_mean": WeightedMeanSettings,
    "patchwork": PatchworkSettings,
}
