"""PDEBench (Takamoto et al. 2022, arXiv:2210.07182): HDF5, one file a parameter setting, in three layouts.

*Compressible flow*: ``density``, ``pressure``, ``Vx`` [, ``Vy``], each ``[sample, time, x[, y]]``; its generator has
gamma = 5/3, which no file says. Burgers, advection, 1D_ReacDiff: ``tensor[sample, time, x]``. Beside them
``x-coordinate`` (cell centres), ``y-coordinate`` and ``t-coordinate``, which has one more entry than there are frames
in most files. Attributes hold parameters (``Nu``, ``beta``, ``eta``, ``zeta``, ``M``); Burgers means
d_t u + d_x (u^2 / 2) = (Nu / pi) d_xx u.

*A group a seed*: ``0000/data[time, x[, y], channel]`` with ``0000/grid/x``, ``y``, ``t``: 2D_diff-react, 2D_rdb,
1D_diff-sorp; see `pdebench_seeds`.

*Incompressible flow*: ``velocity[sample, time, x, y, 2]``, ``particles[sample, time, x, y, 1]``, ``t[sample, time]`` on
the unit square, with no flow through its walls.

Darcy flow has no time, and three axes are one too many for the networks here: both are refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from numpy import ndarray

from stepward.domains.pde.readers.hdf5 import boundaries, effective, find_dataset, open_hdf5, ranges, uniform_spacing
from stepward.domains.pde.readers.pdebench_seeds import is_by_seed, read_by_seed
from stepward.domains.pde.readers.record import FieldBlock, Grid, sift
from stepward.domains.pde.readers.timing import common_step

__all__ = ["read_pdebench"]

_FLOW_VARIABLES = {"density": "density", "Vx": "velocity_x", "Vy": "velocity_y", "pressure": "pressure"}
_AXES = ("x", "y")
_GAMMA = 5 / 3


def read_pdebench(
    path: str | Path,
    *,
    block_size: int = 8,
    tensor_name: str = "u",
    gamma: float | None = None,
    boundary: tuple[str, ...] | None = None,
    dt: float | None = None,
) -> Iterator[FieldBlock]:
    """Yield blocks of ``block_size`` trajectories; only one block is in memory.

    Channels are (density, velocity_x[, velocity_y], pressure), (velocity_x, velocity_y, particles), those of the data
    set (`pdebench_seeds`), or ``tensor_name`` for files with a single ``tensor``.

    Args:
        gamma: of a gas; by default PDEBench's 5/3.
        boundary: of all axes; by default taken from the file name, where "periodic" and "trans" (outflow) are
            PDEBench's words; files with a ``tensor`` are periodic; otherwise "unknown".
        dt: which trajectories to read of a file whose time steps differ; by default the commonest.

    Raises:
        FileNotFoundError, ValueError: missing or truncated file, a set that is not supported, missing datasets, shapes
            that disagree.
    """
    with open_hdf5(path) as file:
        _refuse_unsupported(file)
        by_seed = is_by_seed(file)
        effective("gamma", gamma, "density" in file, "the file is not of a gas")
        effective("dt", dt, by_seed or "velocity" in file, "all trajectories of the file share their times")
        if by_seed:
            yield from read_by_seed(file, block_size=block_size, boundary=boundary, dt=dt)
        elif "velocity" in file:
            yield from _incompressible(file, block_size, boundary, dt)
        else:
            yield from _by_variable(file, block_size, tensor_name, gamma, boundary)


def _refuse_unsupported(file: h5py.File) -> None:
    name = Path(file.filename).name
    if "nu" in file and "tensor" in file:
        raise ValueError(f"PDEBench {name}: Darcy flow is not supported: it has no time, so no steps to choose.")
    fields = [file[key] for key in ("density", "tensor") if key in file]
    if any(len(dataset.shape) == 5 for dataset in fields):
        raise ValueError(f"PDEBench {name}: three axes {fields[0].shape[2:]} are not supported: expected one or two.")


def _by_variable(
    file: h5py.File, block_size: int, tensor_name: str, gamma: float | None, boundary: tuple[str, ...] | None
) -> Iterator[FieldBlock]:
    path, variables = Path(file.filename), _variables(file, tensor_name)
    shape = next(iter(variables.values())).shape
    axes = _AXES[: len(shape) - 2]
    scalars = {name: value for name, value in file.attrs.items() if np.ndim(value) == 0 and np.isreal(value)}
    constants = {name: float(value) for name, value in scalars.items()}
    if "density" in variables:
        constants["gamma"] = gamma if gamma is not None else constants.get("gamma", _GAMMA)
    grid = Grid(
        source=path.name,
        channels=tuple(variables),
        axes=axes,
        spacing=tuple(
            _coordinate_step(file, f"{axis}-coordinate", (n,), path.name)
            for axis, n in zip(axes, shape[2:], strict=True)
        ),
        dt=_coordinate_step(file, "t-coordinate", (shape[1], shape[1] + 1), path.name),
        boundary=boundaries(boundary, (_boundary(file, path),) * len(axes)),
        parameters=constants,
    )
    for start, stop in ranges(shape[0], block_size):
        yield sift(np.stack([dataset[start:stop] for dataset in variables.values()], axis=2), grid, start)


def _incompressible(
    file: h5py.File, block_size: int, boundary: tuple[str, ...] | None, dt: float | None
) -> Iterator[FieldBlock]:
    velocity, source = find_dataset(file, "velocity", num_dims=5), Path(file.filename).name
    parts = [velocity, *([find_dataset(file, "particles", num_dims=5)] if "particles" in file else [])]
    if velocity.shape[4] != 2 or any(part.shape[:4] != velocity.shape[:4] for part in parts):
        raise ValueError(
            f"expected velocity [sample, time, x, y, 2] and particles of the same grid in {source}; got "
            f"{[part.shape for part in parts]}. Fetch the file again."
        )
    steps = common_step(find_dataset(file, "t", num_dims=(1, 2))[...], len(velocity), source=source, wanted=dt)
    grid = Grid(
        source=source,
        channels=("velocity_x", "velocity_y", "particles")[: sum(part.shape[4] for part in parts)],
        axes=_AXES,
        spacing=tuple(1.0 / size for size in velocity.shape[2:4]),
        dt=steps.dt,
        boundary=boundaries(boundary, ("wall", "wall")),
    )
    for start, stop in ranges(len(velocity), block_size):
        fields = np.concatenate([part[start:stop] for part in parts], axis=4)
        yield sift(np.moveaxis(fields, 4, 2), grid, start, steps.problems[start:stop])


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


def _coordinate_step(file: h5py.File, name: str, sizes: tuple[int, ...], source: str) -> float:
    values: ndarray = find_dataset(file, name, num_dims=1)[:]
    if len(values) not in sizes:
        raise ValueError(
            f"expected {' or '.join(map(str, sizes))} values in {name!r} of {source}, after the shape of the fields; "
            f"got {len(values)}. Fetch the file again."
        )
    return uniform_spacing(values, name=name, source=source)
