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
from stepward.core.interfaces import RewardModel
from stepward.core.storage import Folder
from stepward.core.wing import Wing
from stepward.rewards.factory import load_trained
from stepward.rewards.scorer import Scorer
from stepward.rewards.written import read_reward, score_steps


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
        return score_steps(self.reward, self.wing, questions, solutions)

    def scorer(self, aggregation: str = "last") -> Scorer:
        """The same as other libraries ask it, its_hub among them: a prompt, and texts that answer it."""
        return Scorer(self.reward, self.wing, aggregation)

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
    reward, wing = read_reward(path, domain, kind, settings)
    return PRM(reward, wing, str(path))
