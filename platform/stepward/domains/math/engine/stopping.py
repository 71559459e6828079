"""When a sequence ends: end-of-sequence tokens, stop sequences, newlines, finished lines, length, context."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int8, Int32, Int64
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from stepward.domains.math.engine.config import FinishReason, SamplingConfig

__all__ = ["StopRule", "declared_eos", "newline_table"]


def newline_table(tokenizer: PreTrainedTokenizerBase, vocab_size: int) -> Bool[np.ndarray, " v"]:
    """Which tokens hold a newline. A newline is one byte, so a token can be judged by itself in every encoding."""
    known = min(len(tokenizer), vocab_size)
    pieces = tokenizer.batch_decode([[i] for i in range(known)], clean_up_tokenization_spaces=False)
    return np.array(["\n" in piece for piece in pieces] + [False] * (vocab_size - known))


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
        tokenizer: needed by the rules on newlines and lines.
        newlines: `newline_table`, needed by the same rules.

    Raises:
        ValueError: a rule on text without a tokenizer; a token id outside the vocabulary.
    """

    def __init__(
        self,
        config: SamplingConfig,
        *,
        eos_token_ids: Sequence[int],
        vocab_size: int,
        max_positions: int,
        tokenizer: PreTrainedTokenizerBase | None,
        newlines: Bool[np.ndarray, " v"] | None,
    ) -> None:
        if newlines is None and (config.stop_at_newline or config.stop_line is not None):
            raise ValueError("stop_at_newline and stop_line need the text of tokens: pass a tokenizer to the engine")
        for token in (*eos_token_ids, *(t for stop in config.stop_token_sequences for t in stop)):
            if not 0 <= token < vocab_size:
                raise ValueError(f"expected stop tokens in 0..{vocab_size - 1}, got {token}; check the tokenizer")
        self.config = config
        self.max_positions = max_positions
        self.tokenizer = tokenizer
        self.newlines = newlines
        self.eos = np.zeros(vocab_size, dtype=bool)
        self.eos[list(eos_token_ids)] = True
        self._verdicts: dict[bytes, bool] = {}

    def __call__(
        self,
        prefix_lengths: Int64[np.ndarray, " n"],
        tokens: Int32[np.ndarray, "n t"],
        lengths: Int64[np.ndarray, " n"],
    ) -> Int8[np.ndarray, " n"]:
        """A `FinishReason` for each sequence; `tokens[i, lengths[i] - 1]` is the newest."""
        newest = tokens[np.arange(len(tokens)), lengths - 1]
        reasons = np.full(len(tokens), FinishReason.RUNNING, dtype=np.int8)
        reasons[prefix_lengths + lengths >= self.max_positions] = FinishReason.CONTEXT
        reasons[lengths >= self.config.max_new_tokens] = FinishReason.LENGTH
        for stop in self.config.stop_token_sequences:
            reasons[_ends_with(tokens, lengths, stop)] = FinishReason.STOP
        if self.newlines is not None:
            at_end = self.newlines[newest]
            if self.config.stop_at_newline:
                reasons[at_end] = FinishReason.STOP
            elif self.config.stop_line is not None:
                for i in np.flatnonzero(at_end):
                    if self._stops_after(tokens[i, : lengths[i]]):
                        reasons[i] = FinishReason.STOP
        reasons[self.eos[newest]] = FinishReason.EOS
        return reasons

    def _stops_after(self, tokens: Int32[np.ndarray, " t"]) -> bool:
        """Judge the lines that the last token finished; the same tokens are decoded and judged once."""
        assert self.newlines is not None and self.tokenizer is not None and self.config.stop_line is not None
        earlier = np.flatnonzero(self.newlines[tokens[:-1]])
        start = 0 if len(earlier) == 0 else int(earlier[-1])
        key = (b"^" if start == 0 else b"|") + tokens[start:].tobytes()
        if key not in self._verdicts:
            text = self.tokenizer.decode(tokens[start:].tolist(), clean_up_tokenization_spaces=False)
            lines = text.split("\n")[0 if len(earlier) == 0 else 1 : -1]
            stop_line = self.config.stop_line
            self._verdicts[key] = any(stop_line(line) for line in lines)
        return self._verdicts[key]


def _ends_with(
    tokens: Int32[np.ndarray, "n t"], lengths: Int64[np.ndarray, " n"], stop: Sequence[int]
) -> Bool[np.ndarray, " n"]:
    place = lengths[:, None] + np.arange(-len(stop), 0)
    tail = np.take_along_axis(tokens, np.maximum(place, 0), axis=1)
    return (place[:, 0] >= 0) & (tail == np.asarray(stop)).all(axis=1)
