"""Arms: what is compared in an evaluation. An arm is a proposer, a guide, a search and a budget.

Arms of one family meet the same problems and the same random numbers, and are compared with one another. A search in
which guides are compared is a family that is written once for all its guides; arms that differ in more are written out.
What is taken from the solutions that an arm found, the best or a vote, is a column of the trials.
"""

from __future__ import annotations

import math
from typing import Any

from pydantic import Field, field_validator

from stepward.core.config import Config, Plain
from stepward.core.cost import KINDS, Cost
from stepward.core.interfaces import Search
from stepward.rewards.guides import UNSCORED
from stepward.search.registry import build_search

WRITTEN_OUT = "arms"  # the family of the arms that are written out one by one
UNLIMITED = Cost(**dict.fromkeys(KINDS, math.inf))  # of searches that end by themselves, such as rollouts to a horizon


class Arm(Config):
    """One way to solve problems: who proposes, who scores, which search chooses, and what it may spend."""

    proposer: Any = Field(
        None,
        description="kind of proposer, with the settings of the labelled policy where it is that; or settings of one "
        "with its kind; none: that of the evaluation",
    )
    guide: str = Field(UNSCORED, description="name of the guide that scores; none: the first candidate is taken")
    search: dict[str, Any] = Field(
        {}, description="kind of the search and its settings; none: the best candidate of every step (argmax)"
    )
    limits: dict[str, float] = Field(
        {}, description="hard budget of a problem, kind of cost -> amount: nfe, flops, proposals, …; none: no limit"
    )
    step_factor: float = Field(1.0, gt=0, description="problems are given this many times their step budget")

    @field_validator("search")
    @classmethod
    def _known_search(cls, search: Plain) -> Plain:
        if search:
            build_search(search)
        return search

    @field_validator("limits")
    @classmethod
    def _known_limits(cls, limits: dict[str, float]) -> dict[str, float]:
        if limits:
            Cost.limit(**limits)
        return limits

    @property
    def budget(self) -> Cost:
        """The whole budget of a problem."""
        return Cost.limit(**self.limits) if self.limits else UNLIMITED

    def searched(self, num_candidates: int) -> Search:
        """The search: by default a beam of width 1 over so many candidates, or over one where nothing is chosen."""
        if self.search:
            return build_search(self.search)
        num = 1 if self.guide == UNSCORED else num_candidates
        return build_search({"kind": "beam", "width": 1, "num_candidates": num, "deduplicate": False})


class SearchPlan(Config):
    """One search in which guides are compared, all on the same problems: an arm a guide."""

    search: dict[str, Any] = Field(description="kind of the search and its settings")
    budget: int = Field(ge=1, description="expansions a problem may spend")
    proposer: str | None = Field(None, description="kind of proposer; none: that of the evaluation")
    guides: tuple[str, ...] = Field((), description="guides to compare in it; none named: all")
    step_factor: float = Field(1.0, gt=0, description="problems are given this many times their step budget")
    limits: dict[str, float] = Field(
        {}, description="further limits a problem, kind of cost -> amount: generated_tokens, flops, …"
    )

    def model_post_init(self, _: object) -> None:
        """Refuses a second limit of expansions, and settings that make no search."""
        if "expansions" in self.limits:
            raise ValueError("limits: expected other kinds than expansions, which budget limits")
        self.arm(UNSCORED)

    def arm(self, guide: str) -> Arm:
        """The arm of one guide."""
        shared = {"proposer": self.proposer, "search": self.search, "step_factor": self.step_factor}
        return Arm(guide=guide, limits={"expansions": self.budget} | self.limits, **shared)

    @property
    def anytime(self) -> bool:
        """Whether a run with a small budget begins one with a large budget: it ends at its first solution."""
        return getattr(build_search(self.search), "num_solutions", None) == 1

    @property
    def branching(self) -> int:
        """Children proposed of each expanded state; 1 in searches that sample solutions."""
        return getattr(build_search(self.search), "num_candidates", 1)
