"""Attention of many rows over a trunk that all share, a prefix that some share, and a private suffix.

Rows of one family attend to the same prefix, so their queries form one matrix product with keys that are stored and
read once, and so do those of all rows with the trunk; the private suffixes are short. Scores of all parts go through
one softmax, which is the exact result (merging softmaxes by their log-sum-exp gives the same and takes twice as many
passes).
"""

import itertools
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from stepward.domains.math.engine.cache import KVStore

__all__ = ["StepPlan", "attend_prefixes", "attend_rows", "length_class", "plan_step"]

_SHORTEST = 16


@dataclass(frozen=True)
class StepPlan:
    """Everything the layers of one decoding step have in common.

    Args:
        place: where the new keys and values go, see `KVStore.places`.
        members: row of each (family, rank); ranks beyond a family's rows repeat row 0 and are ignored.
        seat: flat (family, rank) of each row.
        mask: 0 or -inf over trunk, prefix and suffix; prefixes of a family are nested, so each row sees its own part.
        trunk_length: tokens before all prefixes.
        prefix_length: the longest prefix.
        spans: rows (start, end) and the suffix length they need: rows come longest class first, see `length_class`.
    """

    place: Int64[Tensor, " nh"]
    members: Int64[Tensor, "f c"]
    seat: Int64[Tensor, " n"]
    mask: Float[Tensor, "n 1 k"]
    trunk_length: int
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
    trunk_length: int = 0,
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
    mask = torch.zeros(len(family), trunk_length + prefix_length + suffix_length, device=store.device)
    mask[:, trunk_length:].masked_fill_(torch.cat(hidden, dim=1), -torch.inf)
    return StepPlan(
        place=store.places(suffix_lengths),
        members=torch.from_numpy(members).to(store.device),
        seat=torch.from_numpy(family * width + rank).to(store.device),
        mask=mask[:, None],
        trunk_length=trunk_length,
        prefix_length=prefix_length,
        spans=_spans(suffix_lengths),
    )


def attend_prefixes(
    store: KVStore,
    slots: Int64[Tensor, " b"] | None,
    start: int,
    layer: int,
    queries: Float[Tensor, "b q t d"],
    keys: Float[Tensor, "b h t d"],
    values: Float[Tensor, "b h t d"],
    scale: float,
) -> Float[Tensor, "b t q d"]:
    """Store prefixes and attend within each and to the `start` tokens of the trunk before it.

    Without `slots` the one text is the trunk itself. Padding is on the right, so nothing real sees it.
    """
    mask = None
    if slots is None:
        store.trunk[layer, 0], store.trunk[layer, 1] = keys[0], values[0]
    else:
        store.put_prefix(layer, slots, keys, values)
    if start:
        before = store.trunk[layer, :, None, :, :start].expand(-1, len(keys), -1, -1, -1)
        mask = torch.ones(keys.shape[2], start + keys.shape[2], dtype=torch.bool, device=keys.device).tril(start)
        keys, values = torch.cat([before[0], keys], dim=2), torch.cat([before[1], values], dim=2)
    grouped = queries.shape[1] != keys.shape[1]
    mixed = F.scaled_dot_product_attention(
        queries, keys, values, attn_mask=mask, is_causal=mask is None, scale=scale, enable_gqa=grouped
    )
    return mixed.transpose(1, 2)


def attend_rows(
    store: KVStore, plan: StepPlan, layer: int, queries: Float[Tensor, "n q d"], scale: float
) -> Float[Tensor, "n q d"]:
    """Attend with one query token a row; query heads share key/value heads in order (grouped-query attention)."""
    rows, query_heads, dim = queries.shape
    heads = store.suffix.shape[3]
    group = query_heads // heads
    families, width = plan.members.shape
    trunk, prefix = plan.trunk_length, plan.prefix_length
    end_of_prefix = trunk + prefix

    keys = store.prefix[layer, 0, :families].reshape(families * heads, -1, dim)[:, :prefix]
    values = store.prefix[layer, 1, :families].reshape(families * heads, -1, dim)[:, :prefix]
    trunk_keys, trunk_values = store.trunk[layer, :, :, :trunk]
    queries = queries * scale
    scores = plan.mask.repeat(1, query_heads, 1)
    if trunk:
        by_head = queries.view(rows, heads, group, dim).transpose(0, 1).reshape(heads, rows * group, dim)
        common = torch.bmm(by_head, trunk_keys.transpose(1, 2)).view(heads, rows, group, trunk)
        scores[..., :trunk] = common.transpose(0, 1).reshape(rows, query_heads, trunk)
    shared = queries.index_select(0, plan.members.view(-1)).view(families, width, heads, group, dim)
    shared = shared.permute(0, 2, 1, 3, 4).reshape(families * heads, width * group, dim)
    shared = torch.bmm(shared, keys.transpose(1, 2)).view(families, heads, width, group, prefix).transpose(1, 2)
    scores[..., trunk:end_of_prefix] += shared.reshape(families * width, query_heads, prefix).index_select(0, plan.seat)
    for start, end, length in plan.spans:
        own_keys = store.suffix[layer, 0, start:end].view((end - start) * heads, -1, dim)[:, :length]
        own = torch.bmm(queries[start:end].reshape(-1, group, dim), own_keys.transpose(1, 2))
        scores[start:end, :, end_of_prefix : end_of_prefix + length] += own.view(end - start, query_heads, length)
    weights = torch.softmax(scores, dim=-1).to(values.dtype)

    shared = weights[..., trunk:end_of_prefix].index_select(0, plan.members.view(-1))
    shared = shared.view(families, width, heads, group, prefix).transpose(1, 2)
    shared = torch.bmm(shared.reshape(families * heads, width * group, prefix), values)
    shared = shared.view(families, heads, width, group, dim).transpose(1, 2)
    mixed = shared.reshape(families * width, query_heads, dim).index_select(0, plan.seat)
    if trunk:
        common = weights[..., :trunk].view(rows, heads, group, trunk).transpose(0, 1)
        common = torch.bmm(common.reshape(heads, rows * group, trunk), trunk_values)
        mixed += common.view(heads, rows, group, dim).transpose(0, 1).reshape(rows, query_heads, dim)
    for start, end, length in plan.spans:
        own_values = store.suffix[layer, 1, start:end].view((end - start) * heads, -1, dim)[:, :length]
        own_weights = weights[start:end, :, end_of_prefix : end_of_prefix + length].reshape(-1, group, length)
        mixed[start:end] += torch.bmm(own_weights, own_values).view(end - start, query_heads, dim)
    return mixed
