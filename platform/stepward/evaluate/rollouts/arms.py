"""Building what an arm of a rollout evaluation is made of, from its settings."""

from __future__ import annotations

from typing import Any

from stepward.core.artifacts import Artifact
from stepward.core.interfaces import Proposer
from stepward.core.registry import lookup
from stepward.core.wing import Wing
from stepward.evaluate.rollouts.settings import Arm, RolloutSettings
from stepward.rewards.factory import Guides
from stepward.rewards.guides import UNSCORED, reached
from stepward.search.registry import build_search


def build_proposer(settings: RolloutSettings, arm: Arm) -> Proposer:
    """The proposer of an arm, with the surrogates and rewards it names in the store of the evaluation."""
    proposer: Proposer = settings.here(arm.proposer or settings.proposer).build()
    return proposer


def build_arm_search(settings: RolloutSettings, arm: Arm) -> Any:
    """The search of an arm: by default a beam of width 1 over K candidates, or over one where nothing is chosen."""
    if arm.search:
        return build_search(arm.search)
    num = 1 if arm.guide == UNSCORED else settings.num_candidates
    return build_search({"kind": "beam", "width": 1, "num_candidates": num, "deduplicate": False})


def rollout_guides(settings: RolloutSettings, wing: Wing) -> Guides:
    """The guides of an evaluation; those that look ahead do so without chance."""

    def proposer(kind: str | None) -> Proposer:
        found: Any = settings.proposer if kind is None else lookup(wing.proposers, kind, kind="proposer")()
        built: Proposer = settings.here(found).build()
        return built

    return Guides(settings.guides, store=settings.store, wing=wing, proposers=proposer)


def arm_inputs(settings: RolloutSettings) -> dict[str, Artifact]:
    """Every artifact that arms read, by role; they need not be finished."""
    used = {arm.guide for arm in settings.arms.values()} | set(settings.ranking_guides())
    trained = rollout_guides(settings, settings.wing).artifacts(used)
    proposers = [arm.proposer or settings.proposer for arm in settings.arms.values()]
    others = settings.named_artifacts(list(reached(used, settings.guides).values()), proposers, unfinished=True)
    return {f"train/{artifact.name}": artifact for artifact in trained.values()} | others
