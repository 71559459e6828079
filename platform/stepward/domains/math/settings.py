"""Settings of the language-model proposer. Torch and transformers are imported when a model is built, not before."""

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

    from stepward.domains.math.proposer import LanguageModelProposer

__all__ = ["LanguageModelSettings", "ReadingSettings", "WriterSettings"]


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


class LanguageModelSettings(ReadingSettings, WriterSettings):
    """A causal language model: the embedded one, a folder, or an id of the Hugging Face hub."""

    kind: Literal["lm"] = "lm"
    engine: Literal["own", "vllm"] = Field(
        "own", description="what samples: the engine here, on CPU or GPU; or vLLM, on GPU, where it is installed"
    )
    memory: float | None = Field(
        None, gt=0, le=1, description="share of a GPU's memory that vLLM takes; none: .9. For workers that share a GPU"
    )

    @model_validator(mode="after")
    def _no_setting_without_effect(self) -> LanguageModelSettings:
        if self.memory is not None and self.engine != "vllm":
            raise ValueError(f"memory: would have no effect with engine={self.engine!r}; leave it out, or take vllm")
        if self.engine == "vllm" and self.model == EMBEDDED:
            raise ValueError("engine='vllm': expected a folder or a hub id as model; the embedded one takes engine=own")
        if self.engine == "vllm" and (self.spread or self.attention):
            raise ValueError("spread, attention: would have no effect with engine='vllm'; leave them out")
        return self

    def build(self) -> LanguageModelProposer:
        """Load the model, on a GPU where there is one."""
        from stepward.domains.math.engine import ContinuationEngine, VLLMEngine
        from stepward.domains.math.models import load_tokenizer, refuse_pickles
        from stepward.domains.math.proposer import LanguageModelProposer

        engine: ContinuationEngine | VLLMEngine
        if self.engine == "vllm":
            refuse_pickles(self.model)
            tokenizer = load_tokenizer(self.model)
            engine = VLLMEngine(self.model, tokenizer=tokenizer, dtype=self.dtype, memory=self.memory or 0.9)
        else:
            model, tokenizer = self.load(), load_tokenizer(self.model)
            rows = 128 if model.device.type == "cpu" else 512
            engine = ContinuationEngine(
                model, tokenizer=tokenizer, rows=rows, backend="generic" if self.spread else "auto"
            )
            if self.attention and engine.backend != "generic":
                raise ValueError(
                    f"attention: would have no effect, because the engine attends by itself in {type(model).__name__}; "
                    "leave it out"
                )
        return LanguageModelProposer(
            engine,
            temperatures=self.temperatures,
            at_once=self.model != EMBEDDED,
            top_p=self.top_p,
            limits=self.limits,
            prompt=self.full_prompt(tokenizer),
            reading=None if self.engine == "vllm" else self.reading,
        )
