"""When a sequence ends: end-of-sequence tokens, stop sequences, what its text says, length, context."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int8, Int32, Int64
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from stepward.domains.math.engine.config import FinishReason, SamplingConfig
from stepward.domains.math.engine.texts import TokenTexts

__all__ = ["StopRule", "declared_eos"]


def declared_eos(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None, vocab_size: int) -> tuple[int, ...]:
    """End-of-sequence tokens according to the model, or else to the tokenizer."""
    holders: tuple[Any, ...] = (getattr(model, "generation_config", None), model.config, tokenizer)
    for holder in holders:
        eos = getattr(holder, "eos_token_id", None)
        if eos is not None:  # a default of the configuration may lie outside the vocabulary: it can never be said
            tokens = eos if isinstance(eos, list | tuple) else [eos]
            return tuple(int(token) for token in tokens if token < vocab_size)
    return ()


class StopRule:
    """Tells which sequences end with the token just appended.

    Args:
        config: what ends a sequence.
        eos_token_ids: end-of-sequence tokens.
        vocab_size: number of logits.
        max_positions: the context limit, prefix included.
        texts: of the tokens, needed by `stop_text`.

    Raises:
        ValueError: a rule on text without texts; a token id outside the vocabulary.
    """

    def __init__(
        self,
        config: SamplingConfig,
        *,
        eos_token_ids: Sequence[int],
        vocab_size: int,
        max_positions: int,
        texts: TokenTexts | None,
    ) -> None:
        if texts is None and config.stop_text is not None:
            raise ValueError("stop_text needs the text of tokens: pass a tokenizer to the engine")
        for token in (*eos_token_ids, *(t for stop in config.stop_token_sequences for t in stop)):
            if not 0 <= token < vocab_size:
                raise ValueError(f"expected stop tokens in 0..{vocab_size - 1}, got {token}; check the tokenizer")
        self.config = config
        self.max_positions = max_positions
        self.texts = texts
        self.eos = np.zeros(vocab_size, dtype=bool)
        self.eos[list(eos_token_ids)] = True

    def __call__(
        self,
        sequences: Int64[np.ndarray, " n"],
        prefix_lengths: Int64[np.ndarray, " n"],
        tokens: Int32[np.ndarray, "n t"],
        lengths: Int64[np.ndarray, " n"],
    ) -> Int8[np.ndarray, " n"]:
        """A `FinishReason` for each of the sequences of these numbers; `tokens[i, lengths[i] - 1]` is the newest."""
        newest = tokens[np.arange(len(tokens)), lengths - 1]
        reasons = np.full(len(tokens), FinishReason.RUNNING, dtype=np.int8)
        reasons[prefix_lengths + lengths >= self.max_positions] = FinishReason.CONTEXT
        reasons[lengths >= self.config.max_new_tokens] = FinishReason.LENGTH
        for stop in self.config.stop_token_sequences:
            reasons[_ends_with(tokens, lengths, stop)] = FinishReason.STOP
        if self.config.stop_text is not None and self.texts is not None:
            asked = self.texts.newlines[newest] if self.config.stop_at == "newlines" else np.ones(len(tokens), bool)
            for i in np.flatnonzero(asked):
                if self.config.stop_text(int(sequences[i]), self.texts.decode(tokens[i, : lengths[i]].tolist())):
                    reasons[i] = FinishReason.STOP
        reasons[self.eos[newest]] = FinishReason.EOS
        return reasons


def _ends_with(
    tokens: Int32[np.ndarray, "n t"], lengths: Int64[np.ndarray, " n"], stop: Sequence[int]
) -> Bool[np.ndarray, " n"]:
    place = lengths[:, None] + np.arange(-len(stop), 0)
    tail = np.take_along_axis(tokens, np.maximum(place, 0), axis=1)
    return (place[:, 0] >= 0) & (tail == np.asarray(stop)).all(axis=1)
