"""Draws tokens from rows of logits by inverting their distribution function at given uniforms."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor

__all__ = ["draw_tokens"]


def draw_tokens(
    logits: Float[Tensor, "n v"],
    source: Int64[Tensor, " s"],
    uniforms: Float64[Tensor, " s"],
    *,
    temperature: float,
    top_p: float,
) -> tuple[Int64[np.ndarray, " s"], Float32[np.ndarray, " s"]]:
    """Token i is drawn from row `source[i]` at `uniforms[i]`; returns tokens and their log p.

    log p is that of the model: temperature 1, all tokens. A matrix product may differ in its last bits with the number
    of rows around it, which moves the steps of the distribution function by about 1e-7: the draws are made from
    cumulative sums in double precision, so a draw can change only when its uniform falls within that distance of a
    step.

    Raises:
        ValueError: logits that are not finite.
    """
    log_probs = torch.log_softmax(logits, dim=-1, dtype=torch.float32)
    if temperature == 0:
        tokens = log_probs.argmax(-1)[source]
    else:
        probs = torch.softmax(log_probs / temperature, dim=-1) if temperature != 1 else log_probs.exp()
        tokens = _invert(_nucleus(probs, top_p) if top_p < 1 else probs, source, uniforms)
    drawn = torch.stack([tokens.double(), log_probs[source, tokens].double()]).cpu().numpy()  # one wait for a GPU
    if not np.isfinite(drawn).all():
        raise ValueError(
            "expected finite logits, got NaN or infinity. Weights may be damaged: load them anew; float16 may have "
            "overflowed: take dtype=bfloat16 or float32."
        )
    return drawn[0].astype(np.int64), drawn[1].astype(np.float32)


def _nucleus(probs: Float[Tensor, "n v"], top_p: float) -> Float[Tensor, "n v"]:
    """Zero out all but the smallest set of tokens whose mass reaches `top_p`."""
    ordered, order = probs.sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(-1) - ordered
    return torch.zeros_like(probs).scatter(-1, order, ordered.masked_fill(before >= top_p, 0.0))


def _invert(
    weights: Float[Tensor, "n v"], source: Int64[Tensor, " s"], uniforms: Float64[Tensor, " s"]
) -> Int64[Tensor, " s"]:
    """Invert the distribution function in two steps: a block of about √v tokens, then a token of it.

    So only one block a draw is summed token by token, where a vocabulary has 150,000 of them.
    """
    size = 2 ** round(math.log2(weights.shape[1]) / 2)
    blocks = F.pad(weights, (0, -weights.shape[1] % size)).unflatten(1, (-1, size))
    ends = blocks.sum(-1, dtype=torch.float64).cumsum(-1)[source]
    wanted = uniforms * ends[:, -1]
    block = _first_beyond(ends, wanted)
    before = torch.where(block > 0, ends.gather(1, (block - 1).clamp_(min=0)[:, None])[:, 0], 0.0)
    inside = blocks[source, block].cumsum(-1, dtype=torch.float64)
    return block * size + _first_beyond(inside, wanted - before)


def _first_beyond(ends: Float64[Tensor, "s k"], wanted: Float64[Tensor, " s"]) -> Int64[Tensor, " s"]:
    """Index of the first sum above `wanted`, and at most of the last place with any weight."""
    last = (ends < ends[:, -1:]).sum(-1)
    return (ends <= wanted[:, None]).sum(-1).minimum(last)
