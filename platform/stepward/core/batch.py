"""Batches of states: the one container that moves between proposers, reward models, verifiers and searches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Int

Indices = np.ndarray | Sequence[int] | slice  # of rows: numbers, repeats allowed, or a boolean mask
B = TypeVar("B", bound="Batch")
A = TypeVar("A", bound="ArrayBatch")


@runtime_checkable
class Batch(Protocol):
    """What the platform asks of a container of n states. Everything else about it belongs to its domain.

    Attributes:
        problem: index of the problem each state belongs to. Proposers hand it on to their children; costs
            are charged to it.
    """

    @property
    def problem(self) -> Int[np.ndarray, " n"]:
        """Index of the problem that each state belongs to."""
        ...

    def __len__(self) -> int: ...

    def take(self: B, indices: Indices) -> B:
        """The states at `indices` (integers, repeats allowed, or a boolean mask), in that order."""
        ...

    def replace(self: B, **changes: Any) -> B:
        """A copy with some fields exchanged, such as `problem`."""
        ...

    @classmethod
    def concat(cls: type[B], parts: Sequence[B]) -> B:
        """All states of `parts`, in order. `parts` holds at least one batch."""
        ...


@dataclass(frozen=True)
class ArrayBatch:
    """A `Batch` as a struct of arrays: subclass it with further array fields of leading dimension n.

    Fields are numpy arrays, or torch tensors where states live on an accelerator.
    """

    problem: Int[np.ndarray, " n"]

    def __post_init__(self) -> None:
        sizes = {name: len(getattr(self, name)) for name in self.__dataclass_fields__}
        if len(set(sizes.values())) > 1:
            raise ValueError(
                f"{type(self).__name__}: expected fields of one length, got {sizes}. "
                "Give every field one row per state."
            )

    def __len__(self) -> int:
        return len(self.problem)

    def take(self: A, indices: Indices) -> A:
        """The rows at `indices` (integers, a mask or a slice), in that order; a row may be taken twice."""
        return type(self)(**{name: getattr(self, name)[indices] for name in self.__dataclass_fields__})

    @classmethod
    def concat(cls: type[A], parts: Sequence[A]) -> A:
        """The states of all parts in their order, every field joined along the axis of states."""
        return cls(**{name: _concat([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__})

    def replace(self: A, **changes: Any) -> A:
        """A copy with some fields exchanged."""
        return replace(self, **changes)


def repeat(states: B, times: int) -> B:
    """Each state `times` times in a row: n states -> n * times states, row-major like the output of a proposer."""
    return states.take(np.repeat(np.arange(len(states)), times))


def _concat(arrays: list[np.ndarray]) -> np.ndarray:
    if isinstance(arrays[0], np.ndarray):
        return np.concatenate(arrays)
    import torch  # only batches that hold tensors need torch

    return torch.cat(arrays)
