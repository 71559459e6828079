"""States of the 2-D Euler equations: conserved and primitive variables, grids, and what makes a state unphysical.

Conserved fields are (rho, m_x, m_y, E): density, momentum, total energy, per unit volume. Primitive fields are
(rho, v_x, v_y, p). For an ideal gas E = p / (gamma - 1) + rho |v|^2 / 2. All quantities are dimensionless.

Axes: ``fields[..., channel, i, j]`` is the cell average around (x_i, y_j), as in PDEGym, PDEBench and The Well: the
second-last axis is x, the last is y.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

__all__ = [
    "CONSERVED_CHANNELS",
    "PRIMITIVE_CHANNELS",
    "UnphysicalStateError",
    "check_physical",
    "coarsen",
    "conserved_from_primitive",
    "primitive_from_conserved",
    "prolong",
]

CONSERVED_CHANNELS = ("density", "momentum_x", "momentum_y", "energy")
PRIMITIVE_CHANNELS = ("density", "velocity_x", "velocity_y", "pressure")


class UnphysicalStateError(ValueError):
    """A state without positive density and pressure, or with values that are not finite.

    Attributes: ``sample`` (index in the batch), ``cell`` (i, j).
    """

    def __init__(self, message: str, *, sample: int, cell: tuple[int, ...]) -> None:
        super().__init__(message)
        self.sample = sample
        self.cell = cell


def conserved_from_primitive(
    primitive: Float[ndarray, "*batch 4 nx ny"], *, gamma: float = 1.4
) -> Float[ndarray, "*batch 4 nx ny"]:
    """(rho, v_x, v_y, p) -> (rho, m_x, m_y, E)."""
    rho, vx, vy, p = np.moveaxis(primitive, -3, 0)
    energy = p / (gamma - 1.0) + 0.5 * rho * (vx * vx + vy * vy)
    return np.stack([rho, rho * vx, rho * vy, energy], axis=-3)


def primitive_from_conserved(
    conserved: Float[ndarray, "*batch 4 nx ny"], *, gamma: float = 1.4
) -> Float[ndarray, "*batch 4 nx ny"]:
    """(rho, m_x, m_y, E) -> (rho, v_x, v_y, p). Density must not be zero; see :func:`check_physical`."""
    rho, mx, my, energy = np.moveaxis(conserved, -3, 0)
    vx, vy = mx / rho, my / rho
    pressure = (gamma - 1.0) * (energy - 0.5 * (mx * vx + my * vy))
    return np.stack([rho, vx, vy, pressure], axis=-3)


def check_physical(conserved: Float[ndarray, "n 4 nx ny"], *, gamma: float = 1.4) -> None:
    """Raise :class:`UnphysicalStateError` at the first cell without finite values and positive density and pressure."""
    rho, mx, my, energy = np.moveaxis(conserved, 1, 0)
    # rho * p, so that nothing is divided by a density that may be zero.
    scaled_pressure = (gamma - 1.0) * (rho * energy - 0.5 * (mx * mx + my * my))
    good = np.isfinite(conserved).all(axis=1) & (rho > 0) & (scaled_pressure > 0)
    if good.all():
        return
    sample, i, j = (int(index) for index in np.argwhere(~good)[0])
    raise unphysical(conserved[sample], sample, (i, j), gamma=gamma, num_bad=int((~good).any(axis=(1, 2)).sum()))


def unphysical(
    fields: Float[ndarray, "4 nx ny"], sample: int, cell: tuple[int, int], *, gamma: float, num_bad: int
) -> UnphysicalStateError:
    """The error for one cell of ``fields``, naming the sample, the cell and its values."""
    rho, mx, my, energy = (float(value) for value in fields[:, cell[0], cell[1]])
    with np.errstate(all="ignore"):
        pressure = float((gamma - 1.0) * (energy - 0.5 * np.float64(mx * mx + my * my) / np.float64(rho)))
    if rho > 0 and pressure > 0 and np.isfinite(fields[:, cell[0], cell[1]]).all():
        # A cell that was fine when the step began: the step to a physical state was not found.
        expected = "a state that can be advanced, with positive density and pressure, in steps of useful length"
    else:
        expected = "finite values and positive density and pressure"
    message = (
        f"expected {expected}; got density={rho:.6g}, pressure={pressure:.6g} "
        f"(m_x={mx:.6g}, m_y={my:.6g}, E={energy:.6g}, gamma={gamma:g}) in cell {cell} of sample {sample} "
        f"({num_bad} bad samples in the batch). Check that channels are (rho, m_x, m_y, E), or leave these samples out."
    )
    return UnphysicalStateError(message, sample=sample, cell=cell)


def coarsen(fields: Float[ndarray, "*batch nx ny"], factor: int) -> Float[ndarray, "*batch mx my"]:
    """Average over ``factor`` x ``factor`` blocks of cells; exact for cell averages, so it conserves every field."""
    nx, ny = fields.shape[-2:]
    if factor < 1 or nx % factor or ny % factor:
        raise ValueError(
            f"expected a positive factor that divides the grid; got factor {factor} for a {nx} x {ny} grid. "
            "Choose a common divisor of both sizes."
        )
    blocks = fields.reshape(*fields.shape[:-2], nx // factor, factor, ny // factor, factor)
    return blocks.mean(axis=(-3, -1))


def prolong(
    fields: Float[ndarray, "*batch mx my"], factor: int, *, boundary: tuple[str, str] = ("periodic", "periodic")
) -> Float[ndarray, "*batch nx ny"]:
    """Refine by ``factor``: piecewise linear in each cell with van Leer slopes. Block averages are kept exactly."""
    modes: list[Literal["wrap", "edge"]] = ["wrap" if kind == "periodic" else "edge" for kind in boundary]
    offsets = (np.arange(factor) + 0.5) / factor - 0.5  # cell-relative positions of the fine cells, mean zero
    parts = [_slope(fields, axis, mode)[..., None, None] for axis, mode in zip((-2, -1), modes, strict=True)]
    fine = fields[..., None, None] + parts[0] * offsets[:, None] + parts[1] * offsets[None, :]
    fine = np.moveaxis(fine, -2, -3)  # [..., mx, factor, my, factor]
    return fine.reshape(*fields.shape[:-2], fields.shape[-2] * factor, fields.shape[-1] * factor)


def _slope(fields: ndarray, axis: int, mode: Literal["wrap", "edge"]) -> ndarray:
    """Van Leer's limited slope per cell along ``axis``."""
    width = [(0, 0)] * fields.ndim
    width[axis] = (1, 1)
    difference = np.diff(np.pad(fields, width, mode=mode), axis=axis)
    size = fields.shape[axis]
    below, above = np.split(difference, [size], axis=axis)[0], np.split(difference, [1], axis=axis)[1]
    product = below * above
    safe_sum = np.where(product > 0, below + above, 1.0)
    return np.where(product > 0, 2.0 * product / safe_sum, 0.0)
