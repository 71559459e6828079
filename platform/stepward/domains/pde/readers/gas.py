"""Gas states of a file as the four conserved fields of the domain, whatever of rho, v, m, p, E the file holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy import ndarray

from stepward.domains.pde.readers.record import FieldBlock, Grid
from stepward.domains.pde.solver.state import CONSERVED_CHANNELS, PRIMITIVE_CHANNELS

__all__ = ["gamma_of", "is_gas", "to_conserved", "to_primitive"]

_VECTORS = ("momentum", "velocity")
_GAS = {"density", "energy", "pressure", "tracer", *(f"{vector}_{axis}" for vector in _VECTORS for axis in "xy")}
_TOLERANCE = 5e-3  # fp32 keeps 1e-6; half a per cent of the mean tells a wrong channel from rounding and interpolation


def is_gas(grid: Grid) -> bool:
    """Whether the channels are those of a gas in two dimensions, perhaps with a tracer, and of nothing else."""
    return _determined(grid) and set(grid.channels) <= _GAS


def gamma_of(grid: Grid) -> float:
    """Ratio of specific heats of the file.

    Raises:
        ValueError: the file does not say.
    """
    if "gamma" not in grid.parameters:
        raise ValueError(
            f"expected the ratio of specific heats gamma among the constants of {grid.source}, got "
            f"{sorted(grid.parameters)}. Say it when the file is converted: source.gamma=1.4"
        )
    return grid.parameters["gamma"]


def to_conserved(block: FieldBlock) -> FieldBlock:
    """Two-dimensional gas states as (rho, m_x, m_y, E) at the file's gamma; other channels go.

    Trajectories with no pressure left (E below the kinetic energy), or whose p and E contradict each other, as they do
    when channels come in an unexpected order, are rejected.

    Raises:
        ValueError: the channels do not determine the state (naming those that are there), or energy has to be made
            and nobody knows gamma.
    """
    have = _channels_by_name(block)
    rho = have["density"]
    has_momentum = "momentum_x" in have
    momentum = [have[f"momentum_{axis}"] if has_momentum else rho * have[f"velocity_{axis}"] for axis in "xy"]
    kinetic = 0.5 * (momentum[0] ** 2 + momentum[1] ** 2) / rho
    problems = [""] * len(block)
    if "energy" in have:
        energy = have["energy"]
        if "pressure" in have and "gamma" in block.grid.parameters:
            problems = _contradictions(block.grid, energy, have["pressure"], kinetic)
    else:
        energy = have["pressure"] / (gamma_of(block.grid) - 1.0) + kinetic
    empty = (energy <= kinetic).any(axis=tuple(range(1, energy.ndim)))
    for row in np.flatnonzero(empty):
        problems[row] = problems[row] or "expected energy above the kinetic energy everywhere: no pressure is left"
    fields = np.stack([rho, *momentum, energy], axis=2)
    return replace(block, fields=fields, grid=replace(block.grid, channels=CONSERVED_CHANNELS)).without(problems)


def to_primitive(block: FieldBlock) -> FieldBlock:
    """Two-dimensional gas states as (rho, v_x, v_y, p) at the file's gamma; see :func:`to_conserved`."""
    conserved = to_conserved(block)
    rho, mx, my, energy = np.moveaxis(conserved.fields, 2, 0)
    pressure = (gamma_of(block.grid) - 1.0) * (energy - 0.5 * (mx**2 + my**2) / rho)
    fields = np.stack([rho, mx / rho, my / rho, pressure], axis=2)
    return replace(conserved, fields=fields, grid=replace(block.grid, channels=PRIMITIVE_CHANNELS))


def _determined(grid: Grid) -> bool:
    have = set(grid.channels)
    vector = any({f"{name}_x", f"{name}_y"} <= have for name in _VECTORS)
    return len(grid.axes) == 2 and "density" in have and vector and bool({"energy", "pressure"} & have)


def _channels_by_name(block: FieldBlock) -> dict[str, ndarray]:
    if not _determined(block.grid):
        raise ValueError(
            "expected two axes and channels density, momentum_x/y or velocity_x/y, and energy or pressure; got axes "
            f"{block.grid.axes} and channels {block.grid.channels} in {block.grid.source}. "
            "Name the channels when reading."
        )
    return dict(zip(block.grid.channels, np.moveaxis(block.fields, 2, 0), strict=True))


def _contradictions(grid: Grid, energy: ndarray, pressure: ndarray, kinetic: ndarray) -> list[str]:
    """A sentence for each trajectory whose energy is not that of its pressure and velocity."""
    expected = pressure / (gamma_of(grid) - 1.0) + kinetic
    over = tuple(range(1, energy.ndim))
    error = np.abs(energy - expected).mean(axis=over) / np.abs(expected).mean(axis=over)
    return [
        ""
        if wrong < _TOLERANCE
        else (
            f"energy and pressure contradict each other: mean relative difference {wrong:.3g} at gamma = "
            f"{gamma_of(grid):g}, expected below {_TOLERANCE:g}. Check the order of channels {grid.channels}, gamma, "
            "and whether the channel called 'energy' is the total energy and not a tracer: see source.channels"
        )
        for wrong in error.tolist()
    ]
