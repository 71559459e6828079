"""What a batch of states knows of its problems beside their truth: time step, constants, boundary.

Every component that assumes something of these asks here, so that none is assumed of data that say otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Int, Shaped
from numpy import ndarray

from stepward.domains.pde.readers import Grid, gamma_of
from stepward.domains.pde.references import grid_of
from stepward.domains.pde.solver import CONSERVED_CHANNELS, EulerSolver
from stepward.domains.pde.solver.euler import Boundary

__all__ = ["by_grid", "euler_solver", "is_periodic", "require_periodic"]

_EDGES: dict[str, Boundary] = {"periodic": "periodic", "wall": "wall", "outflow": "outflow", "open": "outflow"}


def by_grid(references: Shaped[ndarray, " n"]) -> Iterator[tuple[Grid | None, Int[ndarray, " m"]]]:
    """The rows of each grid among the trajectories called `references`; None where nobody said what numbers mean."""
    names, which = np.unique(references, return_inverse=True)
    grids: list[Grid | None] = []
    number = np.empty(len(names), np.int64)
    for index, grid in enumerate(map(grid_of, names.tolist())):
        if grid not in grids:
            grids.append(grid)
        number[index] = grids.index(grid)
    for index, grid in enumerate(grids):
        yield grid, np.flatnonzero(number[which] == index)


def is_periodic(references: Shaped[ndarray, " n"]) -> bool:
    """Whether no trajectory has walls or other ends, as far as is known."""
    return all(grid is None or set(grid.boundary) == {"periodic"} for grid, _ in by_grid(references))


def require_periodic(references: Iterable[str], who: str, remedy: str) -> None:
    """Raise ValueError where a trajectory has walls or other ends and `who` treats every axis as periodic.

    Args:
        remedy: what to do instead, as a sentence.
    """
    for grid, _ in by_grid(np.asarray(list(references), np.str_)):
        if grid is not None and set(grid.boundary) != {"periodic"}:
            raise ValueError(
                f"{who}: expected periodic data, but the boundary of {grid.source} is {', '.join(grid.boundary)} along "
                f"{', '.join(grid.axes)}. {remedy}"
            )


def euler_solver(
    grid: Grid | None, shape: tuple[int, ...], *, gamma: float | None, dt: float | None, who: str
) -> tuple[EulerSolver, float]:
    """The solver of a gas on this grid, [..., 4, *shape], and the time between frames.

    Args:
        gamma, dt: instead of the data's.

    Raises:
        ValueError: not the fields of a gas, ends that the solver does not know, or nobody said what the numbers mean.
    """
    if grid is None or grid.channels != CONSERVED_CHANNELS:
        have = "nobody said what the numbers mean: keep(name, trajectory, grid)" if grid is None else grid.channels
        raise ValueError(f"{who}: expected the fields of a gas, {CONSERVED_CHANNELS}; got {have}. Leave it out here.")
    unknown = [kind for kind in grid.boundary if kind not in _EDGES]
    if unknown:
        raise ValueError(
            f"{who}: expected a boundary out of {sorted(_EDGES)}; that of {grid.source} is {unknown[0]}. Convert the "
            "file again with source.boundary, or leave it out here."
        )
    extent = (grid.spacing[0] * shape[0], grid.spacing[1] * shape[1])
    edges = (_EDGES[grid.boundary[0]], _EDGES[grid.boundary[1]])
    solver = EulerSolver(gamma=gamma_of(grid) if gamma is None else gamma, boundary=edges, extent=extent)
    return solver, grid.dt if dt is None else dt
