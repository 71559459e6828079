"""Settings of the proposer that hands on the best of K candidates: the policy of a guided rollout."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from stepward.core.config import Config, one_of
from stepward.domains.pde.generators import GENERATORS, StructuredSettings
from stepward.domains.pde.rewards import REWARDS, NearDeterministicSettings, TrainedSettings
from stepward.domains.pde.states import PDE
from stepward.search.greedy import Greedy

_Generator: Any = one_of(GENERATORS)
_Reward: Any = one_of({"saved": TrainedSettings, **REWARDS})


class SelectSettings(Config):
    """The best of K by a reward, as a policy: for the states that such a rule would meet."""

    kind: Literal["select"] = "select"
    generator: _Generator = Field(StructuredSettings(), description="makes the candidates")
    num_candidates: int = Field(16, ge=2, description="candidates K of every state")
    reward: _Reward = Field(NearDeterministicSettings(), description="scores the candidates")

    def build(self) -> Greedy:
        """The policy."""
        domain = PDE()
        return Greedy(self.generator.build(), self.reward.build(domain), domain, self.num_candidates)


POLICIES: dict[str, type[Config]] = {"select": SelectSettings}
