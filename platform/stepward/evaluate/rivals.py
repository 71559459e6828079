"""The trivial rivals of an evaluation: who they are, and how they are fitted. `statistics/rivals.py` says who wins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

from stepward.core.config import Config, Plain
from stepward.core.interfaces import Proposer, RewardModel
from stepward.core.registry import lookup
from stepward.core.rivals import FittedRival, LearnedRival, Material
from stepward.core.storage import Folder
from stepward.core.wing import Wing
from stepward.evaluate.arms import Arm, SearchPlan
from stepward.evaluate.proposers import RivalProposer
from stepward.evaluate.tables import Row
from stepward.rewards.guides import UNSCORED, RivalGuide, TrainedGuide, is_trained


class Rivals:
    """Rivals as reward models and proposers. What is fitted is kept in `rivals/` of the evaluation's folder.

    Args:
        wing: the domain.
        folder: of the evaluation.
        material: what they are fitted to.
    """

    def __init__(self, wing: Wing, folder: Folder, material: Callable[[], Material]) -> None:
        self._wing, self._folder, self._material = wing, folder, material

    def settings(self, name: str) -> Any:
        """The settings of a rival."""
        return lookup(self._wing.rivals, name, kind="rival")()

    def fit(self, name: str) -> Row:
        """Fit a rival and keep it; what was chosen."""
        fitted: FittedRival = self.settings(name).fit(self._material())
        self._folder.write_weights(f"rivals/{name}.safetensors", fitted.weights)
        return fitted.chosen

    def reward(self, name: str) -> RewardModel:
        """The reward model of a rival that scores."""
        rival = self.settings(name)
        model: RewardModel = (
            rival.reward(self._weights(name)) if isinstance(rival, LearnedRival) else rival.build(self._wing.domain)
        )
        return model

    def proposer(self, name: str) -> Proposer:
        """The proposer of a rival that needs no choice."""
        made: Proposer = self.settings(name).proposer(self._weights(name), self._policy)
        return made

    @cached_property
    def _policy(self) -> Proposer:
        return self._material().policy()

    def _weights(self, name: str) -> Row:
        return self._folder.read_weights(f"rivals/{name}.safetensors")


def is_fitted(rival: type[Config] | None) -> bool:
    """Whether a rival learns anything."""
    return hasattr(rival, "fit")


def with_rivals(
    names: Iterable[str],
    wing: Wing,
    *,
    guides: Plain,
    searches: Mapping[str, SearchPlan],
    arms: Mapping[str, Arm],
    sampled: bool,
) -> dict[str, dict[str, Any]]:
    """Guides, searches and arms of an evaluation with the rivals `names`, where a trained guide is among them.

    Rivals that score are guides: they stand in every search that compares all guides, in the first search where it
    names its own and samples do not show them, and in an arm like that of the first trained guide. Rivals that propose
    are arms. A guide or an arm that has the name of a rival is that rival, whether the domain declares it or not.
    """
    there = {*guides, *arms}
    kinds = {
        name: lookup(wing.rivals, name, kind="rival") for name in names if name not in there or name in wing.rivals
    }
    if not any(isinstance(guide, TrainedGuide) for guide in guides.values()):
        kinds = {}
    scoring = [name for name, kind in kinds.items() if not hasattr(kind, "proposer")]
    guides = {**guides, **{name: RivalGuide(rival=name) for name in scoring if name not in guides}}
    searches, arms = dict(searches), dict(arms)
    first = next(iter(searches), "")
    if first and searches[first].guides and not sampled:
        own = searches[first].guides
        extended = (*own, *(name for name in scoring if name not in own))
        searches[first] = searches[first].model_copy(update={"guides": extended})
    for template in [arm for arm in arms.values() if is_trained(arm.guide, guides)][:1]:
        for name in kinds:
            steady = {"proposer": RivalProposer(rival=name), "guide": UNSCORED, "search": {}}
            like: dict[str, Any] = {"guide": name} if name in scoring else steady
            arms.setdefault(name, template.model_copy(update=like))
    return {"guides": guides, "searches": searches, "arms": arms}
