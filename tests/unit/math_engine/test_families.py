"""Families of models in common use, each by the path that the engine takes for it, against `generate`."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from stepward.domains.math.engine import ContinuationEngine, SamplingConfig, sequence_keys

VOCAB, CONTEXT, WINDOW = 61, 64, 8
SIZES: dict[str, Any] = dict(
    vocab_size=VOCAB, hidden_size=32, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
    intermediate_size=48, max_position_embeddings=CONTEXT, initializer_range=0.2, bos_token_id=1, eos_token_id=5,
    pad_token_id=0,
)  # fmt: skip
HEADS: dict[str, Any] = dict(head_dim=16)
# name: (type, what is special about it, the path: prefixes shared in one batch, or one prefix at a time)
FAMILIES: dict[str, tuple[str, dict[str, Any], str]] = {
    "Llama": ("llama", {}, "fused"),
    "SmolLM2": ("llama", dict(tie_word_embeddings=True), "fused"),
    "SmolLM3": ("smollm3", {}, "shared"),
    "Qwen2.5": ("qwen2", {}, "fused"),
    "Qwen3": ("qwen3", HEADS, "shared"),
    "Gemma": ("gemma", HEADS, "shared"),
    "Gemma 2": ("gemma2", HEADS | dict(sliding_window=WINDOW, query_pre_attn_scalar=16), "generic"),
    "Gemma 3": ("gemma3_text", HEADS | dict(sliding_window=WINDOW, query_pre_attn_scalar=16), "generic"),
    "Phi 2": ("phi", dict(partial_rotary_factor=0.5), "shared"),
    "Phi 3": ("phi3", dict(sliding_window=None), "shared"),
    "Mistral, all of the context": ("mistral", dict(sliding_window=None), "shared"),
    "Mistral, a window": ("mistral", dict(sliding_window=WINDOW), "generic"),
    "OLMo 2": ("olmo2", {}, "shared"),
    "Granite": ("granite", {}, "shared"),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_greedy_tokens_are_those_of_generate(name: str) -> None:
    """With what prefixes begin with read once, beyond the sliding window where there is one."""
    torch.manual_seed(0)
    kind, special, path = FAMILIES[name]
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **SIZES | special)).eval()
    engine = ContinuationEngine(model, rows=8)
    assert engine.backend == path
    rng = np.random.default_rng(1)
    common = rng.integers(6, VOCAB, 18).tolist()
    prefixes = [common + rng.integers(6, VOCAB, size).tolist() for size in (1, 7, 12)] + [[9, 8, 7]]
    counts, config = np.full(len(prefixes), 2), SamplingConfig(temperature=0, max_new_tokens=14)
    keys = sequence_keys(0, int(counts.sum()))
    sampled = engine.sample(prefixes, counts, keys=keys, config=config, common=common)
    for i, tokens in enumerate(sampled.token_lists()):
        text = torch.tensor([prefixes[sampled.prefix[i]]])
        expected = model.generate(text, attention_mask=torch.ones_like(text), do_sample=False, max_new_tokens=14)
        assert expected[0, text.shape[1] :].tolist() == tokens
