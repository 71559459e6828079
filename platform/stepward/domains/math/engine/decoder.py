"""What the sampler needs of a model: prefill a few prefixes, decode one token of many rows."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int64
from torch import Tensor

from stepward.domains.math.engine.attention import StepPlan
from stepward.domains.math.engine.cache import DecoderShape, KVStore

__all__ = ["Decoder"]


@runtime_checkable
class Decoder(Protocol):
    """A causal LM which keeps its keys and values in a `KVStore`."""

    shape: DecoderShape

    def prefill(
        self,
        store: KVStore,
        slots: Int64[Tensor, " b"],
        tokens: Int64[Tensor, "b t"],
        ends: tuple[Int64[Tensor, " e"], Int64[Tensor, " e"]],
    ) -> Float[Tensor, "e v"]:
        """Run right-padded prefixes, store them in family `slots`; logits after token `ends[1]` of prefix `ends[0]`."""
        ...

    def decode(
        self, store: KVStore, plan: StepPlan, tokens: Int64[Tensor, " n"], positions: Int64[Tensor, " n"]
    ) -> Float[Tensor, "n v"]:
        """Run one token of rows 0..n-1, store it, and return the logits that follow."""
        ...
