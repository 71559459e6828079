"""One trial of a sweep over how rollouts are guided: weights of guides, search, horizon, temperature.

Nothing is trained. A trial rolls out the validation problems and is judged by the error of each.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pyarrow.compute as pc
from jaxtyping import Float
from pydantic import Field, create_model, model_validator

from stepward.core.artifacts import Artifact
from stepward.core.config import Config, one_of
from stepward.core.cost import Cost
from stepward.core.interfaces import RewardModel, rollout_policy
from stepward.core.seeding import Rng
from stepward.core.stage import StageSettings
from stepward.core.wing import Wing
from stepward.domains.pde.rollouts import read_rollouts
from stepward.evaluate.rollouts.arms import arm_inputs, rollout_guides
from stepward.evaluate.rollouts.settings import Arm, RolloutSettings, rollout_settings
from stepward.evaluate.rollouts.study import cut_where_blown_up, step_errors
from stepward.rewards import Composite, Lookahead, Part
from stepward.rewards.composite import SIBLINGS
from stepward.rewards.factory import Unscored
from stepward.rewards.guides import COMBINED, OracleGuide, guide_of
from stepward.search.registry import build_search

COSTS = ("nfe", "scored", "flops")


class RolloutTrial(StageSettings):
    """Settings of a trial; `rollout_trial_settings` adds the proposers and guides of a domain."""

    labels: str = Field("default", description="label artifact whose validation problems are rolled out")
    num_problems: int | None = Field(None, ge=2, description="only the first so many problems; none: all")
    proposer: Any
    num_candidates: int = Field(16, ge=2, description="candidates K of a step, over the whole beam; or particles")
    weights: Any
    rule: Literal["argmax", "mean", "beam", "particles"] = Field("argmax", description="what is made of the scores")
    width: int = Field(1, ge=1, description="states of a beam; K is shared among them")
    lookahead: int = Field(0, ge=0, description="steps h that candidates are rolled forward without chance")
    discount: float = Field(1.0, gt=0, le=1, description="γ of the lookahead")
    temperature: float = Field(0.5, gt=0, description="T of the weighted mean, or of the particles")
    convention: str = Field("nrmse", description="error that trials are judged by")
    blow_up: float = Field(10.0, gt=0, description="error from which on a rollout counts as blown up")

    @property
    def fitted_at_once(self) -> bool:
        """A trial has no epochs."""
        return True

    @model_validator(mode="after")
    def _no_setting_without_effect(self) -> RolloutTrial:
        if self.width > 1 and self.rule != "beam":
            raise ValueError(f"width: expected 1 without rule=beam, got {self.width} with rule={self.rule}")
        if self.num_candidates % self.width:
            raise ValueError(f"width: expected a divisor of num_candidates = {self.num_candidates}, got {self.width}")
        return self

    def evaluation(self) -> RolloutSettings:
        """The evaluation this is a trial of: guides by name, and the proposer."""
        values = {name: getattr(self, name) for name in ("store", "labels", "num_problems", "seed")}
        arm = Arm(guide="none")
        made: Any = rollout_settings(self.wing)
        return made.model_construct(
            **made().model_dump()
            | values
            | {"split": "validation", "proposer": self.proposer, "arms": {"trial": arm}}
            | {"guides": made().guides, "domain": self.domain, "ranked": ()}
        )

    def used(self) -> dict[str, float]:
        """Guide -> weight, of those that have one."""
        return {name: float(weight) for name in type(self.weights).model_fields
                if (weight := getattr(self.weights, name)) > 0}  # fmt: skip


def rollout_trial_settings(wing: Wing) -> type[RolloutTrial]:
    """Settings of a trial for a domain: a weight for each of the guides that do not combine others."""
    single = [
        name for name, guide in wing.defaults.evaluation.get("guides", {}).items()
        if not isinstance(guide_of(guide, wing), (*COMBINED, OracleGuide))
    ]  # fmt: skip
    weights: dict[str, Any] = {
        name: (float, Field(float(name == single[0]), ge=0, description=f"weight of {name}; 0: not evaluated"))
        for name in single
    }
    weights_class: Any = create_model("Weights", __base__=Config, __module__=__name__, **weights)
    first = next(iter(wing.proposers.values()))
    fields: dict[str, Any] = {
        "domain": (str, Field(wing.name, description="which domain: the name of an installed wing")),
        "proposer": (one_of(wing.proposers), Field(first(), description="makes the candidates")),
        "weights": (
            weights_class,
            Field(weights_class(), description="of standardised guides; all 0: no choice"),
        ),
    }
    return create_model("RolloutTrial", __base__=RolloutTrial, __module__=__name__, **fields)


def trial_inputs(trial: RolloutTrial) -> dict[str, Artifact]:
    """Artifacts that a trial reads beside the labels."""
    evaluation = trial.evaluation()
    guides = {name: evaluation.guides[name] for name in trial.used()}
    arms = {name: Arm(guide=name) for name in guides} or {"trial": Arm(guide="none")}
    return arm_inputs(evaluation.model_copy(update={"guides": guides, "arms": arms}))


def roll_out_trial(trial: RolloutTrial) -> tuple[Float[np.ndarray, " p"], dict[str, float]]:
    """Error of every validation problem, in the order of their ids, and the mean cost of a rollout.

    Raises:
        ValueError: rollouts blew up; they have no error to judge the trial by.
    """
    wing = trial.wing
    problems = trial.artifact("label", trial.labels).folder.read_table("problems.parquet").sort_by("id")
    problems = problems.filter(pc.equal(problems["split"], "validation")).slice(0, trial.num_problems or len(problems))
    states: Any = wing.states(problems.combine_chunks())
    proposer, reward, search = _parts(trial, wing)
    result = build_search(search)(
        states,
        domain=wing.domain,
        proposer=proposer,
        reward=reward,
        budget=Cost.limit(expansions=1e9),
        rng=Rng.from_ids(trial.seed, problems["id"].to_pylist(), "search"),
        keep_tree=True,
    )
    rollouts = read_rollouts(result)
    errors = step_errors(rollouts, states)[trial.convention]
    steps, _ = cut_where_blown_up(errors, rollouts, trial.blow_up)
    lost = int((steps < states.horizon).sum())
    if lost:
        raise ValueError(f"{lost} of {len(states)} rollouts blew up: such a rule cannot be judged by its errors")
    means = np.array([row[:end].mean() for row, end in zip(errors, steps, strict=True)])
    return means, {f"mean_{kind}": float(result.cost[kind].mean()) for kind in COSTS}


def _parts(trial: RolloutTrial, wing: Wing) -> tuple[Any, RewardModel, dict[str, Any]]:
    """Proposer, reward and search of a trial."""
    generator: Any = trial.here(trial.proposer).build()
    evaluation, used, k = trial.evaluation(), trial.used(), trial.num_candidates
    if not used:
        return generator, Unscored(), _beam(1, 1)
    guides = rollout_guides(evaluation, wing)
    parts = {name: Part(guides[name], weight, SIBLINGS) for name, weight in used.items()}
    reward: RewardModel = guides[next(iter(used))] if len(used) == 1 else Composite(parts, wing.domain)
    if trial.lookahead:
        policy = rollout_policy(generator)
        reward = Lookahead(reward, policy, wing.domain, depth=trial.lookahead, discount=trial.discount)
    if trial.rule == "mean":
        return generator, reward, {"kind": "weighted_mean", "num_candidates": k, "temperature": trial.temperature}
    if trial.rule == "particles":
        particles = {"kind": "particles", "num_particles": k, "potential": "exponential"}
        return generator, reward, particles | {"temperature": trial.temperature}
    return generator, reward, _beam(trial.width, k // trial.width)


def _beam(width: int, num_candidates: int) -> dict[str, Any]:
    scoring = {"aggregation": "sum", "normalise_siblings": True} if width > 1 else {}
    return {"kind": "beam", "width": width, "num_candidates": num_candidates, "deduplicate": False, "scoring": scoring}
