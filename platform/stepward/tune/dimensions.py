"""Dimensions of a search space: which values one setting may take.

In YAML a dimension is one word and its values::

    learner.depth: {grid: [2, 3, 4]}                        every value, crossed with every other grid
    learner.activation: {choice: [relu, silu]}              one of them, each as likely
    learner.hidden_width: {integers: [32, 128]}             a whole number, both ends included
    optimisation.weight_decay: {uniform: [0, 0.1]}          a number
    optimisation.learning_rate: {loguniform: [1e-3, 1e-2]}  a number whose logarithm is uniform
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stepward.core.registry import lookup


@dataclass(frozen=True)
class Dimension(ABC):
    """The values that one setting may take. `read` makes one from YAML."""

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        self.check()

    @abstractmethod
    def check(self) -> None:
        """Raises ValueError if there can be no such dimension."""

    @abstractmethod
    def at(self, point: float) -> object:
        """The value at a point of (0, 1): uniform points give the distribution of the dimension."""

    @property
    @abstractmethod
    def extremes(self) -> Sequence[object]:
        """Values which, if they are allowed, mean that all are."""

    def suggested(self, value: float | str) -> object:
        """The value that a search meant, which knows a choice by its position."""
        return value


class Choice(Dimension):
    """One of the values, each as likely."""

    def check(self) -> None:
        """Refuses no values."""
        if not self.values:
            raise ValueError("expected at least one value, got none")

    def at(self, point: float) -> object:
        """The value at a share `point` of the list."""
        return self.values[int(point * len(self.values))]

    @property
    def extremes(self) -> Sequence[object]:
        """All values: none lies between others."""
        return self.values

    def suggested(self, value: float | str) -> object:
        """The value whose position an optimiser chose."""
        return self.values[int(value)]


class Grid(Choice):
    """Every one of the values: trials are made for each of them."""


class Uniform(Dimension):
    """A number between two others."""

    def check(self) -> None:
        """Refuses what is no interval of finite numbers."""
        numbers = all(isinstance(value, int | float) and math.isfinite(value) for value in self.values)
        if len(self.values) != 2 or not numbers or self.values[0] >= self.values[1]:
            raise ValueError(f"expected [low, high] with low < high, got {list(self.values)}")

    def at(self, point: float) -> object:
        """The number at a share `point` of the way up."""
        low, high = self.values
        return float(low + (high - low) * point)

    @property
    def extremes(self) -> tuple[float, float]:
        """Both ends."""
        low, high = self.values
        return low, high


class LogUniform(Uniform):
    """A positive number whose logarithm is uniform."""

    def check(self) -> None:
        """Refuses a lower end that has no logarithm."""
        super().check()
        if self.values[0] <= 0:
            raise ValueError(f"expected [low, high] with 0 < low, got {list(self.values)}")

    def at(self, point: float) -> object:
        """The number at a share `point` of the way up, on a logarithmic scale."""
        low, high = self.values
        return float(low * (high / low) ** point)


class Integers(Uniform):
    """A whole number, both ends included."""

    def check(self) -> None:
        """Refuses ends that are no whole numbers."""
        super().check()
        if any(int(value) != value for value in self.values):
            raise ValueError(f"expected [low, high] of whole numbers, got {list(self.values)}")

    def at(self, point: float) -> object:
        """The number at a share `point`; all are as likely."""
        low, high = map(int, self.values)
        return low + int(point * (high - low + 1))

    @property
    def extremes(self) -> tuple[int, int]:
        """Both ends, as whole numbers."""
        low, high = map(int, self.values)
        return low, high


KINDS: dict[str, type[Dimension]] = {
    "grid": Grid,
    "choice": Choice,
    "uniform": Uniform,
    "loguniform": LogUniform,
    "integers": Integers,
}


def read(content: Mapping[str, object]) -> Dimension:
    """A dimension from its YAML.

    Raises:
        ValueError: not one known word with a list of values that suits it.
    """
    if len(content) != 1:
        raise ValueError(
            f"expected one of {sorted(KINDS)} with its values, such as {{choice: [a, b]}}, got {content!r}"
        )
    word, values = next(iter(content.items()))
    kind = lookup(KINDS, str(word), kind="kind of dimension")
    if not isinstance(values, list):
        raise ValueError(f"expected a list of values after {word!r}, got {values!r}")
    return kind(tuple(_number(value) for value in values))


def _number(value: object) -> object:
    """YAML 1.1 reads 1e-3 as text; people mean the number."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
