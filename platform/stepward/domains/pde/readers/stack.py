"""Arrays of a NetCDF (3 or 4), HDF5 or Zarr file, told by the roles of their axes, read block by block (xarray)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import numpy as np
import xarray
from numpy import ndarray

from stepward.core.config import Plain
from stepward.domains.pde.readers.hdf5 import need_file, uniform_spacing

__all__ = ["ROLES", "Arrays", "Stack", "open_arrays"]

ROLES = ("sample", "time", "channel", "x", "y")


class Arrays:
    """The variables of a file, in its groups too ("group/name")."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._groups: dict[str, xarray.Dataset] = {}

    @property
    def names(self) -> list[str]:
        """Variables at the top of the file."""
        return sorted(map(str, self._group(".").variables))

    @property
    def attributes(self) -> Plain:
        """Attributes of the file, by name."""
        return dict(self._group(".").attrs)

    def get(self, name: str) -> xarray.Variable | None:
        """A variable, none of its numbers read; None where there is no such."""
        place = PurePosixPath(name)
        try:
            return self._group(str(place.parent)).variables.get(place.name)
        except (OSError, KeyError):
            return None

    def find(self, name: str) -> xarray.Variable:
        """As `get`; a ValueError says which variables there are."""
        found = self.get(name)
        if found is None:
            raise ValueError(f"expected a variable {name!r} in {self.path}; got {self.names}. Name another.")
        return found

    def step(self, name: str, size: int) -> float | None:
        """The distance between the values of a coordinate, which must be uniform; None where the file has none."""
        values = self.get(name)
        if values is None:
            return None
        if values.shape != (size,):
            raise ValueError(
                f"expected {size} values in coordinate {name!r} of {self.path.name}; got shape {values.shape}. "
                "Remove the coordinate or correct it."
            )
        return uniform_spacing(values.values, name=name, source=self.path.name)

    def close(self) -> None:
        """Closes the file and its groups."""
        for dataset in self._groups.values():
            dataset.close()

    def _group(self, name: str) -> xarray.Dataset:
        if name not in self._groups:
            group = None if name in (".", "/") else name
            engine = {"engine": "zarr", "consolidated": False} if self.path.is_dir() else {"engine": "netcdf4"}
            options = {"decode_times": False, "decode_coords": False, "cache": False}  # missing values become NaN
            self._groups[name] = xarray.open_dataset(self.path, group=group, **engine, **options)
        return self._groups[name]


@contextmanager
def open_arrays(path: str | Path) -> Iterator[Arrays]:
    """Open a NetCDF-3, NetCDF-4 or HDF5 file, or a Zarr folder.

    Raises:
        FileNotFoundError: no such file.
        ValueError: of another format, or cut off in transfer.
    """
    arrays = Arrays(need_file(path))
    try:
        _ = arrays.names
    except Exception as error:  # xarray's engines raise OSError, ValueError, KeyError and errors of their own
        raise ValueError(
            f"expected a complete NetCDF or HDF5 file, or a Zarr folder; got {path}, which cannot be opened: {error}. "
            "It may be truncated or of another format; fetch it again and compare its checksum."
        ) from error
    try:
        yield arrays
    finally:
        arrays.close()


class Stack:
    """Variables of one grid as channels [sample, time, channel, *space], none of their numbers read.

    Args:
        names: variables, each with the axes `axes`, or with all but "channel", which is then one channel; without
            "time" they are constant in time, and repeated.
        axes: the role of every axis of the variables, in the order of the file, out of `ROLES`. Without "sample" the
            file is one trajectory.

    Raises:
        ValueError: a variable is missing, has another number of axes, or another grid than the first.
    """

    def __init__(self, arrays: Arrays, names: Sequence[str], axes: Sequence[str]) -> None:
        unknown = [axis for axis in axes if axis not in ROLES]
        if unknown or len(set(axes)) != len(axes) or not {"time", "x"} <= set(axes):
            raise ValueError(
                f"axes: expected each axis of the variables to be one of {ROLES}, time and x among them; got {axes}."
            )
        self.space = tuple(axis for axis in ("x", "y") if axis in axes)
        self._arrays = [self._named(arrays, name, tuple(axes)) for name in names]
        self.sizes = {axis: size for array in self._arrays for axis, size in array.sizes.items() if axis != "channel"}
        for name, array in zip(names, self._arrays, strict=True):
            if any(self.sizes[axis] != size for axis, size in array.sizes.items() if axis != "channel"):
                raise ValueError(
                    f"expected variables of one grid in {arrays.path}; got {dict(array.sizes)} for {name!r} and "
                    f"{self.sizes} before it. Read them from files of their own."
                )
        self.num_channels = sum(array.sizes.get("channel", 1) for array in self._arrays)
        self.num_samples = self.sizes.get("sample", 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """(sample, time, channel, *space)."""
        return self.num_samples, self.sizes["time"], self.num_channels, *(self.sizes[axis] for axis in self.space)

    def read(self, start: int, stop: int) -> ndarray:
        """Trajectories start … stop - 1."""
        order = ("sample", "time", "channel", *self.space)
        parts = []
        for array in self._arrays:
            part = array.isel(sample=slice(start, stop)) if "sample" in array.sizes else array
            part = part.load().set_dims({axis: part.sizes.get(axis, self._size(axis, start, stop)) for axis in order})
            parts.append(part.transpose(*order).values)
        return np.concatenate(parts, axis=2)

    def _size(self, axis: str, start: int, stop: int) -> int:
        return {"sample": stop - start, "channel": 1}.get(axis) or self.sizes[axis]

    @staticmethod
    def _named(arrays: Arrays, name: str, axes: tuple[str, ...]) -> xarray.Variable:
        variable = arrays.find(name)
        for missing in ((), ("channel",), ("time",), ("time", "channel")):
            roles = [axis for axis in axes if axis not in missing]
            if len(roles) == variable.ndim and set(missing) <= set(axes):
                named = variable.copy(deep=False)  # none of its numbers are read
                named.dims = roles
                return named
        raise ValueError(
            f"expected {name!r} with the axes {tuple(axes)}, with or without channel and time; got shape "
            f"{variable.shape} in {arrays.path}. Name its axes in the order of the file."
        )
