"""Batched finite-volume solver of the viscous Burgers equation, in one or two periodic dimensions.

    d_t u + d_x (u^2 / 2) [+ d_y (u^2 / 2)] = nu (d_xx [+ d_yy]) u

One scalar field, in conservation form. MUSCL with van Leer's limiter, Godunov's exact flux for u^2 / 2, central
diffusion, SSP-RK2; explicit, so the step is bounded by advection and diffusion together.

**Symbols.** nu: viscosity. PDEBench writes the right-hand side as (nu_PDEBench / pi) u_xx: pass nu_PDEBench / pi.

**Good values.** nu = 1e-2 / pi on 256 cells and more: a front is about 4 nu / (jump) wide and should span a cell or
more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from stepward.domains.pde.solver.burgers_kernel import advance_burgers

__all__ = ["BurgersSolver"]

_MIN_CELLS = 4


@dataclass(frozen=True)
class BurgersSolver:
    """Advance batches of scalar fields ``[n, 1, nx]`` or ``[n, 1, nx, ny]``, periodic.

    Attributes:
        viscosity: nu, >= 0; zero gives the inviscid equation.
        cfl: share of the explicit stability bound to use, in (0, 0.5].
        extent: side length of the domain; in two dimensions the same for both axes.
    """

    viscosity: float
    cfl: float = 0.4
    extent: float = 1.0

    def __post_init__(self) -> None:
        if not self.viscosity >= 0.0:
            raise ValueError(f"expected viscosity >= 0; got {self.viscosity}. The equation is ill-posed below zero.")
        if not 0.0 < self.cfl <= 0.5:
            raise ValueError(f"expected 0 < cfl <= 0.5; got {self.cfl}. 0.4 is a good value.")
        if not self.extent > 0.0:
            raise ValueError(f"expected a positive side length; got extent {self.extent}.")

    def advance(self, fields: Float[ndarray, "n 1 *grid"], duration: float) -> Float[ndarray, "n 1 *grid"]:
        """The fields after ``duration``, fp64; the input is left alone.

        Raises:
            ValueError: wrong shape, values that are not finite (naming the sample), or a negative duration.
        """
        self._check(fields, duration)
        grid = fields.shape[2:]
        is_2d = len(grid) == 2
        state = np.array(fields, dtype=np.float64).reshape(len(fields), grid[0], grid[1] if is_2d else 1)
        advance_burgers(state, float(duration), self.extent / grid[0], self.extent / grid[-1], self.viscosity, self.cfl)
        return state.reshape(fields.shape)

    def simulate(
        self, initial: Float[ndarray, "n 1 *grid"], *, num_steps: int, dt: float
    ) -> Float[ndarray, "n frames 1 *grid"]:
        """Trajectories of ``num_steps`` + 1 frames ``dt`` apart, the first being the initial state."""
        frames = [np.asarray(initial, dtype=np.float64)]
        for _ in range(num_steps):
            frames.append(self.advance(frames[-1], dt))
        return np.stack(frames, axis=1)

    def _check(self, fields: ndarray, duration: float) -> None:
        grid = fields.shape[2:]
        if fields.ndim not in (3, 4) or fields.shape[1] != 1 or min(grid) < _MIN_CELLS:
            raise ValueError(
                f"expected fields [n, 1, nx] or [n, 1, nx, ny] with at least {_MIN_CELLS} cells an axis; "
                f"got shape {tuple(fields.shape)}."
            )
        if not duration >= 0.0:
            raise ValueError(f"expected a duration >= 0; got {duration}. The equation is not solved backwards.")
        finite = np.isfinite(fields).reshape(len(fields), -1).all(axis=1)
        if not finite.all():
            raise ValueError(
                f"expected finite values; got NaN or infinity in sample {int(np.argmin(finite))} "
                f"({int((~finite).sum())} of {len(fields)}). Leave these samples out."
            )
