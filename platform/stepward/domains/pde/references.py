"""Reference trajectories by name: the truth of this domain.

A name says where the truth is, so that any process finds it, and a state only carries the name:

    euler2d/<family>/<cells>/<steps>/<dt>/<seed>/<index>     computed when asked for (about 0.2 CPU-seconds)
    burgers/waves/<cells>/<steps>/<dt>/<seed>/<index>/<low>-<high>
    <path>.parquet#<row>                                     a row of a file written by `readers.write_parquet`

A range at the end is that of a constant, γ of a gas or ν of Burgers, that differs from trajectory to trajectory. It is
hidden: the grid does not say it, only `constant_of` does, which trains what is told the truth.

Names made by others, for example of trajectories that are in memory, are added with `keep`. What is known of a
problem beside its truth, its time step, constants and boundary, is its grid: `grid_of`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from stepward.domains.pde.flows import GENERATED, computed, flow_of
from stepward.domains.pde.readers import FieldBlock, Grid, is_gas, read_grid, read_parquet, to_conserved
from stepward.domains.pde.solver import CONSERVED_CHANNELS

__all__ = ["blocks", "constant_of", "grid_of", "keep", "trajectories"]

CACHE_BYTES = 512 * 2**20

_cache: OrderedDict[str, ndarray] = OrderedDict()
_kept: dict[str, ndarray] = {}
_kept_grids: dict[str, Grid] = {}


def trajectories(names: Sequence[str]) -> list[Float[ndarray, "frames c h w"]]:
    """The trajectories called `names`, float32; the latest stay in memory (512 MiB).

    Raises:
        ValueError: a name that is none, or a row that its file does not have.
    """
    unique = dict.fromkeys(map(str, names))
    found = {name: _cache[name] for name in unique if name in _cache}
    found |= {name: _kept[name] for name in unique if name in _kept}
    missing = [name for name in unique if name not in found]
    found |= computed([name for name in missing if name.startswith(GENERATED)])
    found |= _read([name for name in missing if not name.startswith(GENERATED)])
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
    if name.startswith(GENERATED):
        return flow_of(name).grid
    if name in _kept or not name:
        return None
    path, _ = _row(name)
    return _grid_of_file(path, Path(path).stat().st_mtime_ns)


def constant_of(name: str) -> float:
    """The constant that may differ from trajectory to trajectory: γ or ν. A truth: no method may ask for it.

    Raises:
        ValueError: nobody said it of this trajectory.
    """
    if name.startswith(GENERATED):
        return flow_of(name).constant
    grid = grid_of(name)
    known = [] if grid is None else [grid.parameters[key] for key in ("gamma", "nu") if key in grid.parameters]
    if not known:
        raise ValueError(f"Reference {name!r}: expected a trajectory whose gamma or nu is known, and it is not.")
    return known[0]


@lru_cache(maxsize=64)
def _grid_of_file(path: str, written: int) -> Grid:
    grid = read_grid(path)
    return replace(grid, channels=CONSERVED_CHANNELS) if is_gas(grid) else grid


def blocks(path: str) -> Iterator[tuple[Int[ndarray, " n"], FieldBlock]]:
    """Trajectories of a file block by block, with the row of each; gases as (ρ, m_x, m_y, E)."""
    start = 0
    for block in read_parquet(path):
        converts = is_gas(block.grid) and block.grid.channels != CONSERVED_CHANNELS
        ready = to_conserved(block) if converts else block
        place = {name: row for row, name in enumerate(block.ids, start)}
        yield np.array([place[name] for name in ready.ids], np.int64), ready
        start += len(block)


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
