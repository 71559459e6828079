"""The tokenizer of the embedded proposer: byte-level BPE in which a digit is a token.

All 256 bytes are in the vocabulary, so any text survives encoding and decoding; text of the synthetic family costs one
token a word. Digits are never merged: long numbers are as regular as short ones (Singh and Strouse 2024,
"Tokenization counts").
"""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

__all__ = ["END", "PAD", "train_tokenizer"]

PAD = "<|pad|>"
END = "<|end|>"


def train_tokenizer(documents: Iterable[str], vocab_size: int = 448, context: int = 512) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer fitted to documents; the same documents give the same tokenizer.

    Args:
        documents: text to learn merges from.
        vocab_size: most tokens; fewer if there is nothing left to merge. At least 258: the bytes, `PAD` and `END`.
        context: longest input in tokens, recorded as ``model_max_length``.
    """
    if vocab_size < 258:
        raise ValueError(f"vocab_size: expected at least 258 (256 bytes, {PAD} and {END}), got {vocab_size}.")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )
