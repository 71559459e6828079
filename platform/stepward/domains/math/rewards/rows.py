"""Token ids of many texts as one array."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

__all__ = ["padded"]


def padded(rows: list[list[int]]) -> Int[np.ndarray, "n t"]:
    """Rows of token ids as one array, −1 where a row has ended."""
    width = max((len(row) for row in rows), default=0)
    array = np.full((len(rows), max(width, 1)), -1, np.int32)
    for i, row in enumerate(rows):
        array[i, : len(row)] = row
    return array
