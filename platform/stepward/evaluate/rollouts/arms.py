"""Building what an arm of a rollout evaluation is made of, from its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from stepward.core.artifacts import Artifact
from stepward.core.cost import Combinator, metered_reward
from stepward.core.interfaces import Domain, Proposer, RewardModel, Verifier
from stepward.core.registry import lookup
from stepward.core.wing import Wing
from stepward.domains.pde.generators import DeterministicGenerator
from stepward.domains.pde.rewards import WORST
from stepward.evaluate.arms import EnsembleGuide, TrainedGuide, load_trained
from stepward.evaluate.rollouts.settings import (
    NO_GUIDE,
    AheadGuide,
    Arm,
    OracleGuide,
    RolloutSettings,
    WeightedGuide,
)
from stepward.rewards import Lookahead
from stepward.rewards.aggregation import sibling_z_score
from stepward.search.registry import build_search


def build_proposer(settings: RolloutSettings, arm: Arm) -> Proposer:
    """The proposer of an arm, with the surrogates and rewards it names in the store of the evaluation."""
    proposer: Proposer = settings.here(arm.proposer or settings.proposer).build()
    return proposer


def build_arm_search(settings: RolloutSettings, arm: Arm) -> Any:
    """The search of an arm: by default a beam of width 1 over K candidates, or over one where nothing is chosen."""
    if arm.search:
        return build_search(arm.search)
    num = 1 if arm.guide == NO_GUIDE else settings.num_candidates
    return build_search({"kind": "beam", "width": 1, "num_candidates": num, "deduplicate": False})


def build_rollout_guide(name: str, settings: RolloutSettings, wing: Wing) -> RewardModel:
    """The guide called `name`.

    Raises:
        ValueError: a guide or an artifact does not exist, or guides combine one another in a circle.
    """
    return _build(name, settings.guides, settings, wing)


def _build(name: str, guides: Mapping[str, Any], settings: RolloutSettings, wing: Wing) -> RewardModel:
    if name == NO_GUIDE and NO_GUIDE not in guides:
        return Unscored()
    guide = lookup(guides, name, kind="guide")
    others = {other: inner for other, inner in guides.items() if other != name}
    if isinstance(guide, TrainedGuide):
        return load_trained(settings.artifact("train", guide.artifact).folder, wing, guide.calibration)
    if isinstance(guide, OracleGuide):
        return Oracle(wing.verifier())
    if isinstance(guide, EnsembleGuide):
        return guide.build_of({name: _build(name, others, settings, wing) for name in guide.members}, wing.domain)
    if isinstance(guide, WeightedGuide):
        parts = {part: _build(part, others, settings, wing) for part, weight in guide.weights.items() if weight}
        return Weighted(parts, guide.weights, wing.domain)
    if isinstance(guide, AheadGuide):
        inner = _build(guide.guide, others, settings, wing)
        policy = DeterministicGenerator(settings.here(settings.proposer).load())
        return Lookahead(inner, policy, wing.domain, depth=guide.depth, discount=guide.discount)
    built: RewardModel = settings.here(guide).build(wing.domain)
    return built


def guide_parts(name: str, settings: RolloutSettings, wing: Wing) -> dict[str, RewardModel]:
    """The guides that a guide is made of, by name; one that is made of no others is its only part."""
    guide = settings.guides[name]
    inner: list[str] = []
    if isinstance(guide, EnsembleGuide):
        inner = list(guide.members)
    elif isinstance(guide, WeightedGuide):
        inner = [part for part, weight in guide.weights.items() if weight]
    elif isinstance(guide, AheadGuide):
        inner = [guide.guide]
    if not inner:
        return {name: build_rollout_guide(name, settings, wing)}
    return {part: reward for other in inner for part, reward in guide_parts(other, settings, wing).items()}


def arm_inputs(settings: RolloutSettings) -> dict[str, Artifact]:
    """Every artifact that arms read, by role; they need not be finished."""
    used = {arm.guide for arm in settings.arms.values()} | set(settings.ranking_guides())
    waiting, guides = list(used), dict[str, Any]()
    while waiting:
        name = waiting.pop()
        if name in guides or name not in settings.guides:
            continue
        guides[name] = guide = settings.guides[name]
        waiting += list(guide.members) if isinstance(guide, EnsembleGuide) else []
        waiting += list(guide.weights) if isinstance(guide, WeightedGuide) else []
        waiting += [guide.guide] if isinstance(guide, AheadGuide) else []
    trained = {
        f"train/{guide.artifact}": settings.artifact("train", guide.artifact)
        for guide in guides.values()
        if isinstance(guide, TrainedGuide)
    }
    proposers = [arm.proposer or settings.proposer for arm in settings.arms.values()]
    return trained | settings.named_artifacts(list(guides.values()), proposers, unfinished=True)


class Unscored(Combinator):
    """0 for every step and charged nothing: for arms that choose among no candidates, or by themselves."""

    def score(self, parents: Any, children: Any) -> Float[np.ndarray, " n"]:
        return np.zeros(len(children))


class Oracle:
    """Scores a candidate by its true error. It stands outside of every comparison of methods."""

    num_parameters = 0

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    def score(self, parents: Any, children: Any) -> Float[np.ndarray, " n"]:
        """Minus the error of each child."""
        return np.maximum(self._verifier.outcome(children), WORST)


class Weighted(Combinator):
    """score = Σ wᵢ zᵢ, z standardised among the children of one parent, which must be scored in one call.

    Args:
        parts: name -> guide.
        weights: name -> weight.
        domain: what the parts are metered in; it tells parents apart.
    """

    def __init__(self, parts: Mapping[str, RewardModel], weights: Mapping[str, float], domain: Domain) -> None:
        self._parts = {name: metered_reward(part, domain) for name, part in parts.items()}
        self._weights, self._domain = weights, domain

    def score(self, parents: Any, children: Any) -> Float[np.ndarray, " n"]:
        """Weighted sum; a candidate that one of the parts cannot use scores worst."""
        if not len(children):
            return np.zeros(0)
        found = self.components(parents, children)
        total = np.sum([self._weights[name] * values for name, values in found.items()], axis=0)
        return np.where(np.isfinite(total), total, WORST)

    def components(self, parents: Any, children: Any) -> dict[str, Float[np.ndarray, " n"]]:
        """Name -> standardised scores before the weights; −∞ where a part cannot use the candidate."""
        keys = np.stack([parents.problem.astype(np.uint64), self._domain.keys(parents)], axis=1)
        siblings = np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)
        return {name: _standardised(part.score(parents, children), siblings) for name, part in self._parts.items()}


def _standardised(scores: np.ndarray, siblings: np.ndarray) -> Float[np.ndarray, " n"]:
    usable = scores > WORST
    z = np.full(len(scores), -np.inf)
    z[usable] = sibling_z_score(scores[usable], siblings[usable])
    return z
