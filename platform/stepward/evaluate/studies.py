"""What an evaluation studies, by what an outcome of the domain is: problems solved, or errors of rollouts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any

from stepward.core.registry import lookup
from stepward.core.wing import Wing


@dataclass(frozen=True)
class Study:
    """The parts of the evaluate stage that differ, each as ``module:name``, imported where asked for.

    Attributes:
        base: settings class without the fields of a domain.
        settings: (wing, base) -> settings class.
        work: (settings, shard_size) -> items of work.
        finish: (work, seconds) -> manifest.
        foresight: (work) -> what can be found at all.
        words: (arm, metrics) -> an arm in a few words; "" where the runtime has its own, of arms that were searched.
        shard_size: problems an item by default.
        guides_elsewhere: whether `work` takes trained guides that other workers hold (`load`).
    """

    base: str
    settings: str
    work: str
    finish: str
    foresight: str
    words: str
    shard_size: int
    guides_elsewhere: bool = False

    def line(self, arm: str, metrics: dict[str, float]) -> str:
        """An arm in a few words."""
        return str(self.part("words")(arm, metrics))

    def part(self, name: str) -> Callable[..., Any]:
        """One of the parts, imported."""
        found: Callable[..., Any] = resolve_name(getattr(self, name))
        return found


STUDIES = {
    "solved": Study(
        base="stepward.evaluate.settings:EvaluateSettings",
        settings="stepward.evaluate.settings:evaluate_settings",
        work="stepward.evaluate.work:EvaluateWork",
        finish="stepward.evaluate.stage:finish",
        foresight="stepward.evaluate.studies:detectable",
        words="stepward.evaluate.summary:sample_line",
        shard_size=1000,
        guides_elsewhere=True,
    ),
    "error": Study(
        base="stepward.evaluate.rollouts.settings:RolloutSettings",
        settings="stepward.evaluate.rollouts.settings:rollout_settings",
        work="stepward.evaluate.rollouts.work:RolloutWork",
        finish="stepward.evaluate.rollouts.stage:finish",
        foresight="stepward.evaluate.rollouts.stage:foresight",
        words="stepward.evaluate.rollouts.stage:line",
        shard_size=16,
    ),
}


def detectable(work: Any) -> str:
    """What the comparisons of solve rates can find, before anything was run."""
    from stepward.evaluate.stage import minimum_detectable_effect

    return str(minimum_detectable_effect(work.settings, len(work.problems)))


def study_of(wing: Wing) -> Study:
    """The study of a domain."""
    return lookup(STUDIES, wing.outcome, kind="kind of outcome")
