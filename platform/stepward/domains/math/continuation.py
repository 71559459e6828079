"""From sampled tokens to states: cut at the limits, decoded, and with the reason why a solution is over."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int
from transformers import PreTrainedTokenizerBase

from stepward.domains.math.engine import Continuations, FinishReason
from stepward.domains.math.states import Ending, MathStates
from stepward.domains.math.steps import Limits
from stepward.domains.math.writer import answered

__all__ = ["extend"]


def extend(
    states: MathStates,
    sampled: Continuations,
    newlines: Bool[np.ndarray, " v"],
    limits: Limits,
    tokenizer: PreTrainedTokenizerBase,
) -> MathStates:
    """Open solutions with what was sampled for them, one line or many.

    Many lines sampled at once end where lines sampled one by one would have: at a line that is too long, or after the
    last line that is allowed.

    Args:
        states: n open solutions.
        sampled: a continuation of each, in the same order.
        newlines: which tokens break a line.
        limits: of lines and tokens.
        tokenizer: of the model that was sampled.
    """
    width = sampled.tokens.shape[1]
    if not width:
        return states.replace(ending=np.full(len(states), Ending.OUT_OF_CONTEXT, np.int8))
    columns, rows = np.arange(width), np.arange(len(states))
    used = columns < sampled.lengths[:, None]
    breaks = newlines[np.maximum(sampled.tokens, 0)] & used
    ended = (sampled.reasons == FinishReason.EOS)[:, None] & (columns == sampled.lengths[:, None] - 1)
    line, position = _lines(breaks)
    too_long = used & (position == limits.max_step_tokens - 1) & ~breaks & ~ended
    last_line = breaks & (states.num_steps[:, None] + line + 1 >= limits.max_steps)
    length = np.minimum(sampled.lengths, np.minimum(_first(too_long), _first(last_line)) + 1)
    kept, last = columns < length[:, None], np.maximum(length - 1, 0)
    added = tokenizer.batch_decode(
        [tokens[:n].tolist() for tokens, n in zip(sampled.tokens, length, strict=True)],
        skip_special_tokens=True,
        clean_up_tokenization_spaces=False,
    )
    reason = np.full(len(states), Ending.OPEN, np.int8)
    reason[(length == sampled.lengths) & (sampled.reasons == FinishReason.CONTEXT)] = Ending.OUT_OF_CONTEXT
    reason[(length > 0) & last_line[rows, last]] = Ending.OUT_OF_STEPS
    reason[(length > 0) & too_long[rows, last]] = Ending.LINE_TOO_LONG
    reason[(length == sampled.lengths) & (sampled.reasons == FinishReason.EOS)] = Ending.NO_ANSWER
    text = states.text + np.array(added, dtype=object)
    return states.replace(
        text=text,
        num_steps=states.num_steps + np.where(length > 0, line[rows, last] + 1, 0),
        num_tokens=states.num_tokens + length,
        last_tokens=np.where(length > 0, position[rows, last] + 1, 0),
        log_prob=states.log_prob + np.where(kept, sampled.log_probs, 0.0).sum(axis=1, dtype=np.float64),
        ending=answered(reason, text, added),
    )


def _lines(breaks: Bool[np.ndarray, "n t"]) -> tuple[Int[np.ndarray, "n t"], Int[np.ndarray, "n t"]]:
    """Line of each token, and its position there; a token that breaks a line is the last of it."""
    line = np.cumsum(breaks, axis=1) - breaks
    start = np.maximum.accumulate(np.where(breaks, np.arange(1, breaks.shape[1] + 1), 0), axis=1)
    start = np.concatenate([np.zeros((len(breaks), 1), start.dtype), start[:, :-1]], axis=1)
    return line, np.arange(breaks.shape[1]) - start


def _first(mask: Bool[np.ndarray, "n t"]) -> Int[np.ndarray, " n"]:
    """Column of the first True of each row; a large number where there is none."""
    return np.where(mask.any(axis=1), mask.argmax(axis=1), np.iinfo(np.int64).max - 1)
