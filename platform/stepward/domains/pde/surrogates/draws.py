"""Chance inside a network, from one random stream a row: so a candidate does not depend on the batch it is made in."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import dropout

from stepward.core.seeding import GOLDEN, Rng

_GOLDEN = int(GOLDEN.view(np.int64))
_MIX = tuple(int(np.uint64(m).view(np.int64)) for m in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


class RowNoise:
    """The streams of an `Rng`, drawn by torch on the device of the fields: the same numbers, without a transfer.

    Args:
        keys: one 64-bit key a row, as signed integers.
        counter: how many numbers have been drawn from every stream.
    """

    def __init__(self, keys: Int[Tensor, " n"], counter: int = 0) -> None:
        self.keys, self.counter = keys, counter

    @classmethod
    def from_rng(cls, rng: Rng, device: torch.device | str = "cpu") -> RowNoise:
        """Streams at the position they have reached."""
        return cls(torch.from_numpy(rng.keys.view(np.int64).copy()).to(device), rng.counter)

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, rows: slice) -> RowNoise:
        """The streams of some rows."""
        return RowNoise(self.keys[rows], self.counter)

    def uniform(self, *shape: int) -> Float[Tensor, "n ..."]:
        """Numbers in (0, 1), float64, [n, *shape]."""
        bits = self._words(int(np.prod(shape, dtype=np.int64)))
        return ((_shift(bits, 11).to(torch.float64) + 0.5) * 2.0**-53).reshape(len(self), *shape)

    def normal(self, *shape: int) -> Float[Tensor, "n ..."]:
        """Standard normal numbers by inversion, float32, [n, *shape]."""
        return torch.special.ndtri(self.uniform(*shape)).to(torch.float32)

    def keep(self, probability: float, *shape: int) -> Float[Tensor, "n ..."]:
        """1 with the given probability (to 2⁻¹⁶), else 0, float32, [n, *shape]; four numbers from every word."""
        count = int(np.prod(shape, dtype=np.int64))
        words = self._words(-(-count // 4))
        lanes = torch.stack([_shift(words, s) & 0xFFFF if s else words & 0xFFFF for s in (0, 16, 32, 48)], dim=2)
        return (lanes.reshape(len(self), -1)[:, :count] < probability * 65536).float().reshape(len(self), *shape)

    def _words(self, count: int) -> Int[Tensor, "n m"]:
        steps = torch.arange(self.counter + 1, self.counter + count + 1, device=self.keys.device)
        self.counter += count
        z = self.keys[:, None] + steps * _GOLDEN
        z = (z ^ _shift(z, 30)) * _MIX[0]
        z = (z ^ _shift(z, 27)) * _MIX[1]
        return z ^ _shift(z, 31)


@dataclass(frozen=True)
class Draws:
    """Which kinds of chance a forward pass takes. A network that does not know a kind says so in `stochastic`.

    Attributes:
        noise: one stream a row.
        dropout: dropout stays on (MC dropout: Gal and Ghahramani 2016).
        latent_sigma: σ of the noise added in every hidden layer: one number a channel, times the layer's RMS in the
            row.
        tau_range: τ of the residual corrector is uniform in this range.
        code: the code of a latent-conditioned network is standard normal instead of 0.
        output_sigma: σ of noise on the latent that is decoded, in units of its standard deviation.
        guess: a constant of each row's trajectory, taken for true by a network that is told one; None: the middle one.
    """

    noise: RowNoise
    dropout: bool = False
    latent_sigma: float = 0.0
    tau_range: tuple[float, float] | None = None
    code: bool = False
    output_sigma: float = 0.0
    guess: Float[Tensor, " n"] | None = None

    @classmethod
    def told(cls, guess: Float[Tensor, " n"]) -> Draws:
        """No chance, but a constant for every row."""
        return cls(RowNoise(torch.zeros(len(guess), dtype=torch.int64, device=guess.device)), guess=guess)

    def take(self, rows: slice) -> Draws:
        """Draws for some rows."""
        return replace(self, noise=self.noise.take(rows), guess=None if self.guess is None else self.guess[rows])


class RowDropout(nn.Module):
    """Dropout: torch's own while training, the row's stream where `Draws` ask for it, nothing otherwise."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor, draws: Draws | None = None) -> Tensor:
        """The input with a share `rate` of its numbers dropped and the rest scaled up."""
        if draws is not None and draws.dropout and self.rate > 0:
            return x * draws.noise.keep(1.0 - self.rate, *x.shape[1:]).to(x) / (1.0 - self.rate)
        return dropout(x, self.rate, self.training)


def channel_noise(x: Tensor, draws: Draws | None, channel_axis: int) -> Tensor:
    """`x` plus latent noise, if `draws` ask for it: constant over positions, because only few dimensions can help."""
    if draws is None or not draws.latent_sigma:
        return x
    shape = [1] * (x.ndim - 1)
    shape[channel_axis - 1] = x.shape[channel_axis]
    size = x.detach().pow(2).flatten(1).mean(dim=1).sqrt().reshape(-1, *[1] * (x.ndim - 1))
    return x + draws.latent_sigma * size * draws.noise.normal(*shape).to(x)


def _shift(z: Tensor, bits: int) -> Tensor:
    """Shift to the right that fills with zeros; torch's own copies the sign."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)
