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

from stepward.domains.pde.readers.hdf5 import boundaries, find_dataset, open_hdf5, ranges, uniform_spacing
from stepward.domains.pde.readers.record import FieldBlock, Grid, sift
from stepward.domains.pde.readers.timing import Steps, common_step

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
    path: str | Path,
    *,
    block_size: int = 1,
    fields: Sequence[str] | None = None,
    gamma: float | None = None,
    boundary: tuple[str, ...] | None = None,
    dt: float | None = None,
) -> Iterator[FieldBlock]:
    """Yield blocks of ``block_size`` trajectories; only one block is in memory.

    Args:
        fields: which datasets to read, in this order (default: all, scalars first). Vector and tensor components become
            channels ``name_x``, ``name_xy``. What does not vary over samples, time or an axis is repeated along it.
        gamma, boundary: instead of the file's.
        dt: which trajectories to read of a file whose time steps differ; by default the commonest.

    Raises:
        FileNotFoundError, ValueError: missing or truncated file, missing group, field or attribute, three axes, axes
            that are not Cartesian, a shape that contradicts the attributes, a gamma that differs between trajectories.
    """
    with open_hdf5(path) as file:
        axes = tuple(_names(_group(file, "dimensions").attrs, "spatial_dims", file))
        _refuse_unsupported(file, axes)
        shape = _shape(file, axes)
        chosen = _choose(file, _all_fields(file, shape), fields)
        channels = tuple(channel for field in chosen for channel in _channel_names(field, axes))
        steps = common_step(file["dimensions/time"][...], shape[0], source=Path(path).name, wanted=dt)
        grid = _grid(file, channels, axes, steps, boundary, gamma)
        for start, stop in ranges(shape[0], block_size):
            parts = [_read(field, shape, start, stop) for field in chosen]
            yield sift(np.concatenate(parts, axis=2), grid, start, steps.problems[start:stop])


def _refuse_unsupported(file: h5py.File, axes: tuple[str, ...]) -> None:
    kind = file.attrs.get("grid_type", "cartesian")
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    if len(axes) > 2 or kind != "cartesian":
        name = file.attrs.get("dataset_name", Path(file.filename).name)
        raise ValueError(
            f"The Well {name}: a {kind} grid with axes {axes} is not supported: expected one or two Cartesian axes."
        )


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


def _grid(
    file: h5py.File,
    channels: tuple[str, ...],
    axes: tuple[str, ...],
    steps: Steps,
    boundary: tuple[str, ...] | None,
    gamma: float | None,
) -> Grid:
    source = Path(file.filename).name

    def step(name: str) -> float:
        values = file["dimensions"][name][:]
        return uniform_spacing(values if values.ndim == 1 else values[0], name=name, source=source)

    constants = _constants(file, gamma)
    return Grid(
        source=source,
        channels=channels,
        axes=axes,
        spacing=tuple(step(axis) for axis in axes),
        dt=steps.dt,
        boundary=boundaries(boundary, tuple(_boundary(file, axis) for axis in axes)),
        parameters=constants,
    )


def _constants(file: h5py.File, gamma: float | None) -> dict[str, float]:
    """Numbers that all trajectories share: attributes, and scalars of one value; `gamma` instead of the file's.

    Raises:
        ValueError: gamma is not one of them although the file has it.
    """
    constants = {}
    for name, value in {**file.attrs, **{name: data[()] for name, data in file.get("scalars", {}).items()}}.items():
        values = np.unique(np.asarray(value))
        if values.dtype.kind in "fiu" and len(values) == 1:
            constants[name] = float(values[0])
        elif name == "gamma" and gamma is None:
            raise ValueError(
                f"{file.filename}: expected one gamma for all trajectories; got {values[:5]}. Split the file, or say "
                "which to use: source.gamma"
            )
    return constants if gamma is None else constants | {"gamma": gamma}


def _boundary(file: h5py.File, axis: str) -> str:
    """The types of all boundaries on ``axis``, joined by "+" where they differ."""
    kinds = set()
    for group in _group(file, "boundary_conditions").values():
        if axis in _names(group.attrs, "associated_dims", file):
            kinds.add(_names(group.attrs, "bc_type", file)[0].lower())
    return "+".join(sorted(kinds)) or "unknown"
