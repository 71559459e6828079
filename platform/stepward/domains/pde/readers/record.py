"""What every reader yields: blocks of trajectories with the grid they live on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from stepward.core.wing import Rejected

__all__ = ["BOUNDARIES", "FieldBlock", "Grid", "find_bad", "sift"]

BOUNDARIES = ("periodic", "wall", "outflow", "open", "unknown")
_POSITIVE = ("density", "pressure")


@dataclass(frozen=True)
class Grid:
    """What the numbers of a trajectory mean.

    Attributes:
        source: name of the file.
        channels: name of each channel; vectors are split into ``name_x``, ``name_y``.
        axes: names of the spatial axes, in array order: ("x",) or ("x", "y").
        spacing: cell size along each axis.
        dt: time between frames.
        boundary: of each axis: "periodic", "wall" (nothing passes), "outflow" (zero gradient), "open" (The Well's word
            for outflow), two of them joined by "+" where the ends differ, or "unknown".
        parameters: physical constants of the file (gamma, nu, ...).
    """

    source: str
    channels: tuple[str, ...]
    axes: tuple[str, ...]
    spacing: tuple[float, ...]
    dt: float
    boundary: tuple[str, ...]
    parameters: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class FieldBlock:
    """Trajectories of one file that can be used, and those of the same part of the file that cannot.

    Attributes:
        ids: ``source:index`` of every trajectory: the same in every block size.
        fields: [n, frames, channel, *grid], in the precision of the file.
        grid: what they mean.
        rejected: trajectories left out, each with a sentence.
    """

    ids: tuple[str, ...]
    fields: Float[ndarray, "n frames channel *space"]
    grid: Grid
    rejected: tuple[Rejected, ...] = ()

    def __len__(self) -> int:
        return len(self.fields)

    def without(self, problems: Sequence[str]) -> FieldBlock:
        """The trajectories whose sentence in `problems` is empty; the others are rejected with theirs."""
        good = np.array([not problem for problem in problems], bool)
        bad = [Rejected(name, problem, "") for name, problem in zip(self.ids, problems, strict=True) if problem]
        ids = tuple(name for name, fine in zip(self.ids, good, strict=True) if fine)
        return FieldBlock(ids, self.fields[good], self.grid, (*self.rejected, *bad)) if bad else self


def sift(
    fields: Float[ndarray, "n frames channel *space"], grid: Grid, start: int, problems: Sequence[str] | None = None
) -> FieldBlock:
    """A block of the trajectories from `start` on of a file: those that hold physical numbers, the others rejected.

    Args:
        problems: what else is wrong with each trajectory, "" if nothing is.
    """
    ids = tuple(f"{grid.source}:{index}" for index in range(start, start + len(fields)))
    bad = find_bad(fields, grid.channels)
    both = [known or seen for known, seen in zip(problems or [""] * len(bad), bad, strict=True)]
    return FieldBlock(ids, fields, grid).without(both)


def find_bad(fields: Float[ndarray, "n frames channel *space"], channels: Sequence[str]) -> list[str]:
    """What is wrong with each trajectory, at its first bad cell: numbers that are not finite, or density or pressure
    that is not positive; "" if nothing is.
    """
    problems = [""] * len(fields)
    for channel, name in enumerate(channels):
        values = fields[:, :, channel]
        good = np.isfinite(values)
        if name in _POSITIVE:
            good &= values > 0
        for row in np.flatnonzero(~good.all(axis=tuple(range(1, good.ndim)))):
            frame, *cell = (int(index) for index in np.argwhere(~good[row])[0])
            problems[row] = problems[row] or (
                f"expected finite {'positive ' if name in _POSITIVE else ''}{name}, got "
                f"{float(values[row, frame][tuple(cell)])!r} in frame {frame}, cell {tuple(cell)}"
            )
    return problems
