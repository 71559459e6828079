"""Reference trajectories by name: the truth of this domain.

A name says where the truth is, so that any process finds it, and a state only carries the name:

    euler2d/<family>/<cells>/<steps>/<dt>/<seed>/<index>     computed when asked for (about 0.2 CPU-seconds)
    <path>.parquet#<row>                                     a row of a file written by `readers.write_parquet`

Names made by others, for example of trajectories that are in memory, are added with `keep`. What is known of a
problem beside its truth, its time step, constants and boundary, is its grid: `grid_of`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from stepward.domains.pde.initial_conditions import EULER_FAMILIES, sample_euler
from stepward.domains.pde.readers import FieldBlock, Grid, is_gas, read_grid, read_parquet, to_conserved
from stepward.domains.pde.solver import CONSERVED_CHANNELS, EulerSolver, coarsen

__all__ = ["OVERSAMPLE", "blocks", "euler_grid", "euler_name", "first_frames", "grid_of", "keep", "trajectories"]

OVERSAMPLE = 2  # generated trajectories are computed on a grid finer by this factor and averaged
CACHE_BYTES = 512 * 2**20
TOGETHER = 16  # trajectories of one kind that are simulated in one call

_cache: OrderedDict[str, ndarray] = OrderedDict()
_kept: dict[str, ndarray] = {}
_kept_grids: dict[str, Grid] = {}


def euler_name(family: str, *, cells: int, num_steps: int, dt: float, seed: int, index: int) -> str:
    """Name of a generated Euler trajectory of `num_steps` + 1 frames on cells x cells averages."""
    return f"euler2d/{family}/{cells}/{num_steps}/{dt:g}/{seed}/{index}"


def trajectories(names: Sequence[str]) -> list[Float[ndarray, "frames c h w"]]:
    """The trajectories called `names`, float32; the latest stay in memory (512 MiB).

    Raises:
        ValueError: a name that is none, or a row that its file does not have.
    """
    unique = dict.fromkeys(map(str, names))
    found = {name: _cache[name] for name in unique if name in _cache}
    found |= {name: _kept[name] for name in unique if name in _kept}
    missing = [name for name in unique if name not in found]
    found |= _computed([name for name in missing if name.startswith("euler2d/")])
    found |= _read([name for name in missing if not name.startswith("euler2d/")])
    for name in missing:
        _cache[name] = found[name]
    while sum(array.nbytes for array in _cache.values()) > CACHE_BYTES and len(_cache) > 1:
        _cache.popitem(last=False)
    return [found[str(name)] for name in names]


def keep(name: str, trajectory: Float[ndarray, "frames c h w"], grid: Grid | None = None) -> str:
    """Make a trajectory in memory, and what its numbers mean, known to this process under `name`; returns the name."""
    _kept[name] = np.ascontiguousarray(trajectory, np.float32)
    if grid is not None:
        _kept_grids[name] = grid
    return name


def grid_of(name: str) -> Grid | None:
    """What the numbers of the trajectory called `name` mean; None of one in memory of which nobody said it.

    Raises:
        ValueError: a name that is none.
    """
    if name in _kept_grids:
        return _kept_grids[name]
    if name.startswith("euler2d/"):
        _, _, cells, _, dt, _, _ = _parts(name)
        return euler_grid(int(cells), float(dt))
    if name in _kept or not name:
        return None
    path, _ = _row(name)
    return _grid_of_file(path, Path(path).stat().st_mtime_ns)


def euler_grid(cells: int, dt: float) -> Grid:
    """Of generated Euler trajectories."""
    return Grid(
        "euler2d", CONSERVED_CHANNELS, ("x", "y"), (1 / cells,) * 2, dt, ("periodic",) * 2, {"gamma": EulerSolver.gamma}
    )


@lru_cache(maxsize=64)
def _grid_of_file(path: str, written: int) -> Grid:
    grid = read_grid(path)
    return replace(grid, channels=CONSERVED_CHANNELS) if is_gas(grid) else grid


def first_frames(names: Sequence[str]) -> Float[ndarray, "n c h w"]:
    """The first frame of generated trajectories, without computing the rest."""
    frames = []
    for name in names:
        _, family, cells, _, _, seed, index = _parts(name)
        fine = sample_euler(family, seed=int(seed), indices=[int(index)], resolution=OVERSAMPLE * int(cells))
        frames.append(coarsen(fine, OVERSAMPLE)[0].astype(np.float32))
    return np.stack(frames)


def blocks(path: str) -> Iterator[tuple[Int[ndarray, " n"], FieldBlock]]:
    """Trajectories of a file block by block, with the row of each; gases as (ρ, m_x, m_y, E)."""
    start = 0
    for block in read_parquet(path):
        converts = is_gas(block.grid) and block.grid.channels != CONSERVED_CHANNELS
        ready = to_conserved(block) if converts else block
        place = {name: row for row, name in enumerate(block.ids, start)}
        yield np.array([place[name] for name in ready.ids], np.int64), ready
        start += len(block)


def _parts(name: str) -> list[str]:
    parts = name.split("/")
    if len(parts) != 7 or parts[1] not in EULER_FAMILIES:
        raise ValueError(
            f"Reference {name!r}: expected euler2d/<family>/<cells>/<steps>/<dt>/<seed>/<index> with a family among "
            f"{sorted(EULER_FAMILIES)}."
        )
    return parts


def _computed(names: Iterable[str]) -> dict[str, ndarray]:
    kinds: dict[tuple[str, ...], list[tuple[int, str]]] = {}
    for name in names:
        parts = _parts(name)
        kinds.setdefault(tuple(parts[1:6]), []).append((int(parts[6]), name))
    found: dict[str, ndarray] = {}
    for (family, cells, steps, dt, seed), members in kinds.items():
        for first in range(0, len(members), TOGETHER):
            some = members[first : first + TOGETHER]
            fine = sample_euler(
                family, seed=int(seed), indices=[i for i, _ in some], resolution=OVERSAMPLE * int(cells)
            )
            frames = EulerSolver().simulate(fine, num_steps=int(steps), dt=float(dt), average_by=OVERSAMPLE)
            found |= {name: row.astype(np.float32) for (_, name), row in zip(some, frames, strict=True)}
    return found


def _row(name: str) -> tuple[str, int]:
    """Path and row of a trajectory in a file."""
    path, _, row = name.rpartition("#")
    if not path or not row.isdigit():
        raise ValueError(
            f"Reference {name!r}: expected euler2d/… or <path>.parquet#<row>, or a name given to keep(). "
            "Make the problems again."
        )
    return path, int(row)


def _read(names: Sequence[str]) -> dict[str, ndarray]:
    files: dict[str, dict[int, str]] = {}
    for name in names:
        path, row = _row(name)
        files.setdefault(path, {})[row] = name
    found: dict[str, ndarray] = {}
    for path, wanted in files.items():
        for rows, block in blocks(path):
            inside = np.flatnonzero(np.isin(rows, list(wanted)))
            found |= {wanted[int(rows[i])]: block.fields[i].astype(np.float32) for i in inside}
        lost = sorted(row for row, name in wanted.items() if name not in found)
        if lost:
            raise ValueError(f"{path}: expected rows {lost[:5]}, but the file ends before. Was it written anew?")
    return found
