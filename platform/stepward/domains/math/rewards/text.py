"""The text process reward model: a transformer that reads question and solution, and a head at the end of each step.

Sources: reading off at step ends, Lightman et al. 2023, "Let's verify step by step", section 2.6; success shares of
continuations as targets, Wang et al. 2024, "Math-Shepherd", section 3.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field, field_validator, model_validator

from stepward.core.config import Config, Plain
from stepward.core.interfaces import Status
from stepward.domains.math.defaults import EMBEDDED
from stepward.domains.math.prompts import PROMPT
from stepward.domains.math.rewards.low_rank import LowRank
from stepward.domains.math.rewards.rows import padded
from stepward.domains.math.states import MathDomain, MathStates, roots

if TYPE_CHECKING:
    from stepward.domains.math.rewards.text_scoring import TextReward

__all__ = ["TextPRM", "TextSettings", "solutions_of"]


class TextSettings(Config):
    """A language model or an encoder with a head.

    Trained weights hold body and head, or adapters and head; the configuration and the tokenizer are the base's, which
    must be there whenever the model is used.
    """

    base: str = Field(
        EMBEDDED, description="embedded (the shipped proposer), a folder, or a hub id; AutoModel reads it"
    )
    init: Literal["pretrained", "scratch"] = Field("pretrained", description="first weights: the base's, or random")
    pool: Literal["last", "first"] = Field(
        "last", description="read the last token of the text, or its first ([CLS]; encoders only)"
    )
    head_width: int | None = Field(None, ge=1, description="units inside the head; none: the width of the body")
    prompt: str | None = Field(
        None, description="what the model reads before the solution; none: the proposer's, without its shots"
    )
    lora: LowRank | None = Field(
        None, description="train adapters (package peft) and leave the body; none: train all of it"
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32", description="precision of a body that is left as it is; what is trained is float32 always"
    )
    checkpointing: bool = Field(
        False, description="compute hidden states again in the backward pass, where memory is short"
    )
    export: bool = Field(
        False, description="write the trained body as transformers reads it, too; adapters are always written for peft"
    )

    @model_validator(mode="after")
    def _adapters_need_a_body(self) -> TextSettings:
        if self.lora is None and self.dtype != "float32":
            raise ValueError(
                f"dtype={self.dtype!r}: expected lora, too, got a body that is trained, whose weights are float32. On "
                "GPUs optimisation.mixed_precision computes in bfloat16; or train adapters: learner.lora.rank=16."
            )
        if self.lora is not None and (self.init == "scratch" or self.export):
            raise ValueError(
                "lora: init='scratch' and export would have no effect on a body that stays; leave them out"
            )
        return self

    @field_validator("prompt")
    @classmethod
    def _has_question(cls, prompt: str | None) -> str | None:
        if prompt is not None and "{question}" not in prompt:
            raise ValueError(f"expected a text with {{question}} in it, got {prompt!r}")
        return prompt

    def follow(self, policy: Plain) -> TextSettings:
        """The same, with the prompt of the labels' proposer where none is named."""
        return self if self.prompt is not None else self.model_copy(update={"prompt": policy.get("prompt", PROMPT)})

    def module(self) -> Any:
        """A fresh torch module: ``tokens`` [n, t] -> logits [n]."""
        return self.network(pretrained=self.init == "pretrained")

    def tokens(self, states: MathStates) -> list[list[int]]:
        """Token ids of every state; of a text longer than the model's context its end."""
        from stepward.domains.math.rewards.body import context_of, tokenizer_of

        prompt = self.prompt or PROMPT
        texts = [prompt.replace("{question}", q) + t for q, t in zip(states.question, states.written(), strict=True)]
        distinct = list(dict.fromkeys(texts))
        if not distinct:
            return []
        ids = tokenizer_of(self.base)(distinct, truncation=True, max_length=context_of(self.base))["input_ids"]
        found = dict(zip(distinct, ids, strict=True))
        return [found[text] for text in texts]

    def network(self, *, pretrained: bool) -> Any:
        """Body and head, the body with the weights of the base or with random ones."""
        from stepward.domains.math.rewards.body import StepScorer

        return StepScorer(self.body(pretrained=pretrained), head_width=self.head_width, pool=self.pool)

    def body(self, *, pretrained: bool) -> Any:
        """The body with what of it is trained: all, or adapters, which need the base's own weights beside them."""
        from stepward.domains.math.rewards.body import build_body

        body = build_body(self.base, pretrained=pretrained or self.lora is not None, dtype=self.dtype)
        if self.checkpointing:
            body.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        if self.lora is not None:
            from stepward.domains.math.rewards.adapters import add_adapters

            add_adapters(body, self.lora, base=self.base)
        return body

    def exports(self, weights: Mapping[str, np.ndarray], folder: Path) -> None:
        """Write what was trained as plain transformers and peft read it, and the head beside it; nothing by default."""
        if self.export or self.lora is not None:
            from stepward.domains.math.rewards.adapters import write_trained

            write_trained(self, weights, folder)


