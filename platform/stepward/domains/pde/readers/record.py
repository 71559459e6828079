"""What every reader yields: blocks of trajectories with the grid they live on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from stepward.domains.pde.solver.state import CONSERVED_CHANNELS, PRIMITIVE_CHANNELS

__all__ = ["FieldBlock", "Grid", "to_conserved", "to_primitive"]


@dataclass(frozen=True)
class Grid:
    """What the numbers of a trajectory mean.

    Attributes:
        source: name of the file.
        channels: name of each channel; vectors are split into ``name_x``, ``name_y``.
        axes: names of the spatial axes, in array order: ("x",) or ("x", "y").
        spacing: cell size along each axis.
        dt: time between frames.
        boundary: of each axis: "periodic", "wall", "open", "outflow" or "unknown".
        parameters: physical constants found in the file (gamma, nu, ...).
    """

    source: str
    channels: tuple[str, ...]
    axes: tuple[str, ...]
    spacing: tuple[float, ...]
    dt: float
    boundary: tuple[str, ...]
    parameters: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class FieldBlock:
    """Consecutive trajectories of one file.

    Attributes:
        start: index in the file of the first trajectory; row ids are built from it.
        fields: [n, frames, channel, *grid], in the precision of the file.
        grid: what they mean.
    """

    start: int
    fields: Float[ndarray, "n frames channel *space"]
    grid: Grid

    def __len__(self) -> int:
        return len(self.fields)

    @property
    def row_ids(self) -> list[str]:
        """``source:index`` for every trajectory: the same in every block size."""
        return [f"{self.grid.source}:{index}" for index in range(self.start, self.start + len(self))]


def to_conserved(block: FieldBlock, *, gamma: float = 1.4) -> FieldBlock:
    """Two-dimensional gas states as (rho, m_x, m_y, E), whatever of rho, v, m, p, E the file holds; other channels go.

    Raises:
        ValueError: the channels do not determine the state (naming those that are there), or p and E contradict each
            other, as they do when channels come in an unexpected order.
    """
    have = _channels_by_name(block)
    rho = have["density"]
    has_momentum = "momentum_x" in have
    momentum = [have[f"momentum_{axis}"] if has_momentum else rho * have[f"velocity_{axis}"] for axis in "xy"]
    energy = have.get("energy")
    if "pressure" in have:
        expected = have["pressure"] / (gamma - 1.0) + 0.5 * (momentum[0] ** 2 + momentum[1] ** 2) / rho
        energy = expected if energy is None else energy
        _check_energy(block, energy, expected, gamma)
    assert energy is not None  # _channels_by_name saw one of the two
    return _with_channels(block, [rho, *momentum, energy], CONSERVED_CHANNELS)


def to_primitive(block: FieldBlock, *, gamma: float = 1.4) -> FieldBlock:
    """Two-dimensional gas states as (rho, v_x, v_y, p); errors as :func:`to_conserved`."""
    conserved = to_conserved(block, gamma=gamma)
    rho, mx, my, energy = np.moveaxis(conserved.fields, 2, 0)
    pressure = (gamma - 1.0) * (energy - 0.5 * (mx**2 + my**2) / rho)
    return _with_channels(block, [rho, mx / rho, my / rho, pressure], PRIMITIVE_CHANNELS)


def _channels_by_name(block: FieldBlock) -> dict[str, ndarray]:
    have = dict(zip(block.grid.channels, np.moveaxis(block.fields, 2, 0), strict=True))
    complete = "density" in have and any(
        all(f"{vector}_{axis}" in have for axis in "xy") for vector in ("momentum", "velocity")
    )
    if len(block.grid.axes) != 2 or not complete or not {"energy", "pressure"} & set(have):
        raise ValueError(
            "expected two axes and channels density, momentum_x/y or velocity_x/y, and energy or pressure; got axes "
            f"{block.grid.axes} and channels {block.grid.channels} in {block.grid.source}. "
            "Name the channels when reading."
        )
    return have


def _check_energy(block: FieldBlock, energy: ndarray, expected: ndarray, gamma: float) -> None:
    """fp32 files keep about 1e-6; half a per cent of the mean tells a wrong channel from rounding and interpolation."""
    error = float(np.abs(energy - expected).mean() / np.abs(expected).mean())
    if not error < 5e-3:
        raise ValueError(
            f"energy and pressure contradict each other in {block.grid.source}: mean relative difference {error:.3g} "
            f"at gamma={gamma:g}, expected below 5e-3. Check the order of channels {block.grid.channels}, gamma, and "
            "whether the channel called 'energy' is the total energy; pass the right channel names to the reader."
        )


def _with_channels(block: FieldBlock, channels: list[ndarray], names: tuple[str, ...]) -> FieldBlock:
    return replace(block, fields=np.stack(channels, axis=2), grid=replace(block.grid, channels=names))
