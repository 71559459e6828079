"""One stream of uniforms a sequence: what it draws depends on its key and its length so far, on nothing else."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from jaxtyping import Float64, Int64, UInt64

__all__ = ["Uniforms", "sequence_keys", "splitmix_uniforms"]

Uniforms: TypeAlias = Callable[[UInt64[np.ndarray, " n"], Int64[np.ndarray, " n"]], Float64[np.ndarray, " n"]]
"""`uniforms(keys, counters)` in [0, 1): draw number `counters[i]` of the stream `keys[i]`."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(z: UInt64[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def splitmix_uniforms(keys: UInt64[np.ndarray, " n"], counters: Int64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """SplitMix64 read as a counter-based generator (Steele, Lea & Flood 2014), 53 bits a draw.

    The key is mixed before it becomes the start of the sequence, so that neighbouring keys do not share draws.
    """
    state = _mix(keys + _GOLDEN) + (counters.astype(np.uint64) + np.uint64(1)) * _GOLDEN
    return (_mix(state) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def sequence_keys(seed: int, num_sequences: int) -> UInt64[np.ndarray, " n"]:
    """`num_sequences` distinct keys under one `seed`, for callers which have no row ids of their own."""
    start = _mix(np.array([seed % 2**64], dtype=np.uint64))
    return _mix(start + np.arange(num_sequences, dtype=np.uint64) * _GOLDEN)
