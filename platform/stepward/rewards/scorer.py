"""A reward model in the words of libraries that scale inference: a prompt, and texts that answer it.

its_hub asks a process reward model ``score(prompt, text or texts)`` and ``await ascore(…)`` for a number from 0 to 1 of
each text so far; loops as in lm-evaluation-harness call a function of (prompt, texts).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from stepward.core.interfaces import RewardModel
from stepward.core.wing import Wing
from stepward.rewards.aggregation import aggregate, aggregation_named
from stepward.rewards.written import score_steps

__all__ = ["Scorer"]

NEAR = 1e-6  # scores keep away from 0 and 1: others take their logit


class Scorer:
    """Scores of whole texts, or of texts under way; a line that is not blank is a step.

    Args:
        reward, wing: a reward model on the probability scale, and its domain.
        aggregation: how step scores become one: last, min, product, mean.
    """

    def __init__(self, reward: RewardModel, wing: Wing, aggregation: str = "last") -> None:
        aggregation_named(aggregation)
        self.reward, self.wing, self.aggregation = reward, wing, aggregation

    def score(self, prompt: Any, texts: str | Sequence[str]) -> float | list[float]:
        """The score of a text, or of each of several.

        Args:
            prompt: the question, or messages of a chat, of which the last of a user asks it.
            texts: what was written so far.

        Raises:
            ValueError: a text without a step, or a score that is no probability.
        """
        if isinstance(texts, str):
            return float(self._scores(prompt, [texts])[0])
        return [float(score) for score in self._scores(prompt, list(texts))]

    __call__ = score

    async def ascore(self, prompt: Any, texts: str | Sequence[str]) -> float | list[float]:
        """`score` in a thread, for loops that wait."""
        return await asyncio.to_thread(self.score, prompt, texts)

    def _scores(self, prompt: Any, texts: list[str]) -> Float[np.ndarray, " n"]:
        solutions = [[line for line in text.split("\n") if line.strip()] for text in texts]
        found = score_steps(self.reward, self.wing, [_question(prompt)] * len(texts), solutions)
        lengths = np.array([len(scores) for scores in found])
        padded = np.zeros((len(found), int(lengths.max(initial=1))))
        for row, scores in enumerate(found):
            padded[row, : len(scores)] = scores
        values = aggregate(self.aggregation, padded, lengths)
        if not ((values >= 0) & (values <= 1)).all():
            raise ValueError(
                f"scores: expected probabilities, got {values.min():g} to {values.max():g}; take a reward model on the "
                "probability scale"
            )
        return np.clip(values, NEAR, 1 - NEAR)


def _question(prompt: Any) -> str:
    """The text that asks: a string, or the last message of a user, as a mapping or as an object."""
    if isinstance(prompt, str):
        return prompt
    messages = prompt.messages if hasattr(prompt, "messages") else prompt
    if isinstance(messages, str):
        return messages
    for message in reversed(list(messages)):
        read = message.get if isinstance(message, dict) else lambda name, of=message: getattr(of, name, None)
        if read("role") == "user":
            return str(read("content"))
    raise ValueError(f"prompt: expected a text, or messages with one of a user, got {str(prompt)[:200]}")
