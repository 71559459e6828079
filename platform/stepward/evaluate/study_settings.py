"""Settings of the studies that an evaluation may hold beside its trials; those a domain cannot have are none."""

from __future__ import annotations

from pydantic import Field

from stepward.core.config import Config


class ValueStudy(Config):
    """How well guides predict the success probability of held-out partial solutions."""

    max_states: int = Field(6000, ge=1, description="held-out partial solutions judged one by one; coverage uses all")
    max_parents: int = Field(3000, ge=1, description="of these, states whose children are ranked")
    num_children: int = Field(6, ge=2, description="children of each such state")
    sibling_rollouts: int = Field(
        0,
        ge=0,
        description="rollouts of each child where true values are unknown; 0: siblings are not judged then",
    )
    min_spread: float = Field(
        0.02, ge=0, description="sibling sets count when their true values differ by more than this"
    )
    num_bins: int = Field(15, ge=1, description="bins of equal mass for the calibration error")
    budget_factors: tuple[float, ...] = Field(
        (0.5, 1.0, 2.0), description="remaining steps are multiplied by these for the robustness table"
    )


class DividendStudy(Config):
    """What several candidates gain over one, predicted and realised."""

    num_parents: int = Field(2000, ge=1, description="held-out states")
    num_candidates: tuple[int, ...] = Field((2, 4, 8), description="candidates k of each state")


class RankingStudy(Config):
    """How well guides order the candidates of held-out states, of which labels keep the error of every one."""

    guides: tuple[str, ...] | None = Field(
        None, description="guides that are judged; none: all but those that combine others or know the truth"
    )
    max_states: int = Field(200, ge=2, description="held-out states whose candidates are ranked, all of each")
    reference: str | None = Field(None, description="guide that the others are held against; none: no comparison")


class PictureStudy(Config):
    """What one arm saw at every step, for drawing."""

    arm: str = Field(description="arm whose candidates are drawn")
    num_problems: int = Field(2, ge=1, description="problems that are drawn")
