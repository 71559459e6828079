"""A proposer that asks a server for completions: a line a request, or a whole solution.

The server sees text and gives text, so no tokenizer is needed here: tokens are charged from its `usage`. Each
continuation is a request of its own, with a seed of the row's own stream; servers share what prompts begin with.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt64

from stepward.core.config import Plain
from stepward.domains.math.grading import final_answer
from stepward.domains.math.prompts import Prompt
from stepward.domains.math.server.client import AnswerError, Client
from stepward.domains.math.states import Ending, MathStates
from stepward.domains.math.steps import Limits, is_final_answer
from stepward.domains.math.writer import Writer, answered

__all__ = ["Completion", "ServerProposer", "read_completion"]

SEEDS = 2**31
_LINE = re.compile(r"[^\n]*\n+|[^\n]+")  # blank lines belong to the line before
_NO_ROOM = re.compile(r"context|too long|max_model_len|maximum.{0,20}(length|tokens)", re.IGNORECASE)
LEAST_TOKENS = 16  # a refused request is not tried with fewer


@dataclass(frozen=True)
class Completion:
    """What a server said.

    Attributes:
        text: without the stop string, or with it, as the server has it.
        finish: "length" where tokens ran out, "context" where there was no room for any, else "stop".
        stop: what stopped it, where the server says: the stop string, or something else for the end of the text; None
            where it does not say.
        num_tokens: tokens sampled.
        log_probs: log p of them.
        pieces: their texts.
    """

    text: str
    finish: str
    stop: str | None
    num_tokens: int
    log_probs: tuple[float, ...] = ()
    pieces: tuple[str, ...] = ()

    def log_prob(self, text: str) -> float:
        """Log p of the tokens that `text` begins in; NaN where the server told none."""
        if not self.log_probs:
            return math.nan
        starts = np.cumsum([0, *map(len, self.pieces)])[:-1]
        return float(sum(p for p, start in zip(self.log_probs, starts, strict=True) if start < len(text) or not text))


def read_completion(answer: Plain) -> Completion:
    """The one choice of an answer of a completions endpoint.

    Raises:
        ValueError: it is none; the message says what is missing.
    """
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise ValueError(f"expected 1 choice, got {len(choices) if isinstance(choices, list) else 'none'}")
    choice, usage = choices[0], answer.get("usage")
    text, finish = choice.get("text"), choice.get("finish_reason")
    if not isinstance(text, str) or not isinstance(finish, str):
        raise ValueError(f"expected a choice with text and finish_reason, got {str(choice)[:200]}")
    if not isinstance(usage, dict) or not isinstance(usage.get("completion_tokens"), int):
        raise ValueError(f"expected usage with completion_tokens, got {usage!r}: tokens cannot be charged")
    said = next((choice[name] for name in ("stop_reason", "matched_stop") if name in choice), "")
    told = choice.get("logprobs") or {}
    log_probs, pieces = told.get("token_logprobs") or (), told.get("tokens") or ()
    if len(log_probs) != len(pieces) or any(not isinstance(p, int | float) for p in log_probs):
        raise ValueError(f"expected a token_logprob for each of {len(pieces)} tokens, got {str(log_probs)[:100]}")
    stop = None if said == "" else said if isinstance(said, str) else "end"
    return Completion(text, finish, stop, usage["completion_tokens"], tuple(map(float, log_probs)), tuple(pieces))


class ServerProposer(Writer):
    """Lines and solutions from the completions endpoint of a server; see `Writer` for what they are.

    A line that the server ends at a line break, its stop string, is a step. Lines of a whole solution are those of its
    text: it is cut where it states an answer, or after `max_steps` lines. A line of too many tokens is seen where it is
    asked for alone, and in a whole solution only by all tokens being used up.

    Args:
        client: asks the server.
        temperatures, top_p, limits, prompt: see `Writer`.
        seeds: send a seed with every request.
        log_probs: ask for log p of the tokens.
        line_break: whether the server gives the line break back that ended a line, where it does not say what did.
        num_parameters: weights of a forward pass, for FLOPs.

    Raises:
        AnswerError: a request failed for good; the server answers others.
        UnavailableError: the server cannot be used.
    """

    def __init__(
        self,
        client: Client,
        *,
        temperatures: Sequence[float],
        top_p: float,
        limits: Limits,
        prompt: Prompt,
        seeds: bool,
        log_probs: bool,
        line_break: Literal["kept", "dropped"],
        num_parameters: int,
    ) -> None:
        super().__init__(temperatures, top_p, limits, prompt)
        self.client, self.num_parameters = client, num_parameters
        self.seeds, self.log_probs, self.line_break = seeds, log_probs, line_break

    def sample(
        self, states: MathStates, keys: UInt64[np.ndarray, " n"], temperature: float, *, whole: bool
    ) -> MathStates:
        """Open solutions with what the server adds to them, a row a request."""
        texts = [self.prompt.fill(q) + t for q, t in zip(states.question, states.text, strict=True)]
        found = self._ask(texts, keys.tolist() if temperature else [0] * len(states), temperature, whole)
        left = (self.limits.max_steps - states.num_steps).tolist()
        cut = [self._cut(*row, whole) for row in zip(states.text, found, left, strict=True)]
        added = [text for text, _ in cut]
        lines = [_LINE.findall(text) or [""] for text in added]
        tokens = np.array([completion.num_tokens for completion in found], np.int64)
        last = [math.ceil(len(line[-1]) / max(len(text), 1) * n) for line, text, n in zip(
            lines, added, tokens.tolist(), strict=True)]  # fmt: skip
        text = states.text + np.array(added, dtype=object)
        return states.replace(
            text=text,
            num_steps=states.num_steps + np.array([len(line) if line != [""] else 0 for line in lines], np.int64),
            num_tokens=states.num_tokens + tokens,
            last_tokens=np.where(tokens > 0, np.maximum(last, 1), 0),
            log_prob=states.log_prob + [c.log_prob(t) for c, t in zip(found, added, strict=True)],
            ending=answered(np.array([reason for _, reason in cut], np.int8), text, added),
        )

    def _ask(self, texts: list[str], streams: list[int], temperature: float, whole: bool) -> list[Completion]:
        """A completion of every text; where the context has no room for so many tokens, fewer are asked for."""
        found = [Completion("", "context", None, 0)] * len(texts)
        most, rows = self.limits.max_step_tokens * (self.limits.max_steps if whole else 1), list(range(len(texts)))
        least = min(most, LEAST_TOKENS)
        while rows and most >= least:
            bodies = [self._body(texts[i], streams[i], temperature, most, whole) for i in rows]
            answers = self.client.ask("completions", bodies, read_completion, [streams[i] for i in rows])
            for i, answer in zip(rows, answers, strict=True):
                if isinstance(answer, AnswerError) and not _NO_ROOM.search(str(answer)):
                    raise answer
                if isinstance(answer, Completion):
                    found[i] = answer
            rows = [i for i, answer in zip(rows, answers, strict=True) if isinstance(answer, AnswerError)]
            most //= 2
        return found

    def _body(self, prompt: str, stream: int, temperature: float, most: int, whole: bool) -> Plain:
        body: dict[str, Any] = {"prompt": prompt, "max_tokens": most, "temperature": temperature}
        body |= {"top_p": self.top_p} if self.top_p < 1 else {}
        body |= {"seed": stream % SEEDS} if self.seeds and temperature else {}
        body |= {"logprobs": 1} if self.log_probs else {}
        return body | ({} if whole else {"stop": ["\n"]})

    def _cut(self, before: str, found: Completion, steps_left: int, whole: bool) -> tuple[str, Ending]:
        """What is kept of a completion, and why it ends there."""
        lines, kept = _LINE.findall(found.text), ""
        for number, line in enumerate(lines, 1):
            kept += line
            if line.endswith("\n"):
                if number >= steps_left:
                    return kept, Ending.OUT_OF_STEPS
                if not whole or (is_final_answer(line) and final_answer(before + kept)):
                    return kept, Ending.OPEN
        if found.finish in ("length", "context"):
            return kept, Ending.LINE_TOO_LONG if found.finish == "length" else Ending.OUT_OF_CONTEXT
        dropped = found.stop == "\n" or (found.stop is None and self.line_break == "dropped" and kept)
        if whole or not dropped:
            return kept, Ending.NO_ANSWER
        return f"{kept}\n", Ending.OUT_OF_STEPS if steps_left <= 1 else Ending.OPEN
