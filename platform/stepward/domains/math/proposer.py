"""The proposer: a causal language model that writes one line a step, or whole solutions at once."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Int, UInt64

from stepward.core.batch import repeat
from stepward.core.rollout import Streams, complete
from stepward.core.seeding import Rng
from stepward.domains.math.continuation import Limits, extend
from stepward.domains.math.engine import ContinuationEngine, SamplingConfig, VLLMEngine
from stepward.domains.math.prompts import Prompt
from stepward.domains.math.states import Ending, MathDomain, MathStates
from stepward.domains.math.steps import is_final_answer

__all__ = ["LanguageModelProposer"]

PROBES = ("A", "the", "7", "(", "$x$", "Ünder", "«")  # questions that merge differently with the text before them
WORTH_SHARING = 16  # tokens; reading fewer costs less than attending to them apart
SEQUENCES_A_CALL = 8192  # of the engine: its account of tokens takes 4 KiB a sequence of 512 tokens


class LanguageModelProposer:
    """Samples lines from a causal LM through the continuation engine.

    A step is a line. It is sampled at one temperature, drawn anew for every line where there are several. A line that
    states a final answer completes the solution, and so does the end of the text where an answer can be found in it;
    limits of lines, tokens and context end it dead. Solutions that are over stay as they are.

    What a row says depends on its own stream, question and text. Cost is charged for the tokens sampled: reading the
    text before them is left out, because with a cache of keys and values it has been paid for.

    Args:
        engine: the model and how its rows are packed; it must have a tokenizer.
        temperatures: logits are divided by one of them; .3 and .7 mixed give both safe and bold lines, .8 alone is
            usual for Monte-Carlo labels.
        top_p: nucleus sampling; 1 samples from all tokens.
        limits: of lines and of their tokens.
        prompt: what the model continues.

    Raises:
        ValueError: an engine without a tokenizer; a prompt that leaves no room for a question in the context.
    """

    nfe = 1

    def __init__(
        self,
        engine: ContinuationEngine | VLLMEngine,
        *,
        temperatures: Sequence[float] = (0.8,),
        top_p: float = 1.0,
        limits: Limits | None = None,
        prompt: Prompt | None = None,
    ) -> None:
        if engine.tokenizer is None:
            raise ValueError("engine: expected one with a tokenizer, got one without. Pass tokenizer= to it.")
        self.engine, self.temperatures, self.top_p = engine, tuple(temperatures), top_p
        self.limits, self.prompt = limits or Limits(), prompt or Prompt()
        self.num_parameters = _parameters_a_token(engine)
        (alone,) = self._tokens([self.prompt.fill("")])
        if len(alone) >= engine.max_positions:
            raise ValueError(
                f"prompt: expected fewer than {engine.max_positions} tokens, the context of the model, got "
                f"{len(alone)} without any question. Leave out shots, or take a model of a longer context."
            )

    def at_temperature(self, temperature: float) -> LanguageModelProposer:
        """The same model at one temperature."""
        other = copy.copy(self)
        other.temperatures = (temperature,)
        return other

    def propose(self, states: MathStates, *, num_candidates: int, rng: Rng) -> MathStates:
        """`num_candidates` next lines of every solution."""
        keys, temperature = self._draw(rng, num_candidates)
        children = repeat(states.replace(last_tokens=np.zeros_like(states.last_tokens)), num_candidates)
        return self._write(children, keys, temperature, whole=False)

    def complete(self, states: MathStates, *, num_continuations: int, rng: Rng) -> MathStates:
        """Every solution `num_continuations` times written to its end: n -> n * M, row-major, none of them open.

        Distributed as `propose` applied line by line, and several times as fast, because a text is read once for all
        of its continuations and the batch is full until the last of them. With several temperatures it goes line by
        line.
        """
        size = max(1, SEQUENCES_A_CALL // num_continuations)
        pieces = [np.arange(first, min(first + size, len(states))) for first in range(0, len(states), size)]
        write = self._whole if len(self.temperatures) == 1 else self._line_by_line
        done = [write(states.take(piece), num_continuations, rng.take(piece)) for piece in pieces]
        return MathStates.concat([states.take(slice(0, 0)), *done])

    def encode(self, states: MathStates) -> list[list[int]]:
        """Token ids of prompt and text of every state."""
        texts = [self.prompt.fill(q) + t for q, t in zip(states.question, states.text, strict=True)]
        distinct = list(dict.fromkeys(texts))
        ids = dict(zip(distinct, self._tokens(distinct), strict=True)) if distinct else {}
        return [ids[text] for text in texts]

    def _tokens(self, texts: list[str]) -> list[list[int]]:
        tokenizer: Any = self.engine.tokenizer
        ids: list[list[int]] = tokenizer(texts, add_special_tokens=self.prompt.special_tokens, verbose=False)[
            "input_ids"
        ]
        return ids

    @cached_property
    def _common(self) -> list[int]:
        """Tokens that all prompts begin with: those of prompts with questions of several kinds."""
        places = zip(*self._tokens([self.prompt.fill(question) for question in PROBES]), strict=False)
        common = [tokens[0] for tokens in itertools.takewhile(lambda tokens: len(set(tokens)) == 1, places)]
        return common if len(common) >= WORTH_SHARING else []

    def _whole(self, states: MathStates, times: int, rng: Rng) -> MathStates:
        keys, temperature = self._draw(rng, times)
        return self._write(repeat(states, times), keys, temperature, whole=True)

    def _line_by_line(self, states: MathStates, times: int, rng: Rng) -> MathStates:
        return complete(
            repeat(states, times), domain=MathDomain(), proposer=self, streams=_forked_again(rng.repeat(times))
        )

    def _draw(self, rng: Rng, times: int) -> tuple[UInt64[np.ndarray, " m"], Int[np.ndarray, " m"]]:
        """A key of the engine's uniforms, and the index of a temperature, for each of `times` lines a stream."""
        keys = (rng.uniform(times).reshape(-1) * 2.0**53).astype(np.uint64)
        return keys, rng.integers(0, len(self.temperatures), times).reshape(-1)

    def _write(
        self, states: MathStates, keys: UInt64[np.ndarray, " m"], temperature: Int[np.ndarray, " m"], *, whole: bool
    ) -> MathStates:
        is_open = states.ending == Ending.OPEN
        for index, value in enumerate(self.temperatures):
            rows = np.flatnonzero(is_open & (temperature == index))
            if len(rows):
                states = _put(states, rows, self._sample(states.take(rows), keys[rows], value, whole=whole))
        return states

    def _sample(
        self, states: MathStates, keys: UInt64[np.ndarray, " m"], temperature: float, *, whole: bool
    ) -> MathStates:
        """Open solutions with one line more, or with all lines; the engine reads each text once for all of its rows."""
        prefixes, which = _distinct(self.encode(states))
        order = np.argsort(which, kind="stable")
        limits, back = self.limits, np.argsort(order)
        sampled = self.engine.sample(
            prefixes,
            np.bincount(which, minlength=len(prefixes)),
            keys=keys[order],
            common=self._common,
            config=SamplingConfig(
                temperature=temperature,
                top_p=self.top_p,
                max_new_tokens=limits.max_step_tokens * (limits.max_steps if whole else 1),
                stop_at_newline=not whole,
                stop_line=is_final_answer if whole else None,
            ),
        )
        assert self.engine.newlines is not None, "an engine with a tokenizer knows which tokens break lines"
        extended = extend(states.take(order), sampled, self.engine.newlines, limits, self.engine.tokenizer)
        return extended.take(back)


