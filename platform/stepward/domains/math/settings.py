"""Settings of the language-model proposer. Torch and transformers are imported when a model is built, not before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from stepward.domains.math.defaults import EMBEDDED
from stepward.domains.math.reading_settings import ReadingSettings, WriterSettings

if TYPE_CHECKING:
    from stepward.domains.math.proposer import LanguageModelProposer

__all__ = ["LanguageModelSettings"]


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
