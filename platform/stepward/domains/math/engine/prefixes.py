"""Families of nested prefixes: one prefill serves every prefix of one solution."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

__all__ = ["Family", "group_nested"]


@dataclass(frozen=True)
class Family:
    """The longest of a chain of nested prefixes, and the sequences which start from each of them.

    Args:
        tokens: the longest prefix.
        cuts: length in tokens of each distinct prefix, ascending.
        sequences: numbers of the sequences to sample.
        cut_of: for each sequence, which of `cuts` it starts from.
    """

    tokens: tuple[int, ...]
    cuts: Int64[np.ndarray, " c"]
    sequences: Int64[np.ndarray, " s"]
    cut_of: Int64[np.ndarray, " s"]


def _chains(prefixes: dict[int, tuple[int, ...]], counts: list[int], max_sequences: int) -> list[list[int]]:
    """In lexicographic order a prefix stands right before its extensions: one pass finds the chains."""
    chains: list[list[int]] = []
    load = 0
    for i in sorted(prefixes, key=prefixes.__getitem__):
        last = prefixes[chains[-1][-1]] if chains else ()
        if chains and prefixes[i][: len(last)] == last and load + counts[i] <= max_sequences:
            chains[-1].append(i)
            load += counts[i]
        else:
            chains.append([i])
            load = counts[i]
    return sorted(chains, key=min)


def group_nested(
    prefixes: Sequence[Sequence[int]],
    counts: Int64[np.ndarray, " n"],
    *,
    usable: Bool[np.ndarray, " n"],
    max_sequences: int,
) -> list[Family]:
    """Chain prefixes in which each is the beginning of the next, at most `max_sequences` sequences a family.

    Sequences are numbered in prefix-major order, `counts[i]` for prefix i, those of prefixes which are not `usable`
    included: these get a number and no family. Families come in the order of their first
    prefix. A prefix with more than
    `max_sequences` sequences becomes several families, each prefilled by itself.
    """
    plain = {i: tuple(prefix) for i, prefix in enumerate(prefixes) if usable[i] and counts[i] > 0}
    first = np.cumsum(counts) - counts
    families = []
    for chain in _chains(plain, [int(c) for c in counts], max_sequences):
        lengths = np.array([len(plain[i]) for i in chain], dtype=np.int64)
        cuts, cut_of_prefix = np.unique(lengths, return_inverse=True)
        sequences = np.concatenate([np.arange(first[i], first[i] + counts[i]) for i in chain])
        cut_of = np.repeat(cut_of_prefix, counts[chain])
        for start in range(0, len(sequences), max_sequences):
            part = slice(start, start + max_sequences)
            families.append(Family(plain[chain[-1]], cuts, sequences[part], cut_of[part].astype(np.int64)))
    return families
