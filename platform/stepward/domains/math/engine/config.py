"""What to sample, and what came out."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np
from jaxtyping import Float32, Int8, Int32, Int64

__all__ = ["Continuations", "EngineStats", "FinishReason", "SamplingConfig"]


class FinishReason(IntEnum):
    """Why a continuation ended; the token that ended it (EOS, stop) is part of the continuation."""

    RUNNING = 0
    EOS = 1
    STOP = 2
    LENGTH = 3
    CONTEXT = 4


@dataclass(frozen=True)
class SamplingConfig:
    """How continuations are drawn and when they end.

    **Good values**: temperature .7-1 for Monte-Carlo labels (it is the labelling policy: report it with the labels).

    Args:
        temperature: logits are divided by it; 0 means greedy.
        top_p: nucleus sampling (Holtzman et al. 2020): the smallest set of tokens with at least this mass.
        max_new_tokens: end with `LENGTH` after so many tokens.
        eos_token_ids: end with `EOS`; `None` takes the model's own.
        stop_token_sequences: end with `STOP` as soon as the new tokens end in one of these.
        stop_text: called with the number of a continuation and its text so far; `True` ends it with `STOP`.
        stop_at: whether it is called after every token, or after those only whose text holds a newline.
        stop_texts: what certainly makes it `True`, for engines that cannot call it while they sample.
        state_layers: keep hidden states of each continuation, those after these blocks (from 1; less than the number of
            blocks, because transformers' last state is normalised and this is not). None named: none kept.
    """

    temperature: float = 0.8
    top_p: float = 1.0
    max_new_tokens: int = 256
    eos_token_ids: tuple[int, ...] | None = None
    stop_token_sequences: tuple[tuple[int, ...], ...] = ()
    stop_text: Callable[[int, str], bool] | None = None
    stop_at: Literal["newlines", "tokens"] = "newlines"
    stop_texts: tuple[str, ...] = ()
    state_layers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not (np.isfinite(self.temperature) and self.temperature >= 0):
            raise ValueError(f"expected a temperature >= 0, got {self.temperature}; 0 means greedy")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"expected top_p in (0, 1], got {self.top_p}; 1 switches it off")
        if self.max_new_tokens < 1:
            raise ValueError(f"expected max_new_tokens >= 1, got {self.max_new_tokens}")
        if any(not stop for stop in self.stop_token_sequences):
            raise ValueError("expected stop sequences of at least one token, got an empty one; remove it")
        if any(layer < 1 for layer in self.state_layers):
            raise ValueError(f"expected state_layers >= 1, got {self.state_layers}; () keeps no states")
        if self.temperature == 0 and self.top_p < 1:
            raise ValueError("top_p has no effect at temperature 0; set top_p=1")


@dataclass(frozen=True)
class EngineStats:
    """What a call cost. FLOPs are about 2 x parameters x `forward_tokens`.

    Args:
        generated_tokens: tokens in the continuations, what one sequence a row would have had to decode.
        decoded_tokens: tokens decoded for real: continuations that have said the same so far are one row.
        prefill_tokens: prefix tokens run through the model.
        prefix_tokens: prefix tokens asked for; the difference is what nested prefixes saved.
        steps: decoding steps.
        occupancy: mean share of the target rows in use over all decoding steps, the last ones included.
        seconds: wall clock.
    """

    generated_tokens: int
    decoded_tokens: int
    prefill_tokens: int
    prefix_tokens: int
    steps: int
    occupancy: float
    seconds: float

    @property
    def forward_tokens(self) -> int:
        """Tokens the model was run on."""
        return self.prefill_tokens + self.decoded_tokens


@dataclass(frozen=True)
class Continuations:
    """Continuations in prefix-major order, padded with -1 (tokens) and 0 (log-probabilities).

    Args:
        prefix: index of the prefix that row i continues.
        tokens: sampled tokens, EOS and stop tokens included.
        log_probs: log p(token | prefix, tokens before) of the model itself: temperature 1, no truncation.
        lengths: number of tokens of row i.
        reasons: a `FinishReason` a row.
        stats: the cost of the call.
        states: hidden states of `SamplingConfig.state_layers` (ℓ of them) that each last token was drawn from, zeros
            where there is no token; `None` unless asked for. They come with the sampling: no token is run for them.
        starts: the same that the first tokens were drawn from, those at the end of each prefix.
    """

    prefix: Int64[np.ndarray, " n"]
    tokens: Int32[np.ndarray, "n t"]
    log_probs: Float32[np.ndarray, "n t"]
    lengths: Int64[np.ndarray, " n"]
    reasons: Int8[np.ndarray, " n"]
    stats: EngineStats
    states: Float32[np.ndarray, "n l c"] | None = None
    starts: Float32[np.ndarray, "p l c"] | None = None

    def __len__(self) -> int:
        return len(self.prefix)

    def token_lists(self) -> list[list[int]]:
        """The continuations as lists of token ids, without padding."""
        return [row[:length].tolist() for row, length in zip(self.tokens, self.lengths, strict=True)]
