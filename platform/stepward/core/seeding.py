"""Randomness that does not depend on who computes a row, or beside which other rows.

An `Rng` is a *batch* of independent streams, one a row. A row's stream is a function of (root seed, row id,
purpose) and nothing else, so a row gives the same numbers in any batch, on any worker and after any restart.

Numbers are made by counter: draw t of the stream with key k is ``mix(k + (t + 1) * GOLDEN)``, which is SplitMix64
(Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators", figure 16), vectorised over rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float, Int, UInt64
from scipy.special import ndtri

from stepward.core.batch import Indices

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Rng:
    """n independent random streams. Drawing advances all of them by the same count.

    Args:
        keys: one 64-bit key a row, as made by `from_ids` or `from_seed`.
        counter: how many numbers have been drawn from every stream.
    """

    def __init__(self, keys: UInt64[np.ndarray, " n"], counter: int = 0) -> None:
        self.keys = keys
        self.counter = counter

    @classmethod
    def from_ids(cls, seed: int, ids: Iterable[object], purpose: str) -> Rng:
        """One stream a row id. `purpose` separates uses of the same row, for example "label" from "mine"."""
        prefix = hashlib.blake2b(f"{seed}\x1f{purpose}\x1f".encode(), digest_size=8)
        return cls(np.fromiter((_digest(prefix, row_id) for row_id in ids), dtype=np.uint64))

    @classmethod
    def from_seed(cls, seed: int, num_rows: int, purpose: str) -> Rng:
        """Streams for rows known only by their position 0 .. num_rows - 1."""
        return cls.from_ids(seed, ["root"], purpose).take(np.zeros(num_rows, np.int64)).fork(np.arange(num_rows))

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, indices: Indices) -> Rng:
        """The streams at `indices`, at the position they have reached. Repeated indices repeat the numbers."""
        return Rng(self.keys[indices], self.counter)

    def fork(self, tags: Int[np.ndarray, " n"] | int) -> Rng:
        """New streams, one a row, derived from each row's key and an integer tag."""
        tags = np.asarray(tags).astype(np.uint64)
        with np.errstate(over="ignore"):
            return Rng(_mix(_mix(self.keys + GOLDEN) + (tags + np.uint64(1)) * GOLDEN))

    def repeat(self, times: int) -> Rng:
        """N streams -> n * times different streams, row-major: each row forked by 0 .. times - 1."""
        tags = np.tile(np.arange(times), len(self))
        return self.take(np.repeat(np.arange(len(self)), times)).fork(tags)

    def uniform(self, num: int) -> Float[np.ndarray, "n num"]:
        """Numbers in the open interval (0, 1), `num` from every stream."""
        steps = np.arange(self.counter + 1, self.counter + num + 1, dtype=np.uint64)
        self.counter += num
        with np.errstate(over="ignore"):
            bits = _mix(self.keys[:, None] + steps * GOLDEN)
        return ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53

    def normal(self, num: int) -> Float[np.ndarray, "n num"]:
        """Standard normal numbers by inversion, `num` from every stream."""
        return ndtri(self.uniform(num))

    def integers(self, low: int, high: int, num: int) -> Int[np.ndarray, "n num"]:
        """Integers in [low, high), `num` from every stream."""
        return low + np.floor(self.uniform(num) * (high - low)).astype(np.int64)

    def choice(self, probabilities: Float[np.ndarray, "n k"], num: int = 1) -> Int[np.ndarray, "n num"]:
        """Categories drawn with replacement from each row's own distribution over k categories."""
        cumulative = np.cumsum(probabilities, axis=1)
        points = self.uniform(num) * cumulative[:, -1:]
        return (points[:, :, None] > cumulative[:, None, :-1]).sum(axis=2)


def stable_hash(*parts: object) -> int:
    """A 64-bit hash of the parts' text that is the same in every process (Python's own `hash` is not)."""
    return int.from_bytes(hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest(), "little")


def mix_keys(keys: np.ndarray, seed: int) -> UInt64[np.ndarray, " n"]:
    """Integer keys and a seed -> well mixed 64-bit keys, for numbers that belong to a state rather than to a draw."""
    with np.errstate(over="ignore"):
        return _mix(_mix(keys.astype(np.uint64) + GOLDEN) ^ np.uint64(stable_hash(seed)))


def _digest(prefix: hashlib.blake2b, row_id: object) -> int:
    state = prefix.copy()
    state.update(str(row_id).encode())
    return int.from_bytes(state.digest(), "little")


def _mix(z: UInt64[np.ndarray, ...]) -> UInt64[np.ndarray, ...]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
