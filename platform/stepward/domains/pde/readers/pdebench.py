"""PDEBench (Takamoto et al. 2022, arXiv:2210.07182): HDF5, one file a parameter setting.

Compressible flow: ``density``, ``pressure``, ``Vx`` [, ``Vy``], each ``[sample, time, x[, y]]``. Burgers, advection:
``tensor`` ``[sample, time, x]``. Beside them ``x-coordinate`` (cell centres), ``y-coordinate`` and ``t-coordinate``,
which has one more entry than there are frames in most files. Attributes hold parameters (``Nu``, ``beta``, ``eta``,
``zeta``, ``M``); Burgers means d_t u + d_x (u^2 / 2) = (Nu / pi) d_xx u.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from numpy import ndarray

from stepward.domains.pde.readers.hdf5 import check_fields, find_dataset, open_hdf5, ranges, uniform_spacing
from stepward.domains.pde.readers.record import FieldBlock, Grid

__all__ = ["read_pdebench"]

_FLOW_VARIABLES = {"density": "density", "Vx": "velocity_x", "Vy": "velocity_y", "pressure": "pressure"}
_AXES = ("x", "y")


def read_pdebench(
    path: str | Path, *, block_size: int = 8, tensor_name: str = "u", boundary: str | None = None
) -> Iterator[FieldBlock]:
    """Yield blocks of ``block_size`` trajectories; only one block is in memory.

    Channels are (density, velocity_x[, velocity_y], pressure), or ``tensor_name`` for files with a single ``tensor``.

    Args:
        boundary: of all axes; by default taken from the file name, where "periodic" and "trans" (outflow) are
            PDEBench's words; files with a ``tensor`` are periodic; otherwise "unknown".

    Raises:
        FileNotFoundError, ValueError: missing or truncated file, missing datasets, shapes that disagree, bad values.
    """
    with open_hdf5(path) as file:
        variables = _variables(file, tensor_name)
        shape = next(iter(variables.values())).shape
        grid = _grid(file, tuple(variables), shape, boundary or _boundary(file, Path(path)), Path(path).name)
        for start, stop in ranges(shape[0], block_size):
            fields = np.stack([dataset[start:stop] for dataset in variables.values()], axis=2)
            check_fields(fields, grid.channels, source=grid.source, start=start)
            yield FieldBlock(start=start, fields=fields, grid=grid)


def _variables(file: h5py.File, tensor_name: str) -> dict[str, h5py.Dataset]:
    """Datasets by channel name, all of one shape [sample, time, x[, y]]."""
    if "tensor" in file:
        return {tensor_name: find_dataset(file, "tensor", num_dims=(3, 4))}
    density = find_dataset(file, "density", num_dims=(3, 4))
    names = [name for name in _FLOW_VARIABLES if density.ndim == 4 or name != "Vy"]
    variables = {_FLOW_VARIABLES[name]: find_dataset(file, name, num_dims=density.ndim) for name in names}
    shapes = {name: dataset.shape for name, dataset in variables.items()}
    if len(set(shapes.values())) != 1:
        raise ValueError(f"expected datasets of one shape in {file.filename}; got {shapes}. Fetch the file again.")
    return variables


def _boundary(file: h5py.File, path: Path) -> str:
    name = path.name.lower()
    if "periodic" in name or "tensor" in file:
        return "periodic"
    return "outflow" if "trans" in name else "unknown"


def _grid(file: h5py.File, channels: tuple[str, ...], shape: tuple[int, ...], boundary: str, source: str) -> Grid:
    axes = _AXES[: len(shape) - 2]
    spacing = [
        _coordinate_step(file, f"{axis}-coordinate", (n,), source) for axis, n in zip(axes, shape[2:], strict=True)
    ]
    scalars = {name: value for name, value in file.attrs.items() if np.ndim(value) == 0 and np.isreal(value)}
    return Grid(
        source=source,
        channels=channels,
        axes=axes,
        spacing=tuple(spacing),
        dt=_coordinate_step(file, "t-coordinate", (shape[1], shape[1] + 1), source),
        boundary=(boundary,) * len(axes),
        parameters={name: float(value) for name, value in scalars.items()},
    )


def _coordinate_step(file: h5py.File, name: str, sizes: tuple[int, ...], source: str) -> float:
    values: ndarray = find_dataset(file, name, num_dims=1)[:]
    if len(values) not in sizes:
        raise ValueError(
            f"expected {' or '.join(map(str, sizes))} values in {name!r} of {source}, after the shape of the fields; "
            f"got {len(values)}. Fetch the file again."
        )
    return uniform_spacing(values, name=name, source=source)
