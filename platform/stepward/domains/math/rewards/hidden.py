"""The reward model that costs next to nothing: a head on what the proposer itself knew at the end of every step.

A language model that writes a step has computed hidden states, and these tell right steps from wrong ones better than
the probabilities that are made of them (Azaria and Mitchell 2023, "The internal state of an LLM knows when it's
lying"). Sampling leaves them behind, so steering a search by them takes no second pass over the text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field, field_validator

from stepward.core.config import Config, Plain
from stepward.domains.math.reading_settings import ReadingSettings
from stepward.domains.math.rewards.hidden_heads import Head, LinearHead, MLPHead, TransformerHead, beginnings
from stepward.domains.math.settings import LanguageModelSettings
from stepward.domains.math.states import MathStates

if TYPE_CHECKING:
    from stepward.domains.math.rewards.hidden_network import HiddenReward
    from stepward.domains.math.step_states import StepStates

__all__ = ["HiddenPRM", "LinearHead", "MLPHead", "TransformerHead"]

DEPTH = 0.6  # of all blocks: states of the middle see more than those next to the words


class HiddenPRM(Config):
    """The probability of success after each step, from the hidden states of a language model at the ends of steps.

    The states of what the model samples come with the sampling; other texts, such as those of a training, are read. A
    state is the one that the last token of a step was drawn from: see `step_states`.

    **Good values.** One layer of the middle; the MLP; learning rate 1e-3 and the best epoch kept. With a few thousand
    labels a dropout of .1 is over its best after one epoch, and one of .5 stays there.
    """

    kind: Literal["hidden"] = "hidden"
    model: ReadingSettings | None = Field(
        None,
        description="whose states: model and prompt, which must be the proposer's; none: those of the labels",
    )
    layers: tuple[int, ...] = Field((), description="blocks, from 1, after which states are taken; none: one at .6")
    head: Head = Field(MLPHead(), description="what reads the states")
    second_pass: bool = Field(
        False, description="read all texts with a model of its own, whoever writes them, and be charged for it"
    )

    @field_validator("layers")
    @classmethod
    def _in_order(cls, layers: tuple[int, ...]) -> tuple[int, ...]:
        if list(layers) != sorted(set(layers)) or min(layers, default=1) < 1:
            raise ValueError(f"expected numbers of blocks from 1, each once and in order, got {layers}")
        return layers

    @property
    def source(self) -> ReadingSettings:
        """The model that is read, and what it reads first."""
        return self.model or ReadingSettings()

    def follow(self, policy: Plain) -> HiddenPRM:
        """The same, with model and prompt of the labels' proposer where none are named."""
        if self.model is not None or "model" not in policy:
            return self
        same = {name: policy[name] for name in ReadingSettings.model_fields if name in policy}
        return self.model_copy(update={"model": ReadingSettings.model_validate(same)})

    def states(self) -> StepStates:
        """Where the states come from."""
        from stepward.domains.math.step_states import StepStates, states_of

        layers = self._layers()
        return StepStates(self.source, layers) if self.second_pass else states_of(self.source, layers)

    def _layers(self) -> tuple[int, ...]:
        from stepward.domains.math.models import skeleton

        num = skeleton(self.source.model).config.get_text_config().num_hidden_layers
        if max(self.layers, default=0) >= num:
            raise ValueError(
                f"layers: expected blocks from 1 to {num - 1} of the {num} of {self.source.model!r}, got "
                f"{self.layers}; "
                "the state after the last is normalised, and nearest to the words"
            )
        return self.layers or (max(int(DEPTH * num), 1),)

    def module(self) -> Any:
        """A fresh torch module: ``states`` [n, t, w], ``lengths`` [n] -> logits [n]."""
        from stepward.domains.math.rewards.hidden_network import HiddenNetwork

        return HiddenNetwork(self.states().width, self.head)

    def encode(self, states: MathStates) -> dict[str, np.ndarray]:
        """States of question and steps that the head reads, padded on the right with zeros, and how many there are."""
        return self.encode_from(self.states(), states)

    def encode_from(self, source: StepStates, states: MathStates) -> dict[str, np.ndarray]:
        """`encode` with the states of a source."""
        rows = self.texts(states)
        lengths = np.array([len(row) for row in rows], np.int64)
        questions = np.repeat(states.question, lengths)
        vectors = source(questions, np.array([text for row in rows for text in row], object))
        parts = [self._read(part) for part in np.split(vectors, np.cumsum(lengths)[:-1])] if len(rows) else []
        found = np.zeros((len(rows), max(map(len, parts), default=1), source.width), np.float32)
        for row, part in zip(found, parts, strict=True):
            row[: len(part)] = part
        return {"states": found, "lengths": np.array([len(part) for part in parts], np.int64)}

    def texts(self, states: MathStates) -> list[list[str]]:
        """The texts whose states are read, of every state: all its beginnings, or itself alone."""
        if isinstance(self.head, TransformerHead) or self.head.history:
            return beginnings(states)
        return [[text] for text in states.written()]

    def _read(self, vectors: Float[np.ndarray, "t w"]) -> Float[np.ndarray, "r w"]:
        """What the head reads of question and steps: all; or the last, the one before, and the mean over steps."""
        if isinstance(self.head, TransformerHead):
            most = self.head.max_steps
            return vectors if len(vectors) <= most else np.concatenate([vectors[:1], vectors[1 - most :]])
        if not self.head.history:
            return vectors[-1:]
        return np.stack(
            [vectors[-1], vectors[max(len(vectors) - 2, 0)], vectors[1:].mean(0) if len(vectors) > 1 else vectors[0]]
        )

    def adapt(self, module: Any, inputs: Plain) -> None:
        """Take the scale of every number from the training rows."""
        module.scale_to(inputs["states"], inputs["lengths"])

    def check_proposer(self, proposer: Config) -> None:
        """Raise ValueError for settings of a proposer that leaves no states behind, or those of another model."""
        reason = "" if self.second_pass else _misfit(self.source, proposer)
        if reason:
            raise ValueError(
                f"This reward model reads the hidden states of {self.source.model!r} while it samples, but {reason}. "
                "Train it with the proposer's model and prompt (learner.model.…), or with learner.second_pass=true, "
                "which reads all texts again and is charged for it."
            )

    def reward(self, weights: Mapping[str, np.ndarray]) -> HiddenReward:
        """The reward model with these weights."""
        from stepward.domains.math.rewards.hidden_network import HiddenReward

        return HiddenReward(self, weights)


def _misfit(mine: ReadingSettings, proposer: Config) -> str:
    if not isinstance(proposer, LanguageModelSettings) or proposer.engine == "vllm":
        kind = "vllm" if isinstance(proposer, LanguageModelSettings) else getattr(proposer, "kind", "another")
        return f"a proposer of kind {kind!r} gives no states away"
    theirs = proposer.reading
    different = [name for name, a, b in zip(theirs._fields, mine.reading, theirs, strict=True) if a != b]
    if "model" in different:
        return f"the proposer is {proposer.model!r}"
    return f"the proposer has another {' and '.join(different)}" if different else ""
