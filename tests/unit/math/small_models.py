"""A tokenizer of nine tokens and models with random weights, small enough that every ending occurs often."""

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from stepward.domains.math.engine import ContinuationEngine
from stepward.domains.math.proposer import LanguageModelProposer
from stepward.domains.math.steps import Limits

TOKENS = ["<end>", "a", "b", "1", "2", "+", "\n", "A: 1", "A: 2"]
CONTEXT = 24


def small_tokenizer() -> PreTrainedTokenizerFast:
    """Characters and two answers; it has no pad token."""
    tokenizer = Tokenizer(models.WordLevel({token: i for i, token in enumerate(TOKENS)}, unk_token="<end>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"A: \d|[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<end>", clean_up_tokenization_spaces=False, model_max_length=CONTEXT
    )


def small_model(spread: float = 0.3) -> LlamaForCausalLM:
    torch.manual_seed(0)
    sizes = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(TOKENS),
            max_position_embeddings=CONTEXT,
            initializer_range=spread,
            bos_token_id=None,
            eos_token_id=0,
            **sizes,
        )
    ).eval()


def small_proposer(**options: object) -> LanguageModelProposer:
    engine = ContinuationEngine(small_model(), tokenizer=small_tokenizer(), rows=32)
    options = {"temperatures": (1.0,), "limits": Limits(max_steps=4, max_step_tokens=5), **options}
    return LanguageModelProposer(engine, **options)
