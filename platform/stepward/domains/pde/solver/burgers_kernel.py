"""Compiled kernel of the viscous Burgers equation; :mod:`stepward.domains.pde.solver.burgers` is the interface.

Layout: ``u[nx, ny]``, and ``ny = 1`` means one dimension: nothing moves along y.

``no_type_check``: Numba types functions by what they are called with; a run-time checker must not come between.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

__all__ = ["advance_burgers"]


@njit(inline="always", error_model="numpy")
@no_type_check
def _face_flux(far_left, left, right, far_right, dx, viscosity):
    """Godunov flux of u^2 / 2 between van Leer reconstructions, minus the central viscous flux, at one face."""
    below, middle, above = left - far_left, right - left, far_right - right
    u_left = left + (below * middle / (below + middle) if below * middle > 0.0 else 0.0)
    u_right = right - (middle * above / (middle + above) if middle * above > 0.0 else 0.0)
    # The exact solution of the Riemann problem: max(u_left, 0)^2 / 2 or min(u_right, 0)^2 / 2, whichever is larger.
    inner_left, inner_right = max(u_left, 0.0), min(u_right, 0.0)
    return 0.5 * max(inner_left * inner_left, inner_right * inner_right) - viscosity * middle / dx


@njit(error_model="numpy", cache=True)
@no_type_check
def _tendency(u, out, dx, dy, viscosity):
    """``out`` = d_t u on the periodic grid; every face flux is added to one cell and taken from the other."""
    nx, ny = u.shape
    for i in range(nx):
        for j in range(ny):
            out[i, j] = 0.0
    for i in range(nx):  # the face between i - 1 and i; negative indices wrap
        for j in range(ny):
            flux = _face_flux(u[i - 2, j], u[i - 1, j], u[i, j], u[(i + 1) % nx, j], dx, viscosity)
            out[i - 1, j] -= flux / dx
            out[i, j] += flux / dx
    if ny > 1:
        for i in range(nx):
            for j in range(ny):
                flux = _face_flux(u[i, j - 2], u[i, j - 1], u[i, j], u[i, (j + 1) % ny], dy, viscosity)
                out[i, j - 1] -= flux / dy
                out[i, j] += flux / dy


@njit(error_model="numpy", cache=True)
@no_type_check
def _stable_step(u, dx, dy, viscosity):
    """1 / max(sum over axes of |u| / dx + 2 nu / dx^2): a forward Euler step up to this keeps the maximum principle."""
    fastest = 0.0
    for i in range(u.shape[0]):
        for j in range(u.shape[1]):
            fastest = max(fastest, abs(u[i, j]))
    rate = fastest / dx + 2.0 * viscosity / dx**2
    if u.shape[1] > 1:
        rate += fastest / dy + 2.0 * viscosity / dy**2
    return 1.0 / rate


@njit(error_model="numpy", cache=True, nogil=True)
@no_type_check
def advance_burgers(fields, duration, dx, dy, viscosity, cfl):
    """Advance ``fields[n, nx, ny]`` in place by ``duration``, each sample with its own time steps."""
    n, nx, ny = fields.shape
    rate = np.empty((nx, ny))
    stage = np.empty((nx, ny))
    for s in range(n):
        u = fields[s]
        elapsed = 0.0
        while elapsed < duration:
            allowed = cfl * _stable_step(u, dx, dy, viscosity)
            remaining = duration - elapsed
            last = allowed >= remaining * (1.0 - 1e-12)
            dt = remaining if last else min(allowed, 0.5 * remaining)
            _tendency(u, rate, dx, dy, viscosity)
            for i in range(nx):
                for j in range(ny):
                    stage[i, j] = u[i, j] + dt * rate[i, j]
            _tendency(stage, rate, dx, dy, viscosity)
            for i in range(nx):
                for j in range(ny):
                    u[i, j] = 0.5 * (u[i, j] + stage[i, j] + dt * rate[i, j])
            elapsed = duration if last else elapsed + dt
