"""The proposer: a causal language model that writes a step, or whole solutions at once."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Int, UInt64

from stepward.core.seeding import Rng
from stepward.domains.math.continuation import extend, step_by_step, stopping
from stepward.domains.math.engine import ContinuationEngine, Continuations, SamplingConfig, TokenTexts, VLLMEngine
from stepward.domains.math.prompts import Prompt, Reading
from stepward.domains.math.states import MathStates
from stepward.domains.math.step_states import StepStates, ends_at, settled, watchers
from stepward.domains.math.steps import Limits
from stepward.domains.math.writer import SEQUENCES_A_CALL, Writer

__all__ = ["LanguageModelProposer"]

PROBES = ("A", "the", "7", "(", "$x$", "Ünder", "«")  # questions that merge differently with the text before them
WORTH_SHARING = 16  # tokens; reading fewer costs less than attending to them apart


class LanguageModelProposer(Writer):
    """Samples steps from a causal LM through the continuation engine; see `Writer`.

    Cost is charged for the tokens sampled: reading the text before them is left out, because with a cache of keys and
    values it has been paid for.

    Args:
        engine: the model and how its rows are packed; it must have a tokenizer.
        temperatures, top_p, limits, prompt: see `Writer`.
        reading: name of model and prompt, under which reward models find the hidden states that sampling leaves behind
            (`step_states`); None: none are kept.
        at_once: rollouts that nobody steers are sampled in one go: see `tell`. Other random numbers are drawn so.

    Raises:
        ValueError: an engine without a tokenizer; a prompt that leaves no room for a question in the context.
    """

    def __init__(
        self,
        engine: ContinuationEngine | VLLMEngine,
        *,
        temperatures: Sequence[float] = (0.8,),
        top_p: float = 1.0,
        limits: Limits | None = None,
        prompt: Prompt | None = None,
        reading: Reading | None = None,
        at_once: bool = False,
    ) -> None:
        if engine.tokenizer is None:
            raise ValueError("engine: expected one with a tokenizer, got one without. Pass tokenizer= to it.")
        super().__init__(temperatures, top_p, limits, prompt)
        self.engine, self.reading, self.at_once = engine, reading, at_once
        self.num_parameters = _parameters_a_token(engine)
        (alone,) = self._tokens([""], [""])
        if len(alone) >= engine.max_positions:
            raise ValueError(
                f"prompt: expected fewer than {engine.max_positions} tokens, the context of the model, got "
                f"{len(alone)} without any question. Leave out shots, or take a model of a longer context."
            )

    def encode(self, states: MathStates) -> list[list[int]]:
        """Token ids of prompt and text of every state."""
        return self._tokens(states.question, states.text)

    def _tokens(self, questions: Iterable[str], texts: Iterable[str]) -> list[list[int]]:
        assert self.engine.tokenizer is not None, "checked when it was made"
        return self.prompt.tokens(self.engine.tokenizer, questions, texts)

    @cached_property
    def _common(self) -> list[int]:
        """Tokens that all prompts begin with: those of prompts with questions of several kinds."""
        places = zip(*self._tokens(PROBES, [""] * len(PROBES)), strict=False)
        common = [tokens[0] for tokens in itertools.takewhile(lambda tokens: len(set(tokens)) == 1, places)]
        return common if len(common) >= WORTH_SHARING else []

    def sample(
        self, states: MathStates, keys: UInt64[np.ndarray, " m"], temperature: float, *, whole: bool
    ) -> MathStates:
        """Open solutions with one step more, or with all steps; the engine reads each text once for all of its rows."""
        watching = watchers(self.reading)
        order, prefixes, sampled = self._sampled(states, keys, temperature, whole=whole, watching=watching)
        states = states.take(order)
        extended = extend(states, sampled, self.limits, self._texts)
        if watching:
            self._leave_states(watching, prefixes, sampled, states, extended)
        return extended.take(np.argsort(order))

    def tell(self, states: MathStates, *, rng: Rng) -> Iterator[tuple[Int[np.ndarray, " _"], MathStates]] | None:
        """Whole solutions, told step by step: texts are read once and not anew for every step.

        None with several temperatures, and where somebody wants the hidden states at the ends of steps.
        """
        one = len(self.temperatures) == 1 and len(states) <= SEQUENCES_A_CALL
        if not self.at_once or not one or watchers(self.reading):
            return None
        keys, _ = self._draw(rng, 1)
        order, _, sampled = self._sampled(states, keys, self.temperatures[0], whole=True)
        return _in_order(order, step_by_step(states.take(order), sampled, self.limits, self._texts))

    @property
    def _texts(self) -> TokenTexts:
        assert self.engine.texts is not None, "an engine with a tokenizer knows the texts of tokens"
        return self.engine.texts

    def _sampled(
        self,
        states: MathStates,
        keys: UInt64[np.ndarray, " m"],
        temperature: float,
        *,
        whole: bool,
        watching: Sequence[StepStates] = (),
    ) -> tuple[Int[np.ndarray, " m"], list[list[int]], Continuations]:
        """An order of the rows in which equal texts are neighbours, the texts, and continuations in that order."""
        prefixes, which = _distinct(self.encode(states))
        order = np.argsort(which, kind="stable")
        sampled = self.engine.sample(
            prefixes,
            np.bincount(which, minlength=len(prefixes)),
            keys=keys[order],
            common=self._common,
            config=SamplingConfig(
                temperature=temperature,
                top_p=self.top_p,
                state_layers=tuple(sorted({layer for one in watching for layer in one.layers})),
                **stopping(states.take(order), self.limits, whole=whole),
            ),
        )
        return order, prefixes, sampled

    def _leave_states(
        self,
        watching: list[StepStates],
        prefixes: list[list[int]],
        sampled: Continuations,
        before: MathStates,
        after: MathStates,
    ) -> None:
        """Give away the states that last tokens were drawn from, and those of bare questions.

        A text that the tokenizer would write in other tokens than were sampled has another state when it is read again,
        so that of the sampling is not kept.
        """
        assert sampled.states is not None and sampled.starts is not None, "they were asked for"
        texts, tokens = settled(after.written()), sampled.token_lists()
        read = [
            row[: ends_at(row, text)] == [*prefixes[prefix], *drawn[:-1]]
            for row, text, prefix, drawn in zip(
                self._tokens(after.question, texts), texts, sampled.prefix, tokens, strict=True
            )
        ]
        rows, bare = np.flatnonzero(read), np.flatnonzero(before.text == "")
        bare = bare[np.unique(sampled.prefix[bare], return_index=True)[1]]
        layers = sorted({layer for one in watching for layer in one.layers})
        for one in watching:
            mine = [layers.index(layer) for layer in one.layers]
            starts, ends = sampled.starts[sampled.prefix[bare]][:, mine], sampled.states[rows][:, mine]
            one.note(before.question[bare], before.text[bare], starts.reshape(-1, one.width))
            one.note(after.question[rows], texts[rows], ends.reshape(-1, one.width))


def _in_order(
    order: Int[np.ndarray, " n"], told: Iterator[tuple[Int[np.ndarray, " _"], MathStates]]
) -> Iterator[tuple[Int[np.ndarray, " _"], MathStates]]:
    """What is told of states that were put into another order."""
    for rows, children in told:
        by_row = np.argsort(order[rows])
        yield order[rows][by_row], children.take(by_row)


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
