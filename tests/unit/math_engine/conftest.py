"""Small models with random weights, spread wide enough that greedy choices are not ties."""

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

VOCAB, CONTEXT, EOS = 61, 64, 5


def make_model(kind: str) -> PreTrainedModel:
    torch.manual_seed(0)
    shared = dict(vocab_size=VOCAB, bos_token_id=1, eos_token_id=EOS, initializer_range=0.2)
    if kind == "gpt2":
        return GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=CONTEXT, **shared)).eval()
    sizes = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48)
    sizes |= dict(max_position_embeddings=CONTEXT, **shared)
    if kind == "llama":
        return LlamaForCausalLM(LlamaConfig(tie_word_embeddings=True, **sizes)).eval()
    return Qwen2ForCausalLM(Qwen2Config(num_key_value_heads=2, **sizes)).eval()


@pytest.fixture(scope="session", params=["llama", "qwen2", "gpt2"])
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    return make_model(request.param)


@pytest.fixture(scope="session")
def llama() -> PreTrainedModel:
    return make_model("llama")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
