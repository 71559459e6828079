"""Benchmarks of step judges: solutions whose steps are labelled, and what a score of every step is worth on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import pyarrow as pa

__all__ = ["Benchmark", "Benchmarks", "Reference"]

Metric = Literal["steps", "first_error"]


@dataclass(frozen=True)
class Reference:
    """A published figure, to stand beside those that are measured.

    Attributes:
        judge: who reached it.
        category: of the benchmark; "all" for all of it.
        value: as a share.
        source: where it is published.
    """

    judge: str
    category: str
    value: float
    source: str


@runtime_checkable
class Benchmark(Protocol):
    """Settings of one benchmark.

    Attributes:
        metric: steps: right and wrong steps told apart. first_error: the first wrong step named.
        groups: name -> categories whose mean is reported under it.
    """

    metric: Metric
    groups: Mapping[str, tuple[str, ...]]

    def solutions(self) -> tuple[pa.Table, list[Any]]:
        """Solutions, and the rows that could not be used (`Rejected`).

        Columns: `id`, unique; `cluster`, equal where solutions are of one problem; `category`; `labels`, a list with a
        number a step (1 right, 0 wrong, null not rated); and what `Benchmarks.steps` needs.

        Raises:
            ValueError: there is no file, or it holds no solution.
        """
        ...

    def references(self) -> list[Reference]:
        """Published figures of the headline: PRMScore, or F1."""
        ...


@dataclass(frozen=True)
class Benchmarks:
    """The benchmarks of a domain.

    Attributes:
        kinds: kind -> settings class, a `Benchmark`; the first is the default.
        steps: ``(solutions) -> (parents, children)``, batches of states with a row a step, solution by solution; each
            solution is a problem of its own.
        guides: name -> settings of rivals that need no training, as plain values: what a judge must beat.
    """

    kinds: Mapping[str, Any]
    steps: Callable[[pa.Table], tuple[Any, Any]]
    guides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
