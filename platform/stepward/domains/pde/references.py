"""Reference trajectories by name: the truth of this domain.

A name says where the truth is, so that any process finds it, and a state only carries the name:

    euler2d/<family>/<cells>/<steps>/<dt>/<seed>/<index>     computed when asked for (about 0.2 CPU-seconds)
    <path>.parquet#<row>                                     a row of a file written by `readers.write_parquet`

Names made by others, for example of trajectories that are in memory, are added with `keep`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from stepward.domains.pde.initial_conditions import EULER_FAMILIES, sample_euler
from stepward.domains.pde.readers import FieldBlock, read_parquet, to_conserved
from stepward.domains.pde.solver import CONSERVED_CHANNELS, EulerSolver, coarsen

__all__ = ["OVERSAMPLE", "blocks", "euler_name", "first_frames", "keep", "trajectories"]

OVERSAMPLE = 2  # generated trajectories are computed on a grid finer by this factor and averaged
CACHE_BYTES = 512 * 2**20
TOGETHER = 16  # trajectories of one kind that are simulated in one call

_cache: OrderedDict[str, ndarray] = OrderedDict()
_kept: dict[str, ndarray] = {}


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


def keep(name: str, trajectory: Float[ndarray, "frames c h w"]) -> str:
    """Make a trajectory in memory known to this process under `name`; returns the name."""
    _kept[name] = np.ascontiguousarray(trajectory, np.float32)
    return name


def first_frames(names: Sequence[str]) -> Float[ndarray, "n c h w"]:
    """The first frame of generated trajectories, without computing the rest."""
    frames = []
    for name in names:
        _, family, cells, _, _, seed, index = _parts(name)
        fine = sample_euler(family, seed=int(seed), indices=[int(index)], resolution=OVERSAMPLE * int(cells))
        frames.append(coarsen(fine, OVERSAMPLE)[0].astype(np.float32))
    return np.stack(frames)


def blocks(path: str) -> Iterator[FieldBlock]:
    """Trajectories of a file block by block; gases as (ρ, m_x, m_y, E)."""
    for block in read_parquet(path):
        is_gas = "density" in block.grid.channels and block.grid.channels != CONSERVED_CHANNELS
        yield to_conserved(block) if is_gas else block


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


def _read(names: Sequence[str]) -> dict[str, ndarray]:
    files: dict[str, dict[int, str]] = {}
    for name in names:
        path, _, row = name.rpartition("#")
        if not path or not row.isdigit():
            raise ValueError(
                f"Reference {name!r}: expected euler2d/… or <path>.parquet#<row>, or a name given to keep(). "
                "Make the problems again."
            )
        files.setdefault(path, {})[int(row)] = name
    found: dict[str, ndarray] = {}
    for path, rows in files.items():
        for block in blocks(path):
            inside = [row for row in rows if block.start <= row < block.start + len(block)]
            found |= {rows[row]: block.fields[row - block.start].astype(np.float32) for row in inside}
        lost = sorted(row for row, name in rows.items() if name not in found)
        if lost:
            raise ValueError(f"{path}: expected rows {lost[:5]}, but the file ends before. Was it written anew?")
    return found
