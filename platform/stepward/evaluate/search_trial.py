"""One trial of a sweep over how a search is guided: weights of guides, kind of search, aggregation.

Nothing is trained. A trial searches the validation problems, each within the same hard budget, and is judged by the
share that it does not solve.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pyarrow.compute as pc
from jaxtyping import Float
from pydantic import Field, create_model, model_validator

from stepward.core.artifacts import Artifact
from stepward.core.config import Config, one_of
from stepward.core.interfaces import RewardModel
from stepward.core.registry import plugins
from stepward.core.stage import StageSettings
from stepward.core.wing import Wing
from stepward.evaluate.proposers import Proposers
from stepward.evaluate.search_study import search_outcomes
from stepward.evaluate.settings import SearchPlan, evaluate_settings
from stepward.rewards.factory import Guides, scale_of
from stepward.rewards.guides import COMBINED, CompositeGuide, GuidePart
from stepward.search.registry import SEARCHES

COSTS = ("expansions", "generated_tokens", "scored_tokens", "flops")
TRIAL = "trial"  # name of the guide that the weighted ones make


class SearchTrial(StageSettings):
    """Settings of a trial; `search_trial_settings` adds the guides of a domain."""

    labels: str = Field("default", description="label artifact whose validation problems are searched")
    num_problems: int | None = Field(None, ge=2, description="only the first so many problems; none: all")
    proposer: str = Field(description="kind of proposer; of the labelled policy it has the settings")
    search: one_of(SEARCHES | plugins("searches")) = Field(  # type: ignore[valid-type]
        SEARCHES["best_first"](), description="the search"
    )
    weights: Any
    log_scale: bool = Field(
        False, description="probabilities count by their logs, weights are exponents, and sum is the product of a path"
    )
    answer: Literal["best", "vote"] = Field(
        "best", description="the solution of highest value, or the answer of greatest total value"
    )
    expansions: int = Field(64, ge=1, description="states that the search of a problem may expand")
    flops: float | None = Field(None, gt=0, description="operations that it may spend, guides included; none: no limit")

    @property
    def fitted_at_once(self) -> bool:
        """A trial has no epochs."""
        return True

    @model_validator(mode="after")
    def _makes_sense(self) -> SearchTrial:
        if not self.used():
            raise ValueError(f"weights: expected one above 0 at least, got {self.weights}")
        if self.answer == "vote" and (self.log_scale or self.wing.answers is None):
            why = "logs weigh no votes" if self.log_scale else f"solutions of {self.domain!r} state no answer"
            raise ValueError(f"answer: expected best, because {why}, got vote")
        if self.log_scale and self.search.scoring.aggregation == "product":
            raise ValueError(
                "search.scoring.aggregation: expected sum with log_scale, which is the product, got product"
            )
        return self

    @property
    def plan(self) -> SearchPlan:
        """The search as an evaluation knows it."""
        limits = {} if self.flops is None else {"flops": self.flops}
        return SearchPlan(search=self.search.model_dump(), budget=self.expansions, limits=limits)

    def used(self) -> dict[str, float]:
        """Guide -> weight, of those that have one."""
        weights = {name: float(getattr(self.weights, name)) for name in type(self.weights).model_fields}
        return {name: weight for name, weight in weights.items() if weight > 0}

    def guides(self) -> dict[str, Any]:
        """The guides in use as settings of an evaluation, with the one they make as `TRIAL` where they make one."""
        single, used = _single_guides(self.wing), self.used()
        found = {name: single[name] for name in used}
        if len(used) == 1 and not self.log_scale:
            return found
        parts = {
            name: GuidePart(
                weight=weight,
                transform="log" if self.log_scale and scale_of(name, single, self.wing) == "probability" else "none",
            )
            for name, weight in used.items()
        }
        return found | {TRIAL: CompositeGuide(parts=parts, log_scale=self.log_scale)}


def search_trial_settings(wing: Wing) -> type[SearchTrial]:
    """Settings of a trial for a domain: a weight for each of the guides that do not combine others."""
    single = _single_guides(wing)
    weights: dict[str, Any] = {
        name: (float, Field(float(name == next(iter(single))), ge=0, description=f"weight of {name}; 0: left out"))
        for name in single
    }
    made: Any = create_model("Weights", __base__=Config, __module__=__name__, **weights)
    proposer = evaluate_settings(wing).model_fields["proposer"]
    fields: dict[str, Any] = {
        "domain": (str, Field(wing.name, description="which domain: the name of an installed wing")),
        "proposer": (str, Field(proposer.default, description=SearchTrial.model_fields["proposer"].description)),
        "weights": (made, Field(made(), description="of guides: a trained one, or one that needs no training")),
    }
    return create_model("SearchTrial", __base__=SearchTrial, __module__=__name__, **fields)


def search_trial_inputs(trial: SearchTrial) -> dict[str, Artifact]:
    """Artifacts that a trial reads beside the labels."""
    return Guides(trial.guides(), store=trial.store, wing=trial.wing).artifacts()


def judge_search(trial: SearchTrial) -> tuple[Float[np.ndarray, " p"], dict[str, float]]:
    """1 for every validation problem that is not solved, in the order of their ids, and the mean cost of a problem."""
    wing, labels = trial.wing, trial.artifact("label", trial.labels)
    problems = labels.folder.read_table("problems.parquet").sort_by("id")
    problems = problems.filter(pc.equal(problems["split"], "validation")).slice(0, trial.num_problems or len(problems))
    proposers = Proposers(wing, trial.here(labels.manifest().identity["proposer"]))
    outcomes = search_outcomes(
        problems.combine_chunks(),
        trial.plan,
        guide=_guide(trial, proposers),
        proposer=proposers(trial.proposer),
        wing=wing,
        seed=trial.seed,
    )
    right = outcomes["voted" if trial.answer == "vote" else "solved"].to_numpy(zero_copy_only=False)
    return 1.0 - right.astype(np.float64), {f"mean_{kind}": float(pc.mean(outcomes[kind]).as_py()) for kind in COSTS}


def _guide(trial: SearchTrial, proposers: Proposers) -> RewardModel:
    guides = trial.guides()
    name = TRIAL if TRIAL in guides else next(iter(guides))
    return Guides(guides, store=trial.store, wing=trial.wing, proposers=proposers)[name]


def _single_guides(wing: Wing) -> dict[str, Any]:
    """The guides of an evaluation of the domain that are not made of others."""
    guides = evaluate_settings(wing).model_fields["guides"].default
    return {name: guide for name, guide in guides.items() if not isinstance(guide, COMBINED)}
