"""A language model as judge: which step of a solution is the first wrong one?

The question is that of ProcessBench (Zheng et al. 2024, arXiv:2412.06559), in words of our own. The answer is the
number of a step in a box, and nothing else counts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt64
from pydantic import Field, field_validator, model_validator

from stepward.core.config import Plain
from stepward.domains.math.server.client import AnswerError, Client, ServerConfig

__all__ = ["Judge", "JudgeSettings", "Verdict"]

SEEDS = 2**31
PROMPT = """Below are a problem and a solution of it in numbered steps. Check the steps one after another, and find \
the first one that is wrong: it reads the problem wrongly, calculates wrongly, or does not follow from what is known \
at that point. A step that goes on correctly from an earlier mistake is not the first wrong one.

[Problem]
{question}

[Solution]
{steps}

Write down briefly what you checked. Then end with the number of the first wrong step in \\boxed{}, or with \\boxed{0} \
if no step is wrong."""
_BOX = re.compile(r"\\boxed\{\s*(?:\\text\{)?\s*([^{}]*?)\s*\}")


@dataclass(frozen=True)
class Verdict:
    """What the votes of a judge say of one solution.

    Attributes:
        votes: of each the number of the first wrong step, from 1; 0 where all are right.
        num_tokens: tokens that the judge wrote.
        error: why there is no vote, or "".
    """

    votes: tuple[int, ...]
    num_tokens: int
    error: str = ""

    @property
    def first_error(self) -> int:
        """What most votes say; of as many, the earliest."""
        count = Counter(self.votes)
        return min(count, key=lambda step: (-count[step], step or np.inf))


class JudgeSettings(ServerConfig):
    """A chat model behind an OpenAI-compatible server that is asked for the first wrong step of a solution."""

    prompt: str = Field(PROMPT, description="what it is asked; {question} and {steps} stand for problem and solution")
    temperature: float = Field(0.0, ge=0, description="of its answers; with several votes above 0")
    max_tokens: int = Field(2048, ge=1, description="tokens of an answer")
    num_votes: int = Field(1, ge=1, description="answers to each question; a solution has as many labels a step")

    @field_validator("prompt")
    @classmethod
    def _has_places(cls, prompt: str) -> str:
        if "{question}" not in prompt or "{steps}" not in prompt:
            raise ValueError("expected a text with {question} and {steps} in it")
        return prompt

    @model_validator(mode="after")
    def _votes_differ(self) -> JudgeSettings:
        if self.num_votes > 1 and not self.temperature:
            raise ValueError("num_votes: several answers at temperature 0 say the same; set temperature, or one vote")
        return self


class Judge:
    """Asks the model, many questions at a time."""

    def __init__(self, settings: JudgeSettings) -> None:
        if not settings.model:
            raise ValueError("model: expected the name of the judge, as its server knows it, got none")
        self.settings, self.client = settings, Client(settings)

    def first_errors(
        self, questions: Sequence[str], solutions: Sequence[Sequence[str]], keys: UInt64[np.ndarray, "n v"]
    ) -> list[Verdict]:
        """A verdict on each of n solutions in steps; `keys` are what each of their v votes' randomness comes from.

        Raises:
            UnavailableError: the server cannot be used.
        """
        bodies = [self._body(q, s, int(key)) for q, s, of in zip(questions, solutions, keys, strict=True) for key in of]
        answers = self.client.ask("chat/completions", bodies, _read, keys.reshape(-1).tolist())
        votes = self.settings.num_votes
        return [_verdict(answers[i * votes : (i + 1) * votes], len(steps)) for i, steps in enumerate(solutions)]

    def _body(self, question: str, steps: Sequence[str], key: int) -> Plain:
        written = "\n".join(f"<step {n}>\n{step.strip()}\n</step {n}>" for n, step in enumerate(steps, 1))
        text = self.settings.prompt.replace("{question}", question).replace("{steps}", written)
        body: dict[str, Any] = {"messages": [{"role": "user", "content": text}], "max_tokens": self.settings.max_tokens}
        body |= {"temperature": self.settings.temperature}
        return body | ({"seed": key % SEEDS} if self.settings.temperature else {})


def _read(answer: Any) -> tuple[int, int]:
    """(number in the last box, tokens) of an answer of a chat; ValueError where it is none, such as prose."""
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0].get("message"), dict):
        raise ValueError(f"expected a choice with a message, got {str(choices)[:200]}")
    text = choices[0]["message"].get("content")
    boxes = _BOX.findall(text) if isinstance(text, str) else []
    if not boxes or not re.fullmatch(r"\d+", boxes[-1]):
        raise ValueError(f"expected the number of a step in \\boxed{{}}, got {str(text)[-200:]!r}")
    tokens = (answer.get("usage") or {}).get("completion_tokens")
    if not isinstance(tokens, int):
        raise ValueError(f"expected usage with completion_tokens, got {answer.get('usage')!r}")
    return int(boxes[-1]), tokens


def _verdict(answers: Sequence[tuple[int, int] | AnswerError], num_steps: int) -> Verdict:
    """Votes that can be used."""
    told = [answer for answer in answers if not isinstance(answer, AnswerError)]
    errors = [str(answer) for answer in answers if isinstance(answer, AnswerError)]
    outside = [step for step, _ in told if step > num_steps]
    errors += [f"expected a step from 0 to {num_steps}, got {step}" for step in outside]
    votes = tuple(step for step, _ in told if step <= num_steps)
    return Verdict(votes, sum(tokens for _, tokens in told), "" if votes else errors[0])
