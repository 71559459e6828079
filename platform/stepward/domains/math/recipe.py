"""How the embedded proposer is made: tokenizer, model, curriculum. The same recipe and seed give the same weights.

The model is a small Llama (Touvron et al. 2023): rotary positions, RMSNorm, SwiGLU, tied embeddings. It is trained
from nothing on the synthetic family, whose training text errs at the planted rates, so that it errs likewise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int
from pydantic import Field
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from stepward.core.config import Config
from stepward.domains.math.synthetic import training_documents
from stepward.domains.math.tokenizer import train_tokenizer

__all__ = ["CurriculumStage", "ProposerRecipe", "encode_documents", "prompt_lengths"]


class CurriculumStage(Config):
    """One stage: some documents, and how fast to learn from them."""

    num_documents: int = Field(20_000, ge=1, description="documents, each read once; about 107 tokens apiece")
    drill_share: float = Field(0.15, ge=0, le=1, description="share of documents that are arithmetic drills")
    learning_rate: float = Field(1.5e-3, gt=0, description="at its peak, before the cosine decay")
    learn_questions: bool = Field(
        True, description="whether questions have a loss; most of it is the noise of names and numbers drawn at random"
    )


class ProposerRecipe(Config):
    """Everything that decides the embedded weights, but the seed."""

    hidden_size: int = Field(128, ge=8, description="width d of the residual stream")
    num_layers: int = Field(4, ge=1, description="transformer blocks")
    num_heads: int = Field(4, ge=1, description="attention heads; divides the width")
    feedforward_size: int = Field(352, ge=8, description="width of the SwiGLU layer; 8/3 d is usual")
    context: int = Field(512, ge=64, description="longest text in tokens")
    vocab_size: int = Field(448, ge=258, description="most tokens; BPE ends by itself at 434")
    ambiguous_error: float = Field(0.5, ge=0, le=1, description="planted rate of wrong readings of ambiguous phrases")
    slip: float = Field(0.02, ge=0, le=1, description="planted rate of wrong results")
    batch_size: int = Field(16, ge=1, description="documents a step, over all workers together")
    warmup_fraction: float = Field(0.03, ge=0, lt=1, description="share of a stage in which the rate rises from 0")
    final_fraction: float = Field(0.05, ge=0, le=1, description="rate at the end of a stage, as a share of its peak")
    stages: tuple[CurriculumStage, ...] = Field(
        (
            CurriculumStage(drill_share=0.25, learning_rate=2e-3),
            CurriculumStage(drill_share=0.15, learning_rate=1.5e-3),
            CurriculumStage(drill_share=0.05, learning_rate=2e-3, learn_questions=False),
            CurriculumStage(drill_share=0.05, learning_rate=1e-3, learn_questions=False),
        ),
        min_length=1,
        description="the curriculum: fewer and fewer drills, first all of the text, then the solutions",
    )
    num_validation: int = Field(
        500, ge=1, description="documents whose solutions' loss is reported; none of them is trained on"
    )

    def tokenizer(self, seed: int) -> PreTrainedTokenizerFast:
        """Fitted to 4,000 documents of the family, which hold all of its words."""
        documents = training_documents(seed, 4000)
        return train_tokenizer(documents, self.vocab_size, self.context)

    def model(self, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
        """The model with fresh weights, drawn from torch's global generator."""
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=self.hidden_size,
                intermediate_size=self.feedforward_size,
                num_hidden_layers=self.num_layers,
                num_attention_heads=self.num_heads,
                num_key_value_heads=self.num_heads,
                max_position_embeddings=self.context,
                tie_word_embeddings=True,
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=tokenizer.eos_token_id,
                bos_token_id=None,
            )
        )

    def documents(self, stage: int, seed: int) -> Iterator[str]:
        """Text of a stage's documents; no document is in two stages."""
        settings = self.stages[stage]
        return training_documents(
            seed,
            settings.num_documents,
            ambiguous_error=self.ambiguous_error,
            slip=self.slip,
            drill_share=settings.drill_share,
            start=sum(earlier.num_documents for earlier in self.stages[:stage]),
        )

    def validation_documents(self, seed: int) -> Iterator[str]:
        """Problems with solutions that err at the planted rates, beyond those of all stages, without drills."""
        start = sum(stage.num_documents for stage in self.stages)
        rates: dict[str, Any] = {"ambiguous_error": self.ambiguous_error, "slip": self.slip}
        return training_documents(seed, self.num_validation, drill_share=0.0, start=start, **rates)


def encode_documents(tokenizer: PreTrainedTokenizerFast, documents: Iterator[str]) -> list[Int[np.ndarray, " _"]]:
    """Token ids of each document, with the end token."""
    rows = tokenizer(list(documents))["input_ids"]
    return [np.array([*row, tokenizer.eos_token_id], dtype=np.int32) for row in rows]


def prompt_lengths(tokenizer: PreTrainedTokenizerFast, documents: Sequence[Int[np.ndarray, " _"]]) -> list[int]:
    """Tokens of the question of each document, its line break included; 0 for a drill, which asks nothing."""
    (question_mark,), (line_break,) = tokenizer("?")["input_ids"], tokenizer("\n")["input_ids"]
    return [int(np.flatnonzero(row == line_break)[0]) + 1 if question_mark in row else 0 for row in documents]
