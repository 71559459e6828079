"""Small random models of other architectures than the embedded one, with tokenizers of their own, in folders."""

from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from stepward.domains.math.tokenizer import END, train_tokenizer

CONTEXT = 512
TEXTS = ["Natalia sold 48 clips in April, and half as many in May. How many?\n48/2=24\n48+24=72\n#### 72"] * 2


def foreign_folder(folder: Path, kind: str, *, padded: bool = True, hidden_size: int = 32) -> Path:
    """A Qwen2 (untied embeddings, shared key/value heads) or GPT-2 model; without `padded` it has no pad token."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer(TEXTS, vocab_size=290, context=CONTEXT)
    if not padded:
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, eos_token=END)
    special = dict(vocab_size=len(tokenizer), bos_token_id=None, eos_token_id=tokenizer.eos_token_id)
    if kind == "gpt2":
        sizes = dict(n_embd=hidden_size, n_layer=2, n_head=2, n_positions=CONTEXT)
        model = GPT2LMHeadModel(GPT2Config(**sizes, **special))
    else:
        sizes = dict(hidden_size=hidden_size, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2)
        config = Qwen2Config(num_key_value_heads=1, max_position_embeddings=CONTEXT, **sizes, **special)
        model = Qwen2ForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
