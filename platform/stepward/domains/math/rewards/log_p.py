"""What a language model thinks of steps that others wrote: the mean log p of a token of the last one.

Of texts that a proposer samples, `likelihood` knows this for nothing; of texts from elsewhere, such as those of a
benchmark, somebody has to read them.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field

from stepward.core.config import Config
from stepward.core.interfaces import Domain
from stepward.domains.math.reading_settings import ReadingSettings
from stepward.domains.math.rewards.text import solutions_of
from stepward.domains.math.states import MathStates, roots

__all__ = ["LogP"]

TOKENS = 256  # whose probabilities are computed at once: a vocabulary wide each


class LogP(Config):
    """Mean log p of the tokens of the last step, in nats, under a language model that reads the text."""

    kind: Literal["log_p"] = "log_p"
    model: ReadingSettings = Field(ReadingSettings(), description="which model reads, and after what prompt")

    def build(self, domain: Domain) -> _LogP:
        """The reward model; the language model is loaded when it first scores."""
        return _LogP(self.model)


class _LogP:
    def __init__(self, settings: ReadingSettings) -> None:
        from stepward.domains.math.models import skeleton

        self._settings = settings
        self.num_parameters = sum(weight.numel() for weight in skeleton(settings.model).parameters())

    def score(self, parents: MathStates, children: MathStates) -> Float[np.ndarray, " n"]:
        """One pass a solution, however many of its beginnings are among the children."""
        host = solutions_of(children)
        ends, starts = self._lengths(children.question, children.text), self._lengths(children.question, parents.text)
        wholes = {int(row): self._cumulative(children.question[row], children.text[row]) for row in np.unique(host)}
        found = np.zeros(len(children))
        for row in range(len(children)):
            sums, end = wholes[int(host[row])], int(ends[row])
            start = max(min(int(starts[row]), end - 1), 1)
            found[row] = (sums[end - 1] - sums[start - 1]) / max(end - start, 1)
        return found

    def charged_tokens(self, children: MathStates) -> Int[np.ndarray, " n"]:
        """Tokens of the last step, and with a first step those of the question, too."""
        before = roots(children.question, children.reference).replace(text=children.before())
        own = self._lengths(children.question, children.text)
        return own - np.where(children.num_steps > 1, self._lengths(children.question, before.text), 0)

    @cached_property
    def _tools(self) -> tuple[Any, Any]:
        from stepward.domains.math.models import load_tokenizer

        tokenizer = load_tokenizer(self._settings.model)
        return tokenizer, self._settings.full_prompt(tokenizer)

    def _lengths(self, questions: np.ndarray, texts: np.ndarray) -> Int[np.ndarray, " n"]:
        tokenizer, prompt = self._tools
        return np.array([len(row) for row in prompt.tokens(tokenizer, questions, texts)], np.int64)

    def _cumulative(self, question: str, text: str) -> Float[np.ndarray, " t"]:
        """Sums of log p of the first tokens but the first, which nothing predicts: one number a token."""
        import torch

        tokenizer, prompt = self._tools
        model = self._settings.load()
        with torch.inference_mode():
            ids = torch.tensor(prompt.tokens(tokenizer, [question], [text]), device=model.device)
            hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state[0, :-1]
            parts = [
                torch.nn.functional.cross_entropy(
                    model.get_output_embeddings()(hidden[first : first + TOKENS]).float(),
                    ids[0, first + 1 : first + 1 + TOKENS],
                    reduction="none",
                )
                for first in range(0, len(hidden), TOKENS)
            ]
        return np.concatenate([[0.0], -torch.cat(parts).double().cumsum(0).cpu().numpy()])
