"""Reward models of any origin, asked about texts: a question and its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from stepward.core.capabilities import Written
from stepward.core.interfaces import RewardModel
from stepward.core.registry import lookup
from stepward.core.storage import Folder
from stepward.core.wing import Wing, find_wing
from stepward.rewards.factory import load_trained

__all__ = ["read_reward", "score_steps", "written_of"]

DESCRIBED = "reward.json"


def read_reward(path: str | Path, domain: str, kind: str, settings: Mapping[str, Any]) -> tuple[RewardModel, Wing]:
    """A reward model from a folder, and the domain that it is of.

    Args:
        path: a train artifact, or any folder (or hub id) that a kind of reward model of the domain reads by its
            ``path``.
        domain: of a folder that is no train artifact, which says so itself.
        kind: kind of reward model of that domain.
        settings: of that kind.

    Raises:
        ValueError: there is nothing that can be read; says what was expected.
    """
    folder = Folder(str(path))
    if folder.exists(DESCRIBED):
        if settings:
            raise ValueError(
                f"{path}: a train artifact brings its settings, so {sorted(settings)} would have no effect"
            )
        wing = find_wing(folder.read_json(DESCRIBED)["domain"])
        return load_trained(folder, wing), wing
    if Path(path).exists() and not folder.exists("config.json"):
        raise ValueError(
            f"{path}: expected a train artifact (with {DESCRIBED}) or a transformers folder (with config.json), "
            f"found {sorted(folder.files())[:5] or 'nothing'}. Name the folder itself: artifacts/math/train/prm."
        )
    wing = find_wing(domain)
    chosen: Any = lookup(wing.rewards, kind, kind="reward model")
    return chosen(path=str(path), **settings).build(wing.domain), wing


def score_steps(
    reward: RewardModel, wing: Wing, questions: Sequence[str], solutions: Sequence[Sequence[str]]
) -> list[Float[np.ndarray, " _"]]:
    """A score of every step of every solution, given the question and the steps before it.

    Raises:
        ValueError: the domain's solutions are not written, or a solution has no step.
    """
    _require_solutions(questions, solutions)
    written = written_of(wing)
    counts = [len(solution) for solution in solutions]
    asked = [q for q, num in zip(questions, counts, strict=True) for _ in range(num)]
    children = [list(s[: t + 1]) for s in solutions for t in range(len(s))]
    parents = written.states(asked, [child[:-1] for child in children])
    scores = np.asarray(reward.score(parents, written.states(asked, children)))
    return np.split(scores, np.cumsum(counts)[:-1])


def written_of(wing: Wing) -> Written:
    """The domain's way from texts to states.

    Raises:
        ValueError: its solutions are no texts.
    """
    if wing.written is None:
        raise ValueError(f"domain {wing.name!r}: expected one whose solutions are written as steps, such as 'math'")
    return wing.written


def _require_solutions(questions: Sequence[str], solutions: Sequence[Sequence[str]]) -> None:
    if len(questions) != len(solutions):
        raise ValueError(f"steps: expected one list for each of {len(questions)} questions, got {len(solutions)}")
    for number, solution in enumerate(solutions):
        if not solution or not all(isinstance(step, str) for step in solution):
            raise ValueError(f"steps of question {number}: expected at least one step, all of them texts")