class TextPRM(TextSettings):
    """The probability of success after each step.

    **Good values.** A head of the body's width; learning rate 1e-3 for the embedded base and 1e-5 for models of 100 M
    parameters or more; a few hundred steps before any judgement, because the model learns late.
    """

    kind: Literal["text"] = "text"
    outcome_weight: float = Field(0.0, ge=0, description="α: learn the outcome of each row's solution beside its score")
    next_step_weight: float = Field(0.0, ge=0, description="β: learn the next tokens too; decoders only; .1 is a start")

    def network(self, *, pretrained: bool) -> Any:
        """Body and head; another head for outcomes, if these are learned too."""
        if not self.outcome_weight and not self.next_step_weight:
            return super().network(pretrained=pretrained)
        from stepward.domains.math.rewards.joint import JointScorer

        return JointScorer(
            self.body(pretrained=pretrained),
            head_width=self.head_width,
            pool=self.pool,
            outcome_weight=self.outcome_weight,
            next_step_weight=self.next_step_weight,
        )

    def beside(self, states: MathStates, shares: Float[np.ndarray, " n"]) -> dict[str, np.ndarray]:
        """Further inputs in training: the outcome of each row's solution, and how many of its tokens are question.

        The outcome is the label of the finished solution that begins with the row, −1 where there is none.
        """
        found: dict[str, np.ndarray] = {}
        if self.outcome_weight:
            whole = solutions_of(states)
            complete = MathDomain().status(states)[whole] == Status.COMPLETE
            found["outcome"] = np.where(complete, shares[whole], -1.0).astype(np.float32)
        if self.next_step_weight:
            found["question"] = np.array([len(row) for row in self.tokens(roots(states.question, states.reference))])
        return found

    def encode(self, states: MathStates) -> dict[str, np.ndarray]:
        """Token ids of prompt and solution, padded on the right with −1, [n, t]."""
        return {"tokens": padded(self.tokens(states))}

    def bundles(self, states: MathStates) -> Int[np.ndarray, " n"]:
        """One number for a solution and its beginnings, which a causal body reads in one pass.

        A beginning that several solutions share goes with one of them.
        """
        return solutions_of(states)

    def reward(self, weights: Mapping[str, np.ndarray]) -> TextReward:
        """The reward model with these weights; those of the base are not read."""
        from stepward.domains.math.rewards.text_scoring import TextReward

        return TextReward(self.tokens, self.network(pretrained=False), weights)


def solutions_of(states: MathStates) -> Int[np.ndarray, " n"]:
    """The row of a longest text that begins with each row's text, of the same question; itself where there is none.

    In the order of the alphabet a text stands right before all those that begin with it, so only neighbours need to be
    compared.
    """
    texts = [f"{q}\x00{text}" for q, text in zip(states.question, states.written(), strict=True)]
    order = sorted(range(len(texts)), key=texts.__getitem__)
    host = np.arange(len(texts))
    for row, following in zip(reversed(order[:-1]), reversed(order[1:]), strict=True):
        if texts[following].startswith(texts[row]):
            host[row] = host[following]
    return host
