"""Attention of many rows over a shared prefix and a private suffix.

Rows of one family attend to the same prefix, so their queries form one matrix product with keys that are stored and
read once; the private suffixes are short. Scores of both parts go through one softmax, which is the exact result
(merging two softmaxes by their log-sum-exp gives the same and takes twice as many passes).
"""

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from stepward.domains.math.engine.cache import KVStore

__all__ = ["StepPlan", "attend_rows", "length_class", "plan_step"]

_SHORTEST = 16


@dataclass(frozen=True)
class StepPlan:
    """Everything the layers of one decoding step have in common.

    Args:
        place: where the new keys and values go, see `KVStore.places`.
        members: row of each (family, rank); ranks beyond a family's rows repeat row 0 and are ignored.
        seat: flat (family, rank) of each row.
        mask: 0 or -inf over prefix and suffix; prefixes of a family are nested, so each row sees its own part.
        prefix_length: the longest prefix.
        spans: rows (start, end) and the suffix length they need: rows come longest class first, see `length_class`.
    """

    place: Int64[Tensor, " nh"]
    members: Int64[Tensor, "f c"]
    seat: Int64[Tensor, " n"]
    mask: Float[Tensor, "n 1 k"]
    prefix_length: int
    spans: tuple[tuple[int, int, int], ...]


def length_class(suffix_lengths: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """0 for suffixes of up to 16 tokens with the one to come, 1 up to 32, 2 up to 64 and so on.

    Rows are kept in order of class, so that the short ones do not read the padding of the longest.
    """
    return np.ceil(np.log2(np.maximum(suffix_lengths + 1, _SHORTEST) / _SHORTEST)).astype(np.int64)


def _spans(suffix_lengths: Int64[np.ndarray, " n"]) -> tuple[tuple[int, int, int], ...]:
    kind = length_class(suffix_lengths)
    starts = [0, *(np.flatnonzero(np.diff(kind)) + 1).tolist(), len(kind)]
    return tuple((a, b, int(suffix_lengths[a:b].max()) + 1) for a, b in itertools.pairwise(starts))


def plan_step(
    store: KVStore,
    family: Int64[np.ndarray, " n"],
    prefix_lengths: Int64[np.ndarray, " n"],
    suffix_lengths: Int64[np.ndarray, " n"],
) -> StepPlan:
    """Plan a step for rows 0..n-1, each with `suffix_lengths` tokens stored and one to come."""
    num_families = int(family.max()) + 1
    counts = np.bincount(family, minlength=num_families)
    order = np.argsort(family, kind="stable")
    rank = np.empty(len(family), dtype=np.int64)
    rank[order] = np.arange(len(family)) - np.repeat(np.cumsum(counts) - counts, counts)
    width = int(counts.max())
    members = np.zeros((num_families, width), dtype=np.int64)
    members[family, rank] = np.arange(len(family))
    prefix_length, suffix_length = int(prefix_lengths.max()), int(suffix_lengths.max()) + 1
    lengths = torch.from_numpy(np.stack([prefix_lengths, suffix_lengths + 1], axis=1)).to(store.device)
    column = torch.arange(max(prefix_length, suffix_length), device=store.device)
    hidden = [column[:prefix_length] >= lengths[:, :1], column[:suffix_length] >= lengths[:, 1:]]
    mask = torch.zeros(len(family), prefix_length + suffix_length, device=store.device)
    mask.masked_fill_(torch.cat(hidden, dim=1), -torch.inf)
    return StepPlan(
        place=store.places(suffix_lengths),
        members=torch.from_numpy(members).to(store.device),
        seat=torch.from_numpy(family * width + rank).to(store.device),
        mask=mask[:, None],
        prefix_length=prefix_length,
        spans=_spans(suffix_lengths),
    )


def attend_rows(
    store: KVStore, plan: StepPlan, layer: int, queries: Float[Tensor, "n q d"], scale: float
) -> Float[Tensor, "n q d"]:
    """Attend with one query token a row; query heads share key/value heads in order (grouped-query attention)."""
    _, query_heads, dim = queries.shape
    heads = store.suffix.shape[3]
    group = query_heads // heads
    families, width = plan.members.shape
    prefix = plan.prefix_length

    keys = store.prefix[layer, 0, :families].reshape(families * heads, -1, dim)[:, :prefix]
    values = store.prefix[layer, 1, :families].reshape(families * heads, -1, dim)[:, :prefix]
    queries = queries * scale
    shared = queries.index_select(0, plan.members.view(-1)).view(families, width, heads, group, dim)
    shared = shared.permute(0, 2, 1, 3, 4).reshape(families * heads, width * group, dim)
    shared = torch.bmm(shared, keys.transpose(1, 2)).view(families, heads, width, group, prefix).transpose(1, 2)
    scores = plan.mask.repeat(1, query_heads, 1)
    scores[..., :prefix] += shared.reshape(families * width, query_heads, prefix).index_select(0, plan.seat)
    for start, end, length in plan.spans:
        own_keys = store.suffix[layer, 0, start:end].view((end - start) * heads, -1, dim)[:, :length]
        own = torch.bmm(queries[start:end].reshape(-1, group, dim), own_keys.transpose(1, 2))
        scores[start:end, :, prefix : prefix + length] += own.view(end - start, query_heads, length)
    weights = torch.softmax(scores, dim=-1).to(values.dtype)

    shared = weights[..., :prefix].index_select(0, plan.members.view(-1))
    shared = shared.view(families, width, heads, group, prefix).transpose(1, 2)
    shared = torch.bmm(shared.reshape(families * heads, width * group, prefix), values)
    shared = shared.view(families, heads, width, group, dim).transpose(1, 2)
    mixed = shared.reshape(families * width, query_heads, dim).index_select(0, plan.seat)
    for start, end, length in plan.spans:
        own_values = store.suffix[layer, 1, start:end].view((end - start) * heads, -1, dim)[:, :length]
        own_weights = weights[start:end, :, prefix : prefix + length].reshape(-1, group, length)
        mixed[start:end] += torch.bmm(own_weights, own_values).view(end - start, query_heads, dim)
    return mixed
