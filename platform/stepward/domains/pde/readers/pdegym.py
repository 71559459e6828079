"""PDEGym (Herde et al. 2024, arXiv:2405.19101): NetCDF-4, one variable of all fields.

Compressible sets (CE-RP, CE-CRP, CE-KH, CE-Gauss, CE-RPUI): ``data[sample, time, channel, x, y]``, fp32, 21 frames
0.05 apart on 128 x 128 cells of the periodic unit square; channels rho, v_x, v_y, p, then E.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py

from stepward.domains.pde.readers.hdf5 import check_fields, find_dataset, open_hdf5, ranges, uniform_spacing
from stepward.domains.pde.readers.record import FieldBlock, Grid

__all__ = ["PDEGYM_CHANNELS", "read_pdegym"]

PDEGYM_CHANNELS = ("density", "velocity_x", "velocity_y", "pressure", "energy")
_AXES = ("x", "y")


def read_pdegym(
    path: str | Path,
    *,
    block_size: int = 8,
    variable: str = "data",
    channels: Sequence[str] = PDEGYM_CHANNELS,
    extent: tuple[float, float] = (1.0, 1.0),
    end_time: float = 1.0,
) -> Iterator[FieldBlock]:
    """Yield blocks of ``block_size`` trajectories; only one block is in memory.

    Args:
        channels: names in file order; say so here where a file's fifth channel is a tracer and not the energy.
        extent, end_time: used for spacing where the file has no coordinate variables ``x``, ``y``, ``time``.

    Raises:
        FileNotFoundError, ValueError: missing or truncated file, missing variable, another shape, bad values.
    """
    with open_hdf5(path) as file:
        data = find_dataset(file, variable, num_dims=5)
        if data.shape[2] != len(channels) or data.shape[1] < 2:
            raise ValueError(
                f"expected {variable}[sample, time, channel, x, y] with 2 or more frames and {len(channels)} channels "
                f"{tuple(channels)}; got shape {data.shape} in {path}. Pass channels= in the order of the file."
            )
        grid = _grid(file, data, tuple(channels), extent, end_time, Path(path).name)
        for start, stop in ranges(data.shape[0], block_size):
            fields = data[start:stop]
            check_fields(fields, grid.channels, source=grid.source, start=start)
            yield FieldBlock(start=start, fields=fields, grid=grid)


def _grid(
    file: h5py.File,
    data: h5py.Dataset,
    channels: tuple[str, ...],
    extent: tuple[float, float],
    end_time: float,
    source: str,
) -> Grid:
    def spacing(name: str, size: int, otherwise: float) -> float:
        # A NetCDF dimension without coordinate values is stored as an empty scale of that name.
        coordinate = file.get(name)
        if coordinate is None or coordinate.attrs.get("NAME", b"").startswith(b"This is a netCDF dimension but not"):
            return otherwise
        if coordinate.shape != (size,):
            raise ValueError(
                f"expected {size} values in coordinate {name!r} of {source}; got shape {coordinate.shape}. "
                "Remove the coordinate or correct it."
            )
        return uniform_spacing(coordinate[:], name=name, source=source)

    sizes = dict(zip(_AXES, data.shape[3:], strict=True))
    return Grid(
        source=source,
        channels=channels,
        axes=_AXES,
        spacing=tuple(
            spacing(axis, size, length / size) for (axis, size), length in zip(sizes.items(), extent, strict=True)
        ),
        dt=spacing("time", data.shape[1], end_time / (data.shape[1] - 1)),
        boundary=("periodic", "periodic"),
    )
