"""Random initial states for the Burgers equation on the unit periodic interval or square.

    u_0 = sum_k a_k sin(2 pi (n_k . x) + phase_k),   a_k ~ U(0, 1), phase_k ~ U(0, 2 pi), n_k integer

PDEBench's one-dimensional family (Takamoto et al. 2022, eq. 8: two waves, wave numbers 1 to 8) without its occasional
absolute value and window. In two dimensions n_k has a component an axis, each in -4 .. 4, not both zero. Stored values
are exact averages over cells, so a coarser grid holds the averages of a finer one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

__all__ = ["sample_burgers"]

_FAMILY_CODES = {1: 100, 2: 101}  # apart from the codes of the Euler families


def sample_burgers(
    *, seed: int, indices: Sequence[int], resolution: int, num_axes: int = 1, num_waves: int = 2
) -> Float[ndarray, "n 1 *grid"]:
    """Cell averages ``[n, 1, nx]`` or ``[n, 1, nx, nx]`` of the samples ``indices``; a sample depends on (seed, index)
    alone.

    Raises:
        ValueError: negative seed or index, fewer than 4 cells, or ``num_axes`` other than 1 or 2.
    """
    if num_axes not in _FAMILY_CODES:
        raise ValueError(f"expected 1 or 2 axes; got num_axes={num_axes}.")
    if seed < 0 or any(index < 0 for index in indices):
        raise ValueError(f"expected seed and indices >= 0; got seed {seed}, smallest index {min(indices)}.")
    if resolution < 4 or num_waves < 1:
        raise ValueError(f"expected resolution >= 4 and num_waves >= 1; got {resolution} and {num_waves}.")
    fields = np.zeros((len(indices), 1, *[resolution] * num_axes))
    for row, index in enumerate(indices):
        rng = np.random.default_rng(np.random.SeedSequence([seed, index, _FAMILY_CODES[num_axes]]))
        for _ in range(num_waves):
            fields[row, 0] += _wave(_wave_number(num_axes, rng), rng, resolution)
    return fields


def _wave_number(num_axes: int, rng: np.random.Generator) -> ndarray:
    if num_axes == 1:
        return rng.integers(1, 9, size=1)
    pairs = [(i, j) for i in range(-4, 5) for j in range(-4, 5) if (i, j) != (0, 0)]
    return np.array(pairs[int(rng.integers(len(pairs)))])


def _wave(numbers: ndarray, rng: np.random.Generator, resolution: int) -> ndarray:
    """Cell averages of one sine wave: the value at the centre times sinc(n_axis / resolution) for each axis."""
    amplitude, phase = rng.uniform(0.0, 1.0), rng.uniform(0.0, 2.0 * np.pi)
    centres = (np.arange(resolution) + 0.5) / resolution
    angle = sum(2.0 * np.pi * n * axis for n, axis in zip(numbers, np.ix_(*[centres] * len(numbers)), strict=True))
    return amplitude * float(np.prod(np.sinc(numbers / resolution))) * np.sin(angle + phase)
