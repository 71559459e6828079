"""The fallback for models outside the attention interface: one prefix at a time, on the model's own cache.

All rows of a prefix have the same length, so nothing is padded and no mask is needed. The cache is repeated where rows
branch and shrinks where they end, by `Cache.reorder_cache`, which every kind of cache layer has.
"""

import copy
import time
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from transformers import Cache, DynamicCache, PreTrainedModel

from stepward.domains.math.engine.config import EngineStats, FinishReason
from stepward.domains.math.engine.ledger import Ledger, branch

__all__ = ["sample_prefix_by_prefix"]


@torch.inference_mode()
def sample_prefix_by_prefix(
    model: PreTrainedModel, prefixes: list[list[int]], ledger: Ledger, *, max_rows: int, common: tuple[int, ...] = ()
) -> EngineStats:
    """Sample every sequence of the ledger which is still running; at most `max_rows` sequences at once.

    Prefixes that begin with `common` go on from one reading of it.
    """
    start = time.perf_counter()
    prefilled, decoded, steps = len(common), 0, 0
    trunk = DynamicCache(config=model.config)
    if common:
        beginning = torch.tensor([common], device=model.device)
        model(input_ids=beginning, past_key_values=trunk, use_cache=True, logits_to_keep=1)
    running = np.flatnonzero(ledger.reasons == FinishReason.RUNNING)
    for index in np.unique(ledger.prefix[running]):
        mine = running[ledger.prefix[running] == index]
        done = (
            len(common) if len(prefixes[index]) > len(common) and tuple(prefixes[index][: len(common)]) == common else 0
        )
        for first in range(0, len(mine), max_rows):
            cache = copy.deepcopy(trunk) if done else DynamicCache(config=model.config)
            rows, depth = _lockstep(model, cache, prefixes[index][done:], mine[first : first + max_rows], ledger)
            prefilled, decoded, steps = prefilled + len(prefixes[index]) - done, decoded + rows, steps + depth
    return EngineStats(
        generated_tokens=int(ledger.lengths.sum()),
        decoded_tokens=decoded,
        prefill_tokens=prefilled,
        prefix_tokens=0,
        steps=steps,
        occupancy=1.0 if steps else 0.0,
        seconds=time.perf_counter() - start,
    )


def _lockstep(
    model: PreTrainedModel, cache: Cache, prefix: list[int], sequences: Int64[np.ndarray, " s"], ledger: Ledger
) -> tuple[int, int]:
    """Sample the continuations of one prefix, what the cache holds before it; returns tokens decoded and steps."""
    tokens = torch.tensor([prefix], device=model.device)
    layers = ledger.config.state_layers
    options: dict[str, Any] = dict(use_cache=True, output_hidden_states=bool(layers))
    output = model(input_ids=tokens, past_key_values=cache, logits_to_keep=1, **options)
    row_of = np.zeros(len(sequences), dtype=np.int64)
    decoded = steps = 0
    while len(sequences):
        states = torch.stack([output.hidden_states[layer][:, -1] for layer in layers], 1) if layers else None
        drawn = ledger.draw(sequences, row_of, output.logits[:, -1], states)
        alive = ledger.reasons[sequences] == FinishReason.RUNNING
        parent, token, row_of = branch(row_of[alive], drawn[alive])
        order = np.argsort(row_of, kind="stable")
        sequences, row_of = sequences[alive][order], row_of[order]
        if len(sequences):
            cache = output.past_key_values
            cache.reorder_cache(torch.from_numpy(parent).to(model.device))
            last = torch.from_numpy(token).to(model.device)[:, None]
            output = model(input_ids=last, past_key_values=cache, **options)
            decoded, steps = decoded + len(token), steps + 1
    return decoded, steps
