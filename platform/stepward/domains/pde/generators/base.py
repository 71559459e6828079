"""What every candidate generator shares: forward passes in pieces, streams a candidate, honest costs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, UInt64
from pydantic import Field
from torch import Tensor

from stepward.core.batch import repeat
from stepward.core.config import Config
from stepward.core.seeding import Rng
from stepward.domains.pde.flops import Positions
from stepward.domains.pde.grids import require_periodic
from stepward.domains.pde.states import PDEStates, advance, seen
from stepward.domains.pde.surrogates import Draws, RowNoise, Surrogate, as_given, as_tensor, load_surrogate

ROWS = 128  # rows of one forward pass on a CPU: what stays in its cache; on an accelerator DEVICE_ROWS
DEVICE_ROWS = 2048
NOT_PERIODIC = "Train one that is not periodic: surrogate.kind=unet surrogate.padding=replicate"


class GeneratorSettings(Config):
    """What every generator is asked: which surrogate, and whether the first candidate is its own answer."""

    surrogate: str = Field("artifacts/pde/pretrain/default", description="folder or URL of a trained surrogate")
    include_deterministic: bool = Field(False, description="make the first candidate the deterministic output itself")

    def load(self) -> Surrogate:
        """The surrogate; a ValueError says how to get one."""
        return load_surrogate(self.surrogate)


class Generator(ABC):
    """Base of proposers over a surrogate: k candidates of every state, in [n, k] at once.

    Args:
        surrogate: in evaluation mode.
        include_deterministic: the first of the k candidates is the deterministic output.

    Raises:
        ValueError: the surrogate does not know the kind of chance the generator needs, or must not be used yet.
    """

    NEEDS: ClassVar[str | None] = None
    nfe = 1

    def __init__(self, surrogate: Surrogate, *, include_deterministic: bool = False) -> None:
        if self.NEEDS is not None and self.NEEDS not in surrogate.stochastic:
            raise ValueError(
                f"{type(self).__name__}: expected a surrogate that knows {self.NEEDS!r}, but "
                f"{type(surrogate).__name__} as configured knows {sorted(surrogate.stochastic)}. Choose another "
                "generator, or train a surrogate with it."
            )
        surrogate.ready()
        self.surrogate, self.include_deterministic = surrogate, include_deterministic
        self._positions = Positions(surrogate, lambda shape: surrogate(surrogate.nothing(shape)))
        self.num_parameters = surrogate.num_parameters

    def propose(self, states: PDEStates, *, num_candidates: int, rng: Rng) -> PDEStates:
        """Candidates with the deterministic output of their step beside them.

        Raises:
            ValueError: data with walls or other ends, and a surrogate that takes them for periodic.
        """
        if self.surrogate.periodic:
            require_periodic(states.reference, f"Surrogate {type(self.surrogate).__name__}", NOT_PERIODIC)
        n, k = len(states), num_candidates
        streams = candidate_streams(rng, k)
        with torch.inference_mode():
            fields = as_tensor(seen(states, self.surrogate.frames), self.surrogate.device).flatten(1, 2)
            plain = self.deterministic(fields)
            noise = RowNoise.from_rng(streams, self.surrogate.device)
            if n:
                candidates = self.candidates(fields, plain, states, noise, k).reshape(n, k, *plain.shape[1:])
            else:
                candidates = plain.new_zeros(0, k, *plain.shape[1:])
            if self.include_deterministic:
                candidates[:, 0] = plain
            beside = plain.repeat_interleave(k, dim=0)
            given = [as_given(t, states.fields) for t in (candidates.flatten(0, 1), beside)]
        return advance(repeat(states, k), given[0], given[1], self.tags(streams, k), self.guesses(states, k))

    def rollout_policy(self) -> Generator:
        """The surrogate without chance: how a lookahead goes on."""
        return DeterministicGenerator(self.surrogate)

    @abstractmethod
    def candidates(
        self,
        fields: Float[Tensor, "n fc h w"],
        plain: Float[Tensor, "n c h w"],
        states: PDEStates,
        noise: RowNoise,
        k: int,
    ) -> Float[Tensor, "m c h w"]:
        """The n * k candidates, row-major, from the frames that the surrogate reads; `plain` is the deterministic
        output and `noise` holds n * k streams.
        """

    def guesses(self, states: PDEStates, k: int) -> Float[np.ndarray, " m"] | None:
        """The constant that each of the n * k candidates takes for true; None where a generator guesses none."""
        return None

    def deterministic(self, fields: Float[Tensor, "n fc h w"]) -> Float[Tensor, "n c h w"]:
        """The surrogate without chance."""
        return self.forward(fields, None)

    def forward(self, fields: Float[Tensor, "n fc h w"], draws: Draws | None) -> Float[Tensor, "n c h w"]:
        """The surrogate in pieces; `draws.noise` holds one stream a row."""
        size = ROWS if fields.device.type == "cpu" else DEVICE_ROWS
        parts = [fields[:0, : self.surrogate.num_channels]]
        for first in range(0, len(fields), size):
            piece = slice(first, first + size)
            parts.append(self.surrogate(fields[piece], None if draws is None else draws.take(piece)))
        return torch.cat(parts)

    def tags(self, streams: Rng, k: int) -> UInt64[np.ndarray, " m"]:
        """What tells siblings apart: their streams, and 0 for the deterministic output."""
        tags = streams.keys.copy()
        if self.include_deterministic:
            tags[::k] = 0
        return tags

    def charged_passes(self, num_candidates: int) -> float:
        """One pass of the state serves all its candidates."""
        return 1.0 / num_candidates

    def charged_tokens(self, children: PDEStates) -> Float[np.ndarray, " n"]:
        """Effective positions of one forward pass; see `flops.py`."""
        return self._positions.rows(children.fields)


class DeterministicGenerator(Generator):
    """The base of every comparison."""

    def candidates(
        self,
        fields: Float[Tensor, "n fc h w"],
        plain: Float[Tensor, "n c h w"],
        states: PDEStates,
        noise: RowNoise,
        k: int,
    ) -> Float[Tensor, "m c h w"]:
        """The deterministic output k times."""
        return plain.repeat_interleave(k, dim=0)

    def tags(self, streams: Rng, k: int) -> np.ndarray:
        """0 for every candidate: all are the same state."""
        return np.zeros(len(streams), np.uint64)


class SampledGenerator(Generator):
    """Base of generators that run the network once a candidate, and once more for the deterministic output."""

    def candidates(
        self,
        fields: Float[Tensor, "n fc h w"],
        plain: Float[Tensor, "n c h w"],
        states: PDEStates,
        noise: RowNoise,
        k: int,
    ) -> Float[Tensor, "m c h w"]:
        """One pass of the network a candidate, with the draws of each row, in pieces that fit memory."""
        size = max(1, (ROWS if fields.device.type == "cpu" else DEVICE_ROWS) // k)
        parts = []
        for first in range(0, len(fields), size):  # repeated states are never all in memory at once
            piece = fields[first : first + size].repeat_interleave(k, dim=0)
            rows = slice(first * k, first * k + len(piece))
            parts.append(self.forward(piece, self.draws(noise.take(rows))))
        return torch.cat(parts)

    @abstractmethod
    def draws(self, noise: RowNoise) -> Draws:
        """The kind of chance of this generator."""

    def charged_passes(self, num_candidates: int) -> float:
        """One pass a candidate and one for the deterministic output, over the candidates."""
        return (num_candidates + 1.0) / num_candidates


def candidate_streams(rng: Rng, num_candidates: int) -> Rng:
    """One stream a candidate, row-major; another call with the same `rng` gives others, as another draw would."""
    streams = rng.fork(rng.counter).repeat(num_candidates)
    rng.counter += 1
    return streams
