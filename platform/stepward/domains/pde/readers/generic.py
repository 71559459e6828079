"""A user's own NetCDF, HDF5 or Zarr file, read by the names of its variables and the roles of their axes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from stepward.domains.pde.readers.hdf5 import boundaries, ranges
from stepward.domains.pde.readers.record import FieldBlock, Grid, sift
from stepward.domains.pde.readers.stack import Arrays, Stack, open_arrays

__all__ = ["read_generic"]


def read_generic(
    path: str | Path,
    *,
    variables: Sequence[str],
    axes: Sequence[str],
    channels: Sequence[str],
    boundary: tuple[str, ...],
    dt: float | None = None,
    extent: Sequence[float] | None = None,
    coordinates: Mapping[str, str] | None = None,
    parameters: Mapping[str, float | str] | None = None,
    block_size: int = 8,
) -> Iterator[FieldBlock]:
    """Yield blocks of ``block_size`` trajectories; only one block is in memory.

    Args:
        variables, axes: see :class:`Stack`.
        channels: a name for each channel, in the order of `variables`. Gases are known by the names density,
            velocity_x/y or momentum_x/y, pressure and energy.
        boundary: of all axes, or of each.
        dt, extent: time between frames, side lengths; needed where the file has no coordinates.
        coordinates: role of an axis -> the variable with its values; by default the one called like the role.
        parameters: constants by name: a number, or the name of an attribute or of a variable of one number.

    Raises:
        FileNotFoundError, ValueError: missing or unreadable file, missing variables, other axes or channels, no time
            step, unknown constants.
    """
    with open_arrays(path) as arrays:
        stack = Stack(arrays, variables, axes)
        if stack.num_channels != len(channels) or stack.shape[1] < 2:
            raise ValueError(
                f"expected {len(channels)} channels {tuple(channels)} and 2 or more frames; got "
                f"{stack.num_channels} channels and {stack.shape[1]} frames in {path}. Name every channel, in order."
            )
        names = {role: (coordinates or {}).get(role, role) for role in ("time", *stack.space)}
        sizes = [stack.sizes[axis] for axis in stack.space]
        lengths = list(extent) if extent is not None else [None] * len(sizes)
        grid = Grid(
            source=Path(path).name,
            channels=tuple(channels),
            axes=stack.space,
            spacing=tuple(
                _step(arrays, names[axis], size, None if length is None else length / size, "extent")
                for axis, size, length in zip(stack.space, sizes, lengths, strict=True)
            ),
            dt=_step(arrays, names["time"], stack.sizes["time"], dt, "dt"),
            boundary=boundaries(boundary, ("unknown",) * len(sizes)),
            parameters={name: _constant(arrays, value) for name, value in (parameters or {}).items()},
        )
        for start, stop in ranges(stack.num_samples, block_size):
            yield sift(stack.read(start, stop), grid, start)


def _step(arrays: Arrays, name: str, size: int, given: float | None, setting: str) -> float:
    """As given, else from the coordinate."""
    step = given if given is not None else arrays.step(name, size)
    if step is None:
        raise ValueError(
            f"expected a coordinate {name!r} in {arrays.path}, or source.{setting}; got variables {arrays.names}."
        )
    return step


def _constant(arrays: Arrays, value: float | str) -> float:
    if not isinstance(value, str):
        return float(value)
    found = arrays.attributes.get(value)
    if found is None:
        variable = arrays.get(value)
        found = None if variable is None else variable.values
    if found is None or np.size(found) != 1:
        raise ValueError(
            f"parameters: expected {value!r} to be an attribute or a variable of one number in {arrays.path}; got "
            f"attributes {sorted(arrays.attributes)} and variables {arrays.names}."
        )
    return float(np.asarray(found).item())
