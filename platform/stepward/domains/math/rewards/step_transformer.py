"""The step transformer: a solution as a sequence of vectors, one a step, and a logit after each of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from stepward.core.config import Config
from stepward.domains.math.defaults import EMBEDDED
from stepward.domains.math.states import MathStates

if TYPE_CHECKING:
    from stepward.domains.math.rewards.step_network import StepReward

__all__ = ["StepTransformer"]


class StepTransformer(Config):
    """A transformer over frozen vectors of steps, the question first.

    Much cheaper to train than a text model, because lines are embedded once; but it sees a line as a bag of hidden
    states, so an error in one digit may be lost.

    **Good values.** A sentence encoder such as ``sentence-transformers/all-MiniLM-L6-v2`` (384 numbers) as base;
    learning rate 3e-4. Vectors of lines are kept in files (`vector_files`), so that a second training reads none.
    """

    kind: Literal["step_transformer"] = "step_transformer"
    base: str = Field(
        EMBEDDED, description="frozen model that embeds lines: embedded (the proposer), a folder, a hub id"
    )
    width: int = Field(512, ge=1, description="width of the transformer")
    num_layers: int = Field(4, ge=1, description="layers")
    num_heads: int = Field(8, ge=1, description="attention heads; they divide the width")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout in training")
    max_steps: int = Field(512, ge=2, description="question and lines read; of longer solutions the last ones")

    @model_validator(mode="after")
    def _heads_divide_width(self) -> StepTransformer:
        if self.width % self.num_heads:
            raise ValueError(f"num_heads: expected a divisor of width {self.width}, got {self.num_heads}")
        return self

    def module(self) -> Any:
        """A fresh torch module: ``embeddings`` [n, t, c], ``lengths`` [n] -> logits [n]."""
        from stepward.domains.math.rewards.step_embeddings import embedder_of
        from stepward.domains.math.rewards.step_network import StepNetwork

        return StepNetwork(
            embedder_of(self.base).width,
            width=self.width,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
            dropout=self.dropout,
            max_steps=self.max_steps,
        )

    def encode(self, states: MathStates) -> dict[str, np.ndarray]:
        """Vectors of question and lines, padded on the right with zeros, and how many there are."""
        from stepward.domains.math.rewards.step_embeddings import embedder_of

        steps = self.steps(states)
        lengths = np.array([len(row) for row in steps], np.int64)
        embedder = embedder_of(self.base)
        vectors = embedder([step for row in steps for step in row])
        embeddings = np.zeros((len(steps), int(lengths.max(initial=1)), embedder.width), np.float32)
        embeddings[np.arange(embeddings.shape[1]) < lengths[:, None]] = vectors
        return {"embeddings": embeddings, "lengths": lengths}

    def steps(self, states: MathStates) -> list[list[str]]:
        """Question and lines of every state, at least one entry and at most `max_steps`."""
        rows = [[q, *steps] for q, steps in zip(states.question, states.steps(), strict=True)]
        return [row if len(row) <= self.max_steps else [row[0], *row[1 - self.max_steps :]] for row in rows]

    def reward(self, weights: Mapping[str, np.ndarray]) -> StepReward:
        """The reward model with these weights."""
        from stepward.domains.math.rewards.step_network import StepReward

        return StepReward(self.module(), self.base, self.steps, self.encode, weights)