def _forked_again(rng: Rng) -> Streams:
    """Every line's streams are forks of the last line's."""
    now = rng

    def streams(rows: Int[np.ndarray, " m"], step: int) -> Rng:
        nonlocal now
        now = now.fork(0) if step else now
        return now.take(rows)

    return streams


def _parameters_a_token(engine: ContinuationEngine | VLLMEngine) -> int:
    """Weights that take part in a forward pass: an input embedding that is not the output matrix too is looked up."""
    total = sum(weight.numel() for weight in engine.model.parameters())  # shared weights are listed once
    looked_up = engine.model.get_input_embeddings().weight
    return total - (0 if looked_up is engine.model.get_output_embeddings().weight else looked_up.numel())


def _distinct(prefixes: list[list[int]]) -> tuple[list[list[int]], Int[np.ndarray, " n"]]:
    """The different prefixes in order of appearance, and which of them each row has."""
    index: dict[tuple[int, ...], int] = {}
    which = [index.setdefault(tuple(prefix), len(index)) for prefix in prefixes]
    return [list(prefix) for prefix in index], np.array(which, dtype=np.int64)


def _put(states: MathStates, rows: Int[np.ndarray, " r"], changed: MathStates) -> MathStates:
    """`states` with some rows exchanged."""
    place = np.arange(len(states))
    place[rows] = len(states) + np.arange(len(rows))
    return MathStates.concat([states, changed]).take(place)
