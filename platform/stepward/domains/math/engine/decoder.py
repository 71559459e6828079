"""What the sampler needs of a model: prefill a few prefixes, decode one token of many rows."""

from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float, Int64
from torch import Tensor

from stepward.domains.math.engine.attention import StepPlan
from stepward.domains.math.engine.cache import DecoderShape, KVStore

__all__ = ["Decoded", "Decoder"]


class Decoded(NamedTuple):
    """What follows m texts, and the hidden states of the layers asked for at their ends."""

    logits: Float[Tensor, "m v"]
    states: Float[Tensor, "m l c"] | None


@runtime_checkable
class Decoder(Protocol):
    """A causal LM which keeps its keys and values in a `KVStore`."""

    shape: DecoderShape

    def prefill(
        self,
        store: KVStore,
        slots: Int64[Tensor, " b"] | None,
        start: int,
        tokens: Int64[Tensor, "b t"],
        ends: tuple[Int64[Tensor, " e"], Int64[Tensor, " e"]],
        layers: tuple[int, ...],
    ) -> Decoded:
        """Run right-padded prefixes behind `start` tokens of the trunk.

        They are stored in family `slots`, or as the trunk itself where there are no slots. Returns what follows token
        `ends[1]` of prefix `ends[0]`.
        """
        ...

    def decode(
        self,
        store: KVStore,
        plan: StepPlan,
        tokens: Int64[Tensor, " n"],
        positions: Int64[Tensor, " n"],
        layers: tuple[int, ...],
    ) -> Decoded:
        """Run one token of rows 0..n-1, store it, and return what follows."""
        ...
