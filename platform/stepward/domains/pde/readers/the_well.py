"""The Well (Ohana et al. 2024, arXiv:2412.00568): HDF5 after its specification ``docs/data_format.md``.

Groups ``t0_fields`` (scalars, [n, t, *grid]), ``t1_fields`` (vectors, [n, t, *grid, D]), ``t2_fields`` (tensors,
[n, t, *grid, D, D]); each dataset says by the attributes ``sample_varying``, ``time_varying`` and ``dim_varying``
which of these dimensions it has. ``dimensions`` holds ``time`` and the coordinates named by its attribute
``spatial_dims``; ``boundary_conditions`` one group a boundary with ``bc_type`` and ``associated_dims``; ``scalars``
constants.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import h5py
import numpy as np
from numpy import ndarray

from stepward.domains.pde.readers.hdf5 import check_fields, find_dataset, open_hdf5, ranges, uniform_spacing
from stepward.domains.pde.readers.record import FieldBlock, Grid

__all__ = ["read_the_well"]

_GROUPS = ("t0_fields", "t1_fields", "t2_fields")


@dataclass(frozen=True)
class _Field:
    """One dataset: its tensor order and which of (sample, time, *grid) it varies over."""

    name: str
    dataset: h5py.Dataset
    order: int
    varies: tuple[bool, ...]


def read_the_well(
    path: str | Path, *, block_size: int = 1, fields: Sequence[str] | None = None
) -> Iterator[FieldBlock]:
    """Yield blocks of ``block_size`` trajectories; only one block is in memory.

    Args:
        fields: which datasets to read, in this order (default: all, scalars first). Vector and tensor components become
            channels ``name_x``, ``name_xy``. What does not vary over samples, time or an axis is repeated along it.

    Raises:
        FileNotFoundError, ValueError: missing or truncated file, missing group, field or attribute, a shape that
            contradicts the attributes, bad values.
    """
    with open_hdf5(path) as file:
        axes = tuple(_names(_group(file, "dimensions").attrs, "spatial_dims", file))
        shape = _shape(file, axes)
        chosen = _choose(file, _all_fields(file, shape), fields)
        channels = tuple(channel for field in chosen for channel in _channel_names(field, axes))
        grid = _grid(file, channels, axes, Path(path).name)
        for start, stop in ranges(shape[0], block_size):
            parts = [_read(field, shape, start, stop) for field in chosen]
            block = np.concatenate(parts, axis=2)
            check_fields(block, channels, source=grid.source, start=start)
            yield FieldBlock(start=start, fields=block, grid=grid)


def _group(file: h5py.File, name: str) -> h5py.Group:
    if name not in file:
        raise ValueError(
            f"expected a group {name!r} in {file.filename}; got {sorted(file)}. The file is not of The Well's format."
        )
    return file[name]


def _names(attributes: h5py.AttributeManager, name: str, file: h5py.File) -> list[str]:
    if name not in attributes:
        raise ValueError(f"expected an attribute {name!r} in {file.filename}; got {sorted(attributes)}.")
    return [value.decode() if isinstance(value, bytes) else str(value) for value in np.atleast_1d(attributes[name])]


def _shape(file: h5py.File, axes: tuple[str, ...]) -> tuple[int, ...]:
    """(samples, frames, *grid)."""
    if "n_trajectories" not in file.attrs:
        raise ValueError(f"expected an attribute 'n_trajectories' in {file.filename}; got {sorted(file.attrs)}.")
    dimensions = _group(file, "dimensions")
    sizes = [find_dataset(dimensions, name, num_dims=(1, 2)).shape[-1] for name in ("time", *axes)]
    return int(file.attrs["n_trajectories"]), *sizes


def _all_fields(file: h5py.File, shape: tuple[int, ...]) -> dict[str, _Field]:
    found = {}
    for order, group_name in enumerate(_GROUPS):
        group = _group(file, group_name)
        for name in _names(group.attrs, "field_names", file):
            dataset = find_dataset(group, name, num_dims=tuple(range(len(shape) + order + 1)))
            attributes = dataset.attrs
            flags = (attributes.get("sample_varying", True), attributes.get("time_varying", True))
            varies = tuple(
                bool(v) for v in (*flags, *np.atleast_1d(attributes.get("dim_varying", [True] * (len(shape) - 2))))
            )
            _check_shape(dataset, order, varies, shape)
            found[name] = _Field(name, dataset, order, varies)
    return found


def _check_shape(dataset: h5py.Dataset, order: int, varies: tuple[bool, ...], shape: tuple[int, ...]) -> None:
    expected = (*(size for size, flag in zip(shape, varies, strict=True) if flag), *[len(shape) - 2] * order)
    if dataset.shape != expected:
        raise ValueError(
            f"expected shape {expected} for {dataset.name} of {dataset.file.filename}, after its attributes and the "
            f"coordinates; got {dataset.shape}. Fetch the file again."
        )


def _choose(file: h5py.File, available: dict[str, _Field], names: Sequence[str] | None) -> list[_Field]:
    missing = [name for name in names or () if name not in available]
    if missing or not available:
        raise ValueError(f"expected fields {missing or 'of any name'} in {file.filename}; got {sorted(available)}.")
    return [available[name] for name in names] if names is not None else list(available.values())


def _channel_names(field: _Field, axes: tuple[str, ...]) -> list[str]:
    suffixes = ["".join(component) for component in product(axes, repeat=field.order)]
    return [f"{field.name}_{suffix}" if suffix else field.name for suffix in suffixes]


def _read(field: _Field, shape: tuple[int, ...], start: int, stop: int) -> ndarray:
    """[stop - start, frames, components, *grid]."""
    values = field.dataset[start:stop] if field.varies[0] else field.dataset[()]
    num_axes = len(shape) - 2
    tail = values.shape[values.ndim - field.order :]
    sizes = (stop - start, *shape[1:])
    values = values.reshape(*(size if flag else 1 for size, flag in zip(sizes, field.varies, strict=True)), *tail)
    values = np.broadcast_to(values, (*sizes, *tail)).reshape(*sizes, num_axes**field.order)
    return np.moveaxis(values, -1, 2)


def _grid(file: h5py.File, channels: tuple[str, ...], axes: tuple[str, ...], source: str) -> Grid:
    dimensions = file["dimensions"]

    def step(name: str) -> float:
        values = dimensions[name][:]
        return uniform_spacing(values if values.ndim == 1 else values[0], name=name, source=source)

    scalars = {**file.attrs, **{name: data[()] for name, data in file.get("scalars", {}).items()}}
    constants = {name: np.asarray(value) for name, value in scalars.items() if np.size(value) == 1}
    return Grid(
        source=source,
        channels=channels,
        axes=axes,
        spacing=tuple(step(axis) for axis in axes),
        dt=step("time"),
        boundary=tuple(_boundary(file, axis) for axis in axes),
        parameters={name: float(value.item()) for name, value in constants.items() if value.dtype.kind in "fiu"},
    )


def _boundary(file: h5py.File, axis: str) -> str:
    """The types of all boundaries on ``axis``, joined by "+" where they differ."""
    kinds = set()
    for group in _group(file, "boundary_conditions").values():
        if axis in _names(group.attrs, "associated_dims", file):
            kinds.add(_names(group.attrs, "bc_type", file)[0].lower())
    return "+".join(sorted(kinds)) or "unknown"
