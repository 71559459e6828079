"""Settings that whoever writes or reads solutions shares: the prompt, what a step is, and the model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator, model_validator

from stepward.core.config import Config
from stepward.core.weights import weights_digest
from stepward.domains.math.defaults import EMBEDDED
from stepward.domains.math.prompts import PROMPT, Prompt, Reading, Shot, build_prompt, opening_of
from stepward.domains.math.steps import LINES, Limits, StepRule

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["PromptSettings", "ReadingSettings", "WriterSettings"]


class PromptSettings(Config):
    """What stands before a solution."""

    prompt: str = Field(PROMPT, description="what the model continues; {question} stands for the question")
    shots: tuple[Shot, ...] = Field((), description="examples before the question, [{question: …, solution: …}, …]")
    chat: bool = Field(False, description="put shots and prompt into the turns of the tokenizer's chat template")
    system: str | None = Field(None, min_length=1, description="system text of the chat")

    @field_validator("prompt")
    @classmethod
    def _has_question(cls, prompt: str) -> str:
        if "{question}" not in prompt:
            raise ValueError(f"expected a text with {{question}} in it, got {prompt!r}")
        return prompt

    @model_validator(mode="after")
    def _system_needs_chat(self) -> PromptSettings:
        if self.system is not None and not self.chat:
            raise ValueError("system: would have no effect without chat=true; leave it out, or put it into prompt")
        return self

    def full_prompt(self, tokenizer: PreTrainedTokenizerBase | None) -> Prompt:
        """Shots, system text and question as one; `tokenizer` is that of a chat."""
        return build_prompt(self.prompt, shots=self.shots, system=self.system, chat=self.chat, tokenizer=tokenizer)


class WriterSettings(PromptSettings):
    """How solutions are sampled and what is continued: the settings that models here and behind servers share."""

    temperatures: tuple[float, ...] = Field(
        (0.8,), min_length=1, description="drawn from for every step, e.g. [.3, .7]"
    )
    top_p: float = Field(1.0, gt=0, le=1, description="share of probability that is sampled from; 1: all of it")
    steps: StepRule = Field(LINES, description="where a step ends")
    max_steps: int = Field(16, ge=1, description="steps after which a solution without an answer is dead")
    max_step_tokens: int = Field(64, ge=1, description="tokens after which a step that does not end is dead")

    @field_validator("temperatures")
    @classmethod
    def _not_negative(cls, temperatures: tuple[float, ...]) -> tuple[float, ...]:
        if min(temperatures) < 0:
            raise ValueError(f"expected temperatures of 0 (greedy) or above, got {temperatures}")
        return temperatures

    @property
    def limits(self) -> Limits:
        """What a step is, how many there may be, and what begins the next question."""
        opening = "" if self.chat else opening_of(self.prompt)
        return Limits(self.max_steps, self.max_step_tokens, self.steps, opening)


class ReadingSettings(PromptSettings):
    """A causal language model here, and what it reads before a solution."""

    model: str = Field(EMBEDDED, description="embedded, a folder with safetensors weights, a GGUF file, or a hub id")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="precision; auto: bfloat16 on GPUs and where it measures faster, float32 for the embedded model",
    )
    spread: bool = Field(False, description="put the layers on all GPUs in turn, for a model that one cannot hold")
    attention: Literal["sdpa", "eager", "flash_attention_2"] | None = Field(
        None, description="attention of transformers, where the engine cannot use its own; none: its choice"
    )

    @property
    def reading(self) -> Reading:
        """Which model reads what: all that a hidden state depends on but its precision."""
        return Reading(weights_digest(self.model) or self.model, self.prompt, self.shots, self.chat, self.system)

    def require_files(self) -> None:
        """Raise ValueError for a model that can be nothing but a path, and is not there."""
        path = Path(self.model).expanduser()
        local = path.is_absolute() or self.model.startswith((".", "~")) or path.suffix.lower() == ".gguf"
        if local and not path.exists():
            raise ValueError(
                f"model: expected 'embedded', a folder with safetensors weights, a GGUF file or a hub id, got "
                f"{self.model!r}, where there is nothing. Correct the path."
            )

    def load(self) -> PreTrainedModel:
        """The model, on a GPU where there is one; the one that a proposer here has, where there is one."""
        from stepward.domains.math.models import load_once

        return load_once(self.model, None if self.dtype == "auto" else self.dtype, self.spread, self.attention)
