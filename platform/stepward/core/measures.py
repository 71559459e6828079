"""Measures: the numbers by which a verifier judges what was found, and what statistics need to know of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from stepward.core.batch import Batch
from stepward.core.interfaces import Verifier
from stepward.core.registry import lookup


@dataclass(frozen=True)
class Measure:
    """One number by which a verifier judges a state that was found.

    Attributes:
        name: column of the trials table.
        description: in a few words, for tables and axes.
        unit: of its values; "" for a share or a ratio.
        higher_is_better: its direction.
        binary: values are 0 or 1; two arms are compared by the problems on which they differ (McNemar), else by paired
            differences.
        per_step: it has a value for every step of what was found, so there is a curve over steps.
        over_steps: how a publication makes one number of the steps of a problem: their mean, or the last.
        over_problems: and of the problems: their mean or their median.
    """

    name: str
    description: str
    unit: str = ""
    higher_is_better: bool = False
    binary: bool = False
    per_step: bool = False
    over_steps: Literal["mean", "last"] = "mean"
    over_problems: Literal["mean", "median"] = "mean"

    def __post_init__(self) -> None:
        if self.binary and self.per_step:
            raise ValueError(f"Measure {self.name!r}: expected one value a problem where it is binary, got one a step.")

    def of_problems(self, values: Float[np.ndarray, " p"]) -> float:
        """One number of the values of problems; NaN without any."""
        if not len(values):
            return float("nan")
        return float(np.median(values) if self.over_problems == "median" else np.mean(values))

    def beyond(self, values: Float[np.ndarray, "*shape"], limit: float) -> np.ndarray:
        """Where values are worse than `limit`; undefined ones are not."""
        return values < limit if self.higher_is_better else values > limit


SOLVED = Measure("solved", "share of problems solved", higher_is_better=True, binary=True)


def measures_of(verifier: Verifier) -> tuple[Measure, ...]:
    """The measures of a verifier, the headline first; one that names none says solved or not."""
    found: tuple[Measure, ...] = tuple(getattr(verifier, "measures", (SOLVED,)))
    return found


def measure_named(verifier: Verifier, name: str) -> Measure:
    """The measure called `name`, or an error that says which there are."""
    return lookup({measure.name: measure for measure in measures_of(verifier)}, name, kind="measure")


def measured(verifier: Verifier, roots: Batch, found: Batch) -> dict[str, Float[np.ndarray, " n"]]:
    """Name of each measure -> its value for each of n states that were found, NaN where it has none.

    A verifier without ``measure`` has one: its outcome, whose sign is the measure's.

    Args:
        roots: the problem that each state belongs to, row by row.
        found: the states.

    Raises:
        ValueError: the verifier gives other measures than it names, or not one value a state.
    """
    if not hasattr(verifier, "measure"):
        only, outcome = measures_of(verifier)[0], verifier.outcome(found)
        if only.binary:
            return {only.name: (outcome > 0.5).astype(np.float64)}
        return {only.name: outcome if only.higher_is_better else -outcome}
    values = {name: np.asarray(column, np.float64) for name, column in verifier.measure(roots, found).items()}
    names = [measure.name for measure in measures_of(verifier)]
    shapes = {name: column.shape for name, column in values.items()}
    if shapes != {name: (len(found),) for name in names}:
        raise ValueError(
            f"{type(verifier).__name__}.measure: expected a value a state, shape ({len(found)},), of each of {names}, "
            f"got {shapes}."
        )
    return values
