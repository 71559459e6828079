"""One trial of a sweep over how arms are guided: weights of guides, search, lookahead, budget. Nothing is trained.

A trial runs one arm on the validation problems, and is judged by the measure of the domain.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float
from pydantic import Field, create_model, model_validator

from stepward.core.artifacts import Artifact
from stepward.core.config import Config, one_of
from stepward.core.measures import Measure, measure_named, measures_of
from stepward.core.registry import plugins
from stepward.core.stage import StageSettings
from stepward.core.wing import Wing
from stepward.evaluate.arms import Arm
from stepward.evaluate.errors import ArmValues
from stepward.evaluate.proposers import Proposers
from stepward.evaluate.settings import evaluate_settings
from stepward.evaluate.trials import BEST, needs_tree, run_arm, trial_table
from stepward.rewards.composite import SIBLINGS
from stepward.rewards.factory import Guides, scale_of
from stepward.rewards.guides import COMBINED, UNSCORED, CompositeGuide, GuidePart, LookaheadGuide, OracleGuide, reached
from stepward.search.registry import SEARCHES, build_search

COSTS = ("expansions", "nfe", "generated_tokens", "scored", "scored_tokens", "flops")
TRIAL, AHEAD = "trial", "ahead"  # names of the guides that the weighted ones make
CHOICE = {"kind": "beam", "width": 1, "num_candidates": 16, "deduplicate": False}  # the best candidate of every step


class ArmTrial(StageSettings):
    """Settings of a trial; `arm_trial_settings` adds the guides, proposers and measures of a domain."""

    labels: str = Field("default", description="label artifact whose validation problems are solved")
    num_problems: int | None = Field(None, ge=2, description="only the first so many problems; none: all")
    proposer: Any = Field(None, description="a kind, or settings of one; none: the policy that was labelled")
    search: Any
    weights: Any
    scale: Literal["scores", "logs", "siblings"] = Field(
        description="of the guides before they are weighed: scores as they are; logs of probabilities, so that weights "
        "are exponents and sum is the product of a path; or standardised among siblings"
    )
    lookahead: int = Field(0, ge=0, description="steps h that candidates are rolled forward")
    discount: float = Field(1.0, gt=0, le=1, description="γ of the lookahead")
    answer: Literal["best", "vote"] = Field(
        "best", description="the solution of highest value, or the answer of greatest total value"
    )
    expansions: int | None = Field(None, ge=1, description="states that a problem may expand; none: no limit")
    flops: float | None = Field(None, gt=0, description="operations that it may spend, guides included; none: no limit")
    measure: str = Field(description="measure that trials are judged by")
    blow_up: float | None = Field(None, description="value beyond which a trial of steps counts as blown up")

    @property
    def fitted_at_once(self) -> bool:
        """A trial has no epochs."""
        return True

    @property
    def headline(self) -> Measure:
        """The measure that trials are judged by."""
        return measure_named(self.wing.verifier(), self.measure)

    @model_validator(mode="after")
    def _makes_sense(self) -> ArmTrial:
        if self.headline.binary and not self.used():
            raise ValueError(f"weights: expected one above 0 at least, got {self.weights}")
        if self.answer == "vote" and (self.scale == "logs" or self.wing.answers is None):
            why = "logs weigh no votes" if self.scale == "logs" else f"solutions of {self.domain!r} state no answer"
            raise ValueError(f"answer: expected best, because {why}, got vote")
        scoring = getattr(self.search, "scoring", None)
        if self.scale == "logs" and scoring is not None and scoring.aggregation == "product":
            raise ValueError(
                "search.scoring.aggregation: expected sum with scale=logs, which is the product, got product"
            )
        return self

    def used(self) -> dict[str, float]:
        """Guide -> weight, of those that have one."""
        weights = {name: float(getattr(self.weights, name)) for name in type(self.weights).model_fields}
        return {name: weight for name, weight in weights.items() if weight > 0}

    def guides(self) -> dict[str, object]:
        """The guides in use, and what is made of them; the last is that of the trial. None where nothing is chosen."""
        single, used = single_guides(self.wing), self.used()
        found = {name: single[name] for name in used}
        if len(used) > 1 or (used and self.scale == "logs"):
            parts = {name: GuidePart(weight=w, transform=self._transform(name, single)) for name, w in used.items()}
            found[TRIAL] = CompositeGuide(parts=parts, log_scale=self.scale == "logs")
        if self.lookahead and found:
            reading: Literal["sum", "last"] = "last" if self.headline.binary else "sum"
            ahead = {"depth": self.lookahead, "discount": self.discount, "reading": reading}
            found[AHEAD] = LookaheadGuide(guide=list(found)[-1], **ahead)
        return found

    def arm(self) -> Arm:
        """The arm that is tried; where no guide has a weight, the first candidate is taken."""
        guides = self.guides()
        limits = {"expansions": self.expansions, "flops": self.flops}
        return Arm(
            guide=list(guides)[-1] if guides else UNSCORED,
            search=self.search.model_dump() if guides else {},
            limits={kind: float(limit) for kind, limit in limits.items() if limit is not None},
        )

    def _transform(self, name: str, single: Mapping[str, object]) -> str:
        if self.scale == "siblings":
            return SIBLINGS
        return "log" if self.scale == "logs" and scale_of(name, single, self.wing) == "probability" else "none"


def arm_trial_settings(wing: Wing) -> type[ArmTrial]:
    """Settings of a trial for a domain: a weight for each of the guides that do not combine others."""
    evaluation, headline, single = evaluate_settings(wing), measures_of(wing.verifier())[0], single_guides(wing)
    weights: dict[str, Any] = {
        name: (float, Field(float(name == next(iter(single))), ge=0, description=f"weight of {name}; 0: left out"))
        for name in single
    }
    made: Any = create_model("Weights", __base__=Config, __module__=__name__, **weights)
    searches: Any = one_of(SEARCHES | plugins("searches"))
    search = SEARCHES["best_first"]() if headline.binary else build_search(CHOICE)
    known = evaluation.model_fields

    def words(name: str) -> str | None:
        return ArmTrial.model_fields[name].description

    fields: dict[str, Any] = {
        "domain": (str, Field(wing.name, description="which domain: the name of an installed wing")),
        "proposer": (known["proposer"].annotation, Field(known["proposer"].default, description=words("proposer"))),
        "search": (searches, Field(search, description="the search")),
        "weights": (made, Field(made(), description="of guides: a trained one, or one that needs no training")),
        "scale": (
            ArmTrial.model_fields["scale"].annotation,
            Field("scores" if headline.binary else "siblings", description=words("scale")),
        ),
        "expansions": (int | None, Field(64 if headline.binary else None, ge=1, description=words("expansions"))),
        "measure": (str, Field(headline.name, description=words("measure"))),
        "blow_up": (float | None, Field(known["blow_up"].default, description=words("blow_up"))),
    }
    return create_model("ArmTrial", __base__=ArmTrial, __module__=__name__, **fields)


def trial_inputs(trial: ArmTrial) -> dict[str, Artifact]:
    """Artifacts that a trial reads beside the labels."""
    guides = trial.guides()
    proposer = _proposers(trial).settings()
    named = trial.named_artifacts(list(reached(guides, guides).values()), proposer, unfinished=True)
    trained = Guides(guides, store=trial.store, wing=trial.wing).artifacts()
    return {f"train/{found.name}": found for found in trained.values()} | named


def judge_trial(trial: ArmTrial) -> tuple[Float[np.ndarray, " p"], dict[str, float]]:
    """Loss of every validation problem, lower is better, in the order of their ids; and the mean cost of a problem.

    The loss is 1 for a problem that is not solved, or the value of the measure.

    Raises:
        ValueError: trials blew up; they have no value to judge the arm by.
    """
    wing, headline = trial.wing, trial.headline
    problems = trial.artifact("label", trial.labels).folder.read_table("problems.parquet").sort_by("id")
    problems = problems.filter(pc.equal(problems["split"], "validation")).slice(0, trial.num_problems or len(problems))
    arm, proposers = trial.arm(), _proposers(trial)
    guides = Guides(trial.guides(), store=trial.store, wing=wing, proposers=proposers)
    ran = run_arm(
        problems.combine_chunks(),
        arm,
        guide=guides[arm.guide],
        proposer=proposers(),
        wing=wing,
        seed=trial.seed,
        keep_tree=needs_tree(wing),
    )
    table = trial_table(ran, wing, headline=headline, blow_up=trial.blow_up)
    found = table.filter(pc.equal(table["answer"], trial.answer))
    best = table.filter(pc.equal(table["answer"], BEST))
    costs = {f"mean_{kind}": float(pc.mean(best[kind]).as_py()) for kind in COSTS}
    return _losses(found, headline, wing), costs


def unit(wing: Wing) -> str:
    """What the mean loss of trials is a number of."""
    headline = measures_of(wing.verifier())[0]
    return "share of problems not solved" if headline.binary else f"mean {headline.description}"


def single_guides(wing: Wing) -> dict[str, object]:
    """The guides of an evaluation of the domain that are neither made of others nor the truth itself."""
    guides = evaluate_settings(wing).model_fields["guides"].default
    return {name: guide for name, guide in guides.items() if not isinstance(guide, (*COMBINED, OracleGuide))}


def _proposers(trial: ArmTrial) -> Proposers:
    policy = trial.artifact("label", trial.labels).manifest().identity["proposer"]
    return Proposers(trial.wing, policy, default=trial.proposer, store=trial.store)


def _losses(found: pa.Table, headline: Measure, wing: Wing) -> Float[np.ndarray, " p"]:
    if headline.binary:
        return 1.0 - found[headline.name].to_numpy(zero_copy_only=False).astype(np.float64)
    values = ArmValues(found, measures_of(wing.verifier()))
    lost = int((~values.whole).sum())
    if lost:
        raise ValueError(f"{lost} of {len(found)} trials blew up: such an arm cannot be judged by its {headline.name}")
    return values.mean(headline.name) * (-1.0 if headline.higher_is_better else 1.0)
