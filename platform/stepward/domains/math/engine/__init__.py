"""Prefix-sharing generation: many continuations of many prefixes in one full batch, and incremental scoring."""

from stepward.domains.math.engine.config import Continuations, EngineStats, FinishReason, SamplingConfig
from stepward.domains.math.engine.engine import Backend, ContinuationEngine
from stepward.domains.math.engine.incremental import IncrementalScorer
from stepward.domains.math.engine.streams import Uniforms, sequence_keys, splitmix_uniforms
from stepward.domains.math.engine.texts import TokenTexts
from stepward.domains.math.engine.vllm_engine import VLLMEngine

__all__ = [
    "Backend",
    "ContinuationEngine",
    "Continuations",
    "EngineStats",
    "FinishReason",
    "IncrementalScorer",
    "SamplingConfig",
    "TokenTexts",
    "Uniforms",
    "VLLMEngine",
    "sequence_keys",
    "splitmix_uniforms",
]
