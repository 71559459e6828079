"""Where keys and values live: a trunk that all share, one block a prefix family, one short private block a row.

Shapes use L layers, F family slots, R rows, H key/value heads, T tokens, D head dimension.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

__all__ = ["DecoderShape", "KVStore"]

_GRAIN = 32  # blocks grow to multiples of this many tokens or rows
_ROWS, _TOKENS = 2, 4  # axes of a block


@dataclass(frozen=True)
class DecoderShape:
    """The sizes of a key/value store that fits the model; `num_heads` counts key/value heads."""

    num_layers: int
    num_heads: int
    head_dim: int


class KVStore:
    """Preallocated blocks; `prefix[l, 0 or 1, f]` is shared by the rows of family f, `suffix[l, 0 or 1, r]` is not.

    Rows in use are always 0..n-1, so that every read is a slice. Blocks grow by doubling when a prefix or a suffix gets
    longer than they are, and when there are more rows; what they hold beyond the valid length is never read (it is
    masked) but must be finite. `trunk[l, 0 or 1]` has the keys and values of `trunk_tokens`; the blocks of prefixes
    that begin with them hold what follows.
    """

    def __init__(
        self, shape: DecoderShape, *, families: int, rows: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        num_layers, num_heads, head_dim = shape.num_layers, shape.num_heads, shape.head_dim
        self.prefix = torch.zeros(num_layers, 2, families, num_heads, _GRAIN, head_dim, device=device, dtype=dtype)
        self.suffix = torch.zeros(num_layers, 2, rows, num_heads, _GRAIN, head_dim, device=device, dtype=dtype)
        self.trunk = torch.zeros(num_layers, 2, num_heads, 0, head_dim, device=device, dtype=dtype)
        self.trunk_tokens: tuple[int, ...] = ()

    @property
    def device(self) -> torch.device:
        """Where the blocks are."""
        return self.suffix.device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of keys and values."""
        return self.suffix.dtype

    @property
    def num_rows(self) -> int:
        """Rows there is room for."""
        return self.suffix.shape[2]

    @property
    def num_families(self) -> int:
        """Families there is room for."""
        return self.prefix.shape[2]

    def reserve(self, *, prefix: int = 0, suffix: int = 0, rows: int = 0) -> None:
        """Make room for so many tokens a prefix and a suffix, and for so many rows."""
        self.prefix = _grown(self.prefix, _TOKENS, prefix)
        self.suffix = _grown(_grown(self.suffix, _TOKENS, suffix), _ROWS, rows)

    def put_prefix(
        self, layer: int, slots: Int64[Tensor, " b"], keys: Float[Tensor, "b h t d"], values: Float[Tensor, "b h t d"]
    ) -> None:
        """Store one layer of freshly prefilled prefixes."""
        length = keys.shape[2]
        self.prefix[layer, 0, :, :, :length].index_copy_(0, slots, keys)
        self.prefix[layer, 1, :, :, :length].index_copy_(0, slots, values)

    def clear_trunk(self, tokens: tuple[int, ...]) -> None:
        """Make room for another trunk, to be filled layer by layer."""
        layers, kinds, heads, _, dim = self.trunk.shape
        self.trunk = self.trunk.new_zeros(layers, kinds, heads, len(tokens), dim)
        self.trunk_tokens = tokens

    def append(
        self, layer: int, place: Int64[Tensor, " nh"], keys: Float[Tensor, "n h d"], values: Float[Tensor, "n h d"]
    ) -> None:
        """Store one layer of one new token a row; `place` comes from `places`."""
        head_dim = keys.shape[-1]
        self.suffix[layer, 0].view(-1, head_dim).index_copy_(0, place, keys.reshape(-1, head_dim))
        self.suffix[layer, 1].view(-1, head_dim).index_copy_(0, place, values.reshape(-1, head_dim))

    def places(self, lengths: Int64[np.ndarray, " n"]) -> Int64[Tensor, " nh"]:
        """Flat position of the next token of rows 0..n-1 with suffixes of `lengths`, for each head."""
        heads, tokens = self.suffix.shape[3:5]
        block = np.arange(len(lengths) * heads) * tokens
        return torch.from_numpy(block + np.repeat(lengths, heads)).to(self.device)

    def copy_rows(self, source: Int64[np.ndarray, " m"], target: Int64[np.ndarray, " m"], length: int) -> None:
        """Copy the first `length` suffix tokens of some rows over others, all layers at once."""
        block = self.suffix[:, :, :, :, :length]
        src, dst = torch.from_numpy(source).to(self.device), torch.from_numpy(target).to(self.device)
        block.index_copy_(2, dst, block.index_select(2, src))


def _grown(block: Tensor, axis: int, size: int) -> Tensor:
    have = block.shape[axis]
    if size <= have:
        return block
    shape = list(block.shape)
    shape[axis] = max(2 * have, -(-size // _GRAIN) * _GRAIN)
    grown = block.new_zeros(shape)
    grown.narrow(axis, 0, have).copy_(block)
    return grown
