"""Settings of the sample study: guides as judges of the same sampled solutions, at matched compute."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from stepward.core.config import Config
from stepward.rewards.aggregation import aggregation_named

SAMPLES = "samples"  # name of the search, in trials, whose arms choose among shared samples
MAJORITY = "majority"  # the arm that counts answers alike


class Choice(Config):
    """How one solution is chosen among several that a guide has scored."""

    rule: Literal["best", "vote"] = Field(
        "vote", description="best: the solution of highest value; vote: the answer of greatest total value"
    )
    aggregation: str = Field("product", description="value of a solution from its step scores, as in a search")

    def model_post_init(self, _: object) -> None:
        """Refuses an aggregation that does not exist."""
        aggregation_named(self.aggregation)

    def __str__(self) -> str:
        return f"{self.rule} {self.aggregation}"


class SampleStudy(Config):
    """Solutions sampled once for each problem; every guide chooses among the first N of the very same ones.

    Everything is tabulated: guides, aggregations, rules, N. Comparisons are between one choice a guide, to be made on
    the validation split, at equal numbers of floating-point operations, those of the guide included.
    """

    sizes: tuple[int, ...] = Field(
        (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16), min_length=2, description="numbers of samples N a problem"
    )
    aggregations: tuple[str, ...] = Field(
        ("product", "min", "mean", "last"),
        min_length=1,
        description="for guides whose step scores are probabilities",
    )
    choices: dict[str, Choice] = Field(
        {}, description="guide -> its choice in comparisons; not named: vote product, or best last where it only ranks"
    )
    champions: tuple[str, ...] = Field(
        ("prm",), min_length=1, description="guides that the other arms are compared with; the first answers the report"
    )
    rivals: tuple[str, ...] = Field(
        (MAJORITY,), description="further arms that searches are compared with at equal FLOPs; those that there are"
    )
    budgets: tuple[int, ...] = Field(
        (4, 6, 8, 12, 16), description="budgets of comparisons: the FLOPs of so many samples, without a guide"
    )
    budget: int = Field(16, description="the one of them that a claim rests on, chosen on validation")

    @model_validator(mode="after")
    def _consistent(self) -> SampleStudy:
        if list(self.sizes) != sorted(set(self.sizes)) or self.sizes[0] < 1:
            raise ValueError(f"samples.sizes: expected different numbers >= 1 in rising order, got {self.sizes}")
        beyond = [budget for budget in self.budgets if not self.sizes[0] <= budget <= self.sizes[-1]]
        if beyond:
            raise ValueError(f"samples.budgets: expected numbers within {self.sizes}, got {beyond}")
        if self.budget not in self.budgets:
            raise ValueError(f"samples.budget: expected one of samples.budgets {self.budgets}, got {self.budget}")
        for name in self.aggregations:
            aggregation_named(name)
        return self
