"""Which states a search has already reached: a vectorised hash set."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int, UInt64

from stepward.core.seeding import mix_keys


class SeenStates:
    """States reached so far, by problem and domain key.

    A (problem, key) pair is kept as one 64-bit hash in an open-addressing table with linear probing. Two different
    pairs share a hash with probability about n² / 2⁶⁵ for n states: one in 40 million for a million states.
    """

    def __init__(self, problem: Int[np.ndarray, " n"], keys: UInt64[np.ndarray, " n"]) -> None:
        self._table = np.zeros(1 << 12, np.uint64)  # 0 marks an empty place
        self._count = 0
        self.admit(problem, keys)

    def admit(self, problem: Int[np.ndarray, " n"], keys: UInt64[np.ndarray, " n"]) -> Int[np.ndarray, " m"]:
        """Rows not seen before, the first of equals, in order; they count as seen from now on."""
        hashes = np.maximum(mix_keys(keys ^ mix_keys(problem, 1), 2), np.uint64(1))
        _, first = np.unique(hashes, return_index=True)
        first.sort()
        self._make_room(len(first))
        is_new = self._insert(hashes[first])
        self._count += int(is_new.sum())
        return first[is_new]

    def _insert(self, hashes: UInt64[np.ndarray, " n"]) -> np.ndarray:
        """Put distinct hashes into the table; True where one was not there."""
        mask = np.uint64(len(self._table) - 1)
        is_new = np.zeros(len(hashes), bool)
        pending, place = np.arange(len(hashes)), hashes & mask
        while len(pending):
            mine = hashes[pending]
            vacant = self._table[place] == 0
            self._table[place[vacant]] = mine[vacant]  # of several that want one place, the last gets it
            placed = self._table[place] == mine
            is_new[pending[placed & vacant]] = True
            pending, place = pending[~placed], (place[~placed] + np.uint64(1)) & mask
        return is_new

    def _make_room(self, num_more: int) -> None:
        if 2 * (self._count + num_more) <= len(self._table):
            return
        size = 1 << int(4 * (self._count + num_more)).bit_length()
        kept = self._table[self._table != 0]
        self._table = np.zeros(size, np.uint64)
        self._insert(kept)
