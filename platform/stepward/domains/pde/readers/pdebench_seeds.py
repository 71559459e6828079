"""PDEBench's files of a group a seed: ``0000/data[time, x[, y], channel]``, ``0000/grid/x``, ``y``, ``t``.

2D_diff-react: activator and inhibitor of FitzHugh–Nagumo, nothing passes the walls. 2D_rdb: water height of a radial
dam break, zero gradient at the ends. 1D_diff-sorp: one concentration.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from stepward.domains.pde.readers.hdf5 import boundaries, find_dataset, ranges, uniform_spacing
from stepward.domains.pde.readers.record import FieldBlock, Grid, sift
from stepward.domains.pde.readers.timing import common_step

__all__ = ["is_by_seed", "read_by_seed"]

_CHANNELS = {(2, 2): ("activator", "inhibitor"), (2, 1): ("height",), (1, 1): ("concentration",)}  # axes, channels
_BOUNDARIES = {"diff-react": "wall", "diff_react": "wall", "rdb": "outflow"}


def is_by_seed(file: h5py.File) -> bool:
    """Whether the file has groups with ``data``."""
    return any(isinstance(group, h5py.Group) and "data" in group for group in file.values())


def read_by_seed(
    file: h5py.File, *, block_size: int, boundary: tuple[str, ...] | None, dt: float | None
) -> Iterator[FieldBlock]:
    """Yield blocks of ``block_size`` seeds, in their order; see `read_pdebench`.

    Raises:
        ValueError: channels of no known set, seeds of several shapes, coordinates that are not uniform.
    """
    seeds, source = sorted(file), Path(file.filename).name
    data = [find_dataset(file[seed], "data", num_dims=(3, 4)) for seed in seeds]
    shape = data[0].shape
    odd = [seed for seed, dataset in zip(seeds, data, strict=True) if dataset.shape != shape]
    axes = ("x", "y")[: len(shape) - 2]
    channels = _CHANNELS.get((len(axes), shape[-1]))
    if odd or channels is None:
        raise ValueError(
            f"PDEBench {source}: expected data [time, x, y, 1 or 2] or [time, x, 1] of one shape for every seed; got "
            f"{shape} for seed {seeds[0]}{f', and another for {odd[0]}' if odd else ''}. This set is not supported."
        )
    times = np.stack([find_dataset(file[seed], "grid/t", num_dims=1)[:] for seed in seeds])
    steps = common_step(times, len(seeds), source=source, wanted=dt)
    known = next((kind for word, kind in _BOUNDARIES.items() if word in source.lower()), "unknown")
    grid = Grid(
        source=source,
        channels=channels,
        axes=axes,
        spacing=tuple(
            uniform_spacing(find_dataset(file[seeds[0]], f"grid/{axis}", num_dims=1)[:], name=axis, source=source)
            for axis in axes
        ),
        dt=steps.dt,
        boundary=boundaries(boundary, (known,) * len(axes)),
    )
    for start, stop in ranges(len(seeds), block_size):
        fields = np.moveaxis(np.stack([dataset[...] for dataset in data[start:stop]]), -1, 2)
        yield sift(fields, grid, start, steps.problems[start:stop])
