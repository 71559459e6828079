"""The number-walk simulator, whose values are known exactly."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from stepward.core.capabilities import Budgets, Drawing, KnownValues
from stepward.core.config import Config
from stepward.core.wing import Defaults, Wing
from stepward.domains.walk.data import WalkMining, WalkProblems, walk_states
from stepward.domains.walk.defaults import EVALUATION
from stepward.domains.walk.metrics import rebudget, situations
from stepward.domains.walk.proposer import ActionEnumerator, SoftmaxWalker
from stepward.domains.walk.rewards.hmm import WalkHMM
from stepward.domains.walk.rewards.mlp import WalkMLP
from stepward.domains.walk.rewards.simple import (
    DistanceReward,
    ExactReward,
    GreedyPathReward,
    OptimalReward,
    RandomReward,
    exact_value,
)
from stepward.domains.walk.states import Walk
from stepward.domains.walk.verifier import TargetVerifier
from stepward.label import ContinuationLabels

__all__ = ["EnumerateSettings", "SoftmaxSettings", "wing"]


class SoftmaxSettings(Config):
    """The softmax walker: samples actions by their gain in distance."""

    kind: Literal["softmax"] = "softmax"
    temperature: float = Field(1.0, gt=0, description="small prefers the action of largest gain, large is uniform")

    def build(self) -> SoftmaxWalker:
        """The walker at this temperature."""
        return SoftmaxWalker(self.temperature)


class EnumerateSettings(Config):
    """Different actions as children: all six, or a random subset."""

    kind: Literal["enumerate"] = "enumerate"

    def build(self) -> ActionEnumerator:
        """The proposer; it has no settings."""
        return ActionEnumerator()


wing = Wing(
    name="walk",
    domain=Walk(),
    states=walk_states,
    problems=WalkProblems,
    mining=WalkMining,
    proposers={"softmax": SoftmaxSettings, "enumerate": EnumerateSettings},
    rewards={
        "exact": ExactReward,
        "optimal": OptimalReward,
        "distance": DistanceReward,
        "greedy_path": GreedyPathReward,
        "random": RandomReward,
    },
    learners={"mlp": WalkMLP, "hmm": WalkHMM},
    verifier=TargetVerifier,
    labels={"continuations": ContinuationLabels},
    known=KnownValues(exact_value, situations, rebudget),
    budgets=Budgets(lambda states: states.steps_left),
    drawing=Drawing(texts=lambda states: [str(number) for number in states.current.tolist()]),
    rivals={"greedy_path": GreedyPathReward, "distance": DistanceReward},
    about="A number is led to a target by steps of +1, −1, ×2, ÷2, +3 or −3, at most so many of "
    "them; solved is a problem whose target is reached.",
    defaults=Defaults(trained={"hmm": "hmm"}, evaluation=EVALUATION),
)
