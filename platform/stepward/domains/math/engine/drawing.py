"""Draws tokens from rows of logits by inverting their distribution function at given uniforms."""

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

__all__ = ["draw_tokens"]


def _nucleus(probs: Float[Tensor, "n v"], top_p: float) -> Float[Tensor, "n v"]:
    """Zero out all but the smallest set of tokens whose mass reaches `top_p`."""
    ordered, order = probs.sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(-1) - ordered
    return torch.zeros_like(probs).scatter(-1, order, ordered.masked_fill(before >= top_p, 0.0))


def draw_tokens(
    logits: Float[Tensor, "n v"],
    source: Int64[Tensor, " s"],
    uniforms: Float64[Tensor, " s"],
    *,
    temperature: float,
    top_p: float,
) -> tuple[Int64[Tensor, " s"], Float[Tensor, " s"]]:
    """Token i is drawn from row `source[i]` (sorted ascending) at `uniforms[i]`; returns tokens and their log p.

    log p is that of the model: temperature 1, all tokens. A matrix product may differ in its last bits with the number
    of rows around it, which moves the steps of the distribution function by about 1e-7: the draws are made from a
    cumulative sum in double precision, so a draw can change only when its uniform falls within that distance of a step.

    Raises:
        ValueError: logits that are not finite.
    """
    log_probs = torch.log_softmax(logits.float(), dim=-1)
    if temperature == 0:
        tokens = log_probs.argmax(-1)[source]
    else:
        probs = torch.softmax(logits.float() / temperature, dim=-1) if temperature != 1 else log_probs.exp()
        if top_p < 1:
            probs = _nucleus(probs, top_p)
        cdf = probs.cumsum(-1, dtype=torch.float64)
        counts = torch.bincount(source, minlength=len(logits))
        rank = torch.arange(len(source), device=source.device) - (counts.cumsum(0) - counts)[source]
        wanted = torch.zeros(len(logits), int(counts.max()), dtype=torch.float64, device=logits.device)
        wanted[source, rank] = uniforms * cdf[source, -1]
        tokens = torch.searchsorted(cdf, wanted, right=True)[source, rank].clamp_(max=logits.shape[-1] - 1)
    chosen = log_probs[source, tokens]
    if not bool(torch.isfinite(chosen).all()):
        raise ValueError("expected finite logits, got NaN or infinity; check the weights, or use float32 or bfloat16")
    return tokens, chosen
