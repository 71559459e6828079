"""What a simple domain need not say: bases and readers for states that are plain arrays and for rules without weights.

A domain of packages begins with these (docs/extending.md); what does not fit is overridden, or left out.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import fields
from hashlib import blake2b
from typing import ClassVar, TypeVar

import numpy as np
import pyarrow as pa
from jaxtyping import Int, Int8, UInt64
from pydantic import Field

from stepward.core.batch import ArrayBatch, repeat
from stepward.core.config import Config
from stepward.core.interfaces import Domain, Proposer
from stepward.core.seeding import Rng

__all__ = [
    "ArrayDomain",
    "NumberedProblems",
    "RuleProposer",
    "RuleReward",
    "alternatives",
    "columns_of",
    "reader",
    "step_reader",
]

A = TypeVar("A", bound=ArrayBatch)
PARENT = "parent_"  # prefix of the columns that hold the state before a step
SPLITS = ("train", "validation", "test")


class ArrayDomain:
    """A domain whose states are the same where all their arrays are, and whose steps are no texts."""

    name: str

    @abstractmethod
    def status(self, states: ArrayBatch) -> Int8[np.ndarray, " n"]:
        """`Status` of every state."""

    def keys(self, states: ArrayBatch) -> UInt64[np.ndarray, " n"]:
        """Hashes of all that a state holds, but for its problem."""
        arrays = [np.ascontiguousarray(getattr(states, name) + 0) for name in _names(type(states))]  # −0 is 0
        rows = np.concatenate([_flat(array).view(np.uint8) for array in arrays], axis=1)
        digests = [blake2b(row.tobytes(), digest_size=8).digest() for row in rows]
        return np.array([int.from_bytes(digest, "little") for digest in digests], np.uint64)

    def step_tokens(self, states: ArrayBatch) -> Int[np.ndarray, " n"]:
        """A step counts as one token."""
        return np.ones(len(states), np.int64)


class RuleProposer(Config):
    """A proposer that is its own settings: `propose` asks no network."""

    num_parameters: ClassVar[int] = 0
    nfe: ClassVar[int] = 0

    def build(self) -> RuleProposer:
        """Itself."""
        return self


class RuleReward(Config):
    """A reward model that is its own settings: `score` has no weights."""

    num_parameters: ClassVar[int] = 0

    def build(self, domain: Domain) -> RuleReward:
        """Itself."""
        return self


class NumberedProblems(Config):
    """Problems that a number makes; numbers of different splits and seeds never meet."""

    num_train: int = Field(40, ge=1, lt=10**6, description="problems to learn from")
    num_validation: int = Field(10, ge=1, lt=10**6, description="problems to stop by")
    num_test: int = Field(10, ge=1, lt=10**6, description="problems to report on")

    @abstractmethod
    def columns(self, numbers: Int[np.ndarray, " n"]) -> dict[str, object]:
        """Columns of the problems with these numbers."""

    def problems(self, split: str, seed: int) -> tuple[pa.Table, list[object]]:
        """Problems of a split; none is rejected."""
        first = 10**6 * (SPLITS.index(split) + len(SPLITS) * seed)
        numbers = np.arange(first, first + getattr(self, f"num_{split}"))
        return pa.table({"id": [f"case {number}" for number in numbers], **self.columns(numbers)}), []


def columns_of(states: ArrayBatch, prefix: str = "") -> dict[str, pa.Array]:
    """Columns of a table that holds all of the states but their problem; rows of arrays are lists of fixed size."""
    arrays = {name: np.asarray(getattr(states, name)) for name in _names(type(states))}
    return {
        prefix + name: pa.array(a) if a.ndim == 1 else pa.FixedSizeListArray.from_arrays(a.ravel(), _flat(a).shape[1])
        for name, a in arrays.items()
    }


def reader(kind: type[A], prefix: str = "") -> Callable[[pa.Table], A]:
    """Tables with the columns of `columns_of` -> states, row by row; rows of one problem share its index."""

    def read(table: pa.Table) -> A:
        ids = table["problem_id" if "problem_id" in table.column_names else "id"].to_pylist()
        arrays = {name: table[prefix + name].combine_chunks() for name in _names(kind)}
        shaped = {
            name: a.flatten().to_numpy().reshape(len(a), a.type.list_size)
            if pa.types.is_fixed_size_list(a.type)
            else a.to_numpy()
            for name, a in arrays.items()
        }
        return kind(problem=np.unique(ids, return_inverse=True)[1].reshape(-1).astype(np.int64), **shaped)

    return read


def step_reader(kind: type[A]) -> Callable[[pa.Table], tuple[A, A]]:
    """Tables of `alternatives` -> (parents, children)."""
    before, after = reader(kind, PARENT), reader(kind)
    return lambda table: (before(table), after(table))


def alternatives(parents: A, problem_ids: list[str], proposer: Proposer, k: int, *, seed: int, tag: object) -> pa.Table:
    """K proposed steps of every state, to be ranked: a table of mined rows with the id of the state as `group`.

    Args:
        problem_ids: of the parents; with `tag` they name each of them.
        tag: what tells the states of one problem apart, such as the number of the step.
    """
    names = [f"{name}/{tag}" for name in problem_ids]
    children = proposer.propose(parents, num_candidates=k, rng=Rng.from_ids(seed, names, "mine"))
    known = {"id": [f"{name}/{j}" for name in names for j in range(k)], "group": np.repeat(names, k)}
    known |= {"problem_id": np.repeat(problem_ids, k)}
    return pa.table(known | columns_of(children) | columns_of(repeat(parents, k), PARENT))


def _names(kind: type[ArrayBatch]) -> list[str]:
    return [field.name for field in fields(kind) if field.name != "problem"]


def _flat(array: np.ndarray) -> np.ndarray:
    """[n, …] as [n, m]; also where n is 0."""
    return array.reshape(len(array), int(np.prod(array.shape[1:], dtype=np.int64)))
