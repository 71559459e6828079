"""Heads on hidden states of steps, as settings; and the texts whose states they read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from stepward.core.config import Config
from stepward.domains.math.states import MathStates

__all__ = ["Head", "LinearHead", "MLPHead", "TransformerHead", "beginnings"]


class LinearHead(Config):
    """A logistic regression."""

    kind: Literal["linear"] = "linear"
    history: bool = Field(True, description="read the state before and the mean of all, too, and not the last one only")


class MLPHead(Config):
    """One hidden layer."""

    kind: Literal["mlp"] = "mlp"
    history: bool = Field(True, description="read the state before and the mean of all, too, and not the last one only")
    width: int = Field(256, ge=1, description="hidden units")
    dropout: float = Field(0.5, ge=0, lt=1, description="of inputs and hidden units, in training")


class TransformerHead(Config):
    """Attention over the states of all steps so far, the question's first."""

    kind: Literal["transformer"] = "transformer"
    width: int = Field(128, ge=1, description="width of the transformer")
    num_layers: int = Field(2, ge=1, description="layers")
    num_heads: int = Field(4, ge=1, description="attention heads; they divide the width")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout in training")
    max_steps: int = Field(64, ge=2, description="states read, the question's and those of the last steps")

    @model_validator(mode="after")
    def _heads_divide_width(self) -> TransformerHead:
        if self.width % self.num_heads:
            raise ValueError(f"num_heads: expected a divisor of width {self.width}, got {self.num_heads}")
        return self


Head = Annotated[LinearHead | MLPHead | TransformerHead, Field(discriminator="kind")]


def beginnings(states: MathStates) -> list[list[str]]:
    """The text of every state after each of its steps, that of the bare question first."""
    return [_grown(steps) for steps in states.steps()]


def _grown(steps: Sequence[str]) -> list[str]:
    texts = [""]
    for step in steps:
        texts.append(texts[-1] + step)
    return texts
