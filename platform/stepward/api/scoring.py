"""Reward models of any origin, asked in the same words: a question and its steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from stepward.api.html import boxed, frame_html
from stepward.core.capabilities import Written
from stepward.core.interfaces import RewardModel
from stepward.core.registry import lookup
from stepward.core.storage import Folder
from stepward.core.wing import Wing, find_wing
from stepward.rewards.factory import load_trained

DESCRIBED = "reward.json"


@dataclass(frozen=True)
class PRM:
    """A reward model with the domain it is of.

    Attributes:
        reward: scores batches of states: ``reward.score(parents, children)``.
        wing: the domain.
        place: folder it was read from.
    """

    reward: RewardModel
    wing: Wing
    place: str

    @classmethod
    def of(cls, folder: Folder, wing: Wing) -> PRM:
        """The reward model of a train artifact."""
        return cls(load_trained(folder, wing), wing, folder.url)

    def score(
        self, question: str | Sequence[str], steps: Sequence[str] | Sequence[Sequence[str]]
    ) -> Float[np.ndarray, " t"] | list[Float[np.ndarray, " t"]]:
        """Score of each step, given the question and the steps before it; higher is better.

        Args:
            question: one question, or several.
            steps: the steps of its solution, or a list of steps for each question.

        Returns:
            One array of T scores, or one for each question.

        Raises:
            ValueError: the domain's solutions are not written, or a solution has no step.
        """
        if isinstance(question, str):
            [scores] = self._scores([question], [[str(step) for step in steps]])
            return scores
        return self._scores(list(question), [list(solution) for solution in steps])

    def _scores(self, questions: list[str], solutions: list[list[str]]) -> list[Float[np.ndarray, " t"]]:
        _require_solutions(questions, solutions)
        written = written_of(self.wing)
        counts = [len(solution) for solution in solutions]
        asked = [q for q, num in zip(questions, counts, strict=True) for _ in range(num)]
        children = [s[: t + 1] for s in solutions for t in range(len(s))]
        parents = written.states(asked, [child[:-1] for child in children])
        scores = self.reward.score(parents, written.states(asked, children))
        return np.split(scores, np.cumsum(counts)[:-1])

    def table(self, question: str, steps: Sequence[str]) -> pd.DataFrame:
        """Steps with their scores."""
        return pd.DataFrame({"step": list(steps), "score": self.score(question, steps)})

    def as_guide(self) -> dict[str, object]:
        """Settings of a guide that is this reward model, for an evaluation in the same store."""
        parts = self.place.rstrip("/").split("/")
        if parts[-2:-1] != ["train"]:
            return {"kind": "published", "path": self.place}
        return {"kind": "trained", "artifact": parts[-1]}

    def _repr_html_(self) -> str:
        facts = {"domain": self.wing.name, "kind": type(self.reward).__name__, "weights": self.reward.num_parameters}
        return boxed("Process reward model", self.place, frame_html(pd.DataFrame([facts])))


def load(path: str | Path, *, domain: str = "math", kind: str = "published", **settings: Any) -> PRM:
    """A reward model from a folder: of jobs/train.py or `train`, or a published one in the transformers format.

    Args:
        path: a train artifact, or any folder (or hub id) that a kind of reward model of the domain reads by its
            ``path``.
        domain: of a folder that is no train artifact, which says so itself.
        kind: kind of reward model of that domain; "published" finds the format of a published PRM.
        settings: of that kind, such as ``format="qwen"``.

    Raises:
        ValueError: there is nothing that can be read; says what was expected.
    """
    folder = Folder(str(path))
    if folder.exists(DESCRIBED):
        if settings:
            raise ValueError(
                f"{path}: a train artifact brings its settings, so {sorted(settings)} would have no effect"
            )
        return PRM.of(folder, find_wing(folder.read_json(DESCRIBED)["domain"]))
    if Path(path).exists() and not folder.exists("config.json"):
        raise ValueError(
            f"{path}: expected a train artifact (with {DESCRIBED}) or a transformers folder (with config.json), "
            f"found {sorted(folder.files())[:5] or 'nothing'}. Name the folder itself: artifacts/math/train/prm."
        )
    wing = find_wing(domain)
    chosen: Any = lookup(wing.rewards, kind, kind="reward model")
    return PRM(chosen(path=str(path), **settings).build(wing.domain), wing, str(path))


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
