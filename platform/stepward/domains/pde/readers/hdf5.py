"""What the readers share: opening a file, finding a dataset, walking it by blocks, steps of coordinates."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
from numpy import ndarray

__all__ = ["boundaries", "effective", "find_dataset", "need_file", "open_hdf5", "ranges", "uniform_spacing"]


def need_file(path: str | Path) -> Path:
    """The path of a file that is there.

    Raises:
        FileNotFoundError: no such file.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"expected a file at {path}; got nothing there. datasets/ says how to get the data.")
    return path


@contextmanager
def open_hdf5(path: str | Path) -> Iterator[h5py.File]:
    """Open an HDF5 or NetCDF-4 file (the same format) for reading.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not HDF5, or cut off in transfer.
    """
    path = need_file(path)
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(
            f"expected a complete HDF5 or NetCDF-4 file; got {path} ({path.stat().st_size} bytes), which HDF5 cannot "
            f"open: {error}. It may be truncated or of another format; fetch it again and compare its checksum."
        ) from error
    with file:
        yield file


def find_dataset(group: h5py.Group, name: str, *, num_dims: int | tuple[int, ...]) -> h5py.Dataset:
    """The dataset ``name`` of ``group``, with one of the given numbers of dimensions."""
    if name not in group or not isinstance(group[name], h5py.Dataset):
        raise ValueError(
            f"expected a dataset {name!r} in {group.file.filename}:{group.name}; got {sorted(group)}. "
            "Check that the reader fits the file."
        )
    allowed = (num_dims,) if isinstance(num_dims, int) else num_dims
    dataset = group[name]
    if dataset.ndim not in allowed:
        raise ValueError(
            f"expected {name!r} with {' or '.join(map(str, allowed))} dimensions; got shape {dataset.shape} in "
            f"{group.file.filename}. Check that the reader fits the file."
        )
    return dataset


def ranges(num_samples: int, block_size: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of consecutive blocks."""
    if block_size < 1:
        raise ValueError(f"expected block_size >= 1; got {block_size}.")
    for start in range(0, num_samples, block_size):
        yield start, min(start + block_size, num_samples)


def uniform_spacing(coordinates: ndarray, *, name: str, source: str) -> float:
    """The distance between neighbouring coordinates, which must all agree."""
    steps = np.diff(np.asarray(coordinates, dtype=np.float64))
    if not len(steps) or not steps[0] > 0 or not np.allclose(steps, steps[0], rtol=1e-2, atol=0.0):
        raise ValueError(
            f"expected two or more uniformly increasing values in {name!r} of {source}; got {np.shape(coordinates)} "
            f"values with steps {steps[:3]}... Only uniform grids are supported."
        )
    return float(steps.mean())


def boundaries(given: tuple[str, ...] | None, known: tuple[str, ...]) -> tuple[str, ...]:
    """The boundary of each axis: as given (one word for all axes, or one an axis), else what the file is known to have.

    Raises:
        ValueError: another number of words than axes.
    """
    if given is None:
        return known
    if len(given) not in (1, len(known)):
        raise ValueError(f"boundary: expected one word, or one for each of {len(known)} axes; got {given}.")
    return given * len(known) if len(given) == 1 else given


def effective(name: str, value: object, has_effect: bool, why: str) -> None:
    """Raise ValueError for a setting that is given and would change nothing, and say why."""
    if value is not None and not has_effect:
        raise ValueError(f"{name}: has no effect, {why}; leave it out.")
