"""Compiled finite-volume kernel of the 2-D Euler equations: MUSCL (van Leer), HLLC, SSP-RK2, one sample after another.

Everything here works on arrays prepared by :mod:`stepward.domains.pde.solver.euler`, which is the public interface.

Layout: conserved fields ``u[4, nx, ny]`` = (rho, m_x, m_y, E), primitive fields with two ghost cells on every side
``w[4, nx + 4, ny + 4]`` = (rho, v_x, v_y, p). The last axis (y) is contiguous and innermost, so rows stay in cache.

Positivity. Van Leer's limiter applied to primitive variables keeps every face value between its neighbours, so face
densities and pressures are positive. HLLC with the Einfeldt-Batten wave speeds keeps first-order updates positive under
the CFL condition. A second-order stage that still leaves a cell without positive density or pressure is thrown away
and the step repeated at first order (``slope_scale = 0``), then with half the step.

``edges``: what lies beyond the ends of the x and of the y axis, PERIODIC, OUTFLOW (the last cell again) or WALL (the
mirror image, with the normal velocity reversed: no mass and no energy passes).

``no_type_check``: Numba types functions by what they are called with; a run-time checker must not come between.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

__all__ = ["GHOST", "MIN_STEP_SHARE", "OUTFLOW", "PERIODIC", "WALL", "advance_batch", "flux_divergence_batch"]

GHOST = 2
PERIODIC, OUTFLOW, WALL = 0, 1, 2
MIN_STEP_SHARE = 1e-7  # a state that needs shorter steps than this share of the duration is given up
_NUM_ROWS = 6  # scratch rows of _divergence
_MAX_HALVINGS = 12


@njit(error_model="numpy", inline="always")
@no_type_check
def _van_leer(below, above):
    """Harmonic-mean slope of two one-sided differences; zero at an extremum (van Leer 1974)."""
    product = below * above
    return 2.0 * product / (below + above) if product > 0.0 else 0.0


@njit(error_model="numpy", inline="always")
@no_type_check
def _hllc(rho_l, vn_l, vt_l, p_l, rho_r, vn_r, vt_r, p_r, gamma):
    """HLLC flux (mass, normal momentum, transverse momentum, energy); Toro (2009), eqs. 10.71-10.73.

    Wave speeds after Einfeldt and Batten et al. (1997): the slower of the left and the Roe-averaged signal, and
    likewise on the right; these are the speeds for which HLLC is proven to keep density and pressure positive.
    """
    energy_l = p_l / (gamma - 1.0) + 0.5 * rho_l * (vn_l * vn_l + vt_l * vt_l)
    energy_r = p_r / (gamma - 1.0) + 0.5 * rho_r * (vn_r * vn_r + vt_r * vt_r)
    root_l = np.sqrt(rho_l)
    root_r = np.sqrt(rho_r)
    share_l = root_l / (root_l + root_r)
    share_r = 1.0 - share_l
    vn_roe = share_l * vn_l + share_r * vn_r
    vt_roe = share_l * vt_l + share_r * vt_r
    enthalpy = share_l * (energy_l + p_l) / rho_l + share_r * (energy_r + p_r) / rho_r
    sound_roe = np.sqrt((gamma - 1.0) * (enthalpy - 0.5 * (vn_roe * vn_roe + vt_roe * vt_roe)))
    speed_l = min(vn_l - np.sqrt(gamma * p_l / rho_l), vn_roe - sound_roe)
    speed_r = max(vn_r + np.sqrt(gamma * p_r / rho_r), vn_roe + sound_roe)

    mass_l = rho_l * (speed_l - vn_l)
    mass_r = rho_r * (speed_r - vn_r)
    speed_m = (p_r - p_l + mass_l * vn_l - mass_r * vn_r) / (mass_l - mass_r)

    if speed_m >= 0.0:
        rho, vn, vt, p, energy, speed, mass = rho_l, vn_l, vt_l, p_l, energy_l, min(speed_l, 0.0), mass_l
    else:
        rho, vn, vt, p, energy, speed, mass = rho_r, vn_r, vt_r, p_r, energy_r, max(speed_r, 0.0), mass_r
    # F* = F + S (U* - U); the clipped speed is zero where the whole fan lies on the other side, so F* = F there.
    if speed == 0.0:
        flux_rho = rho * vn
        return flux_rho, flux_rho * vn + p, flux_rho * vt, vn * (energy + p)
    rho_star = mass / (speed - speed_m)
    energy_star = rho_star * (energy / rho + (speed_m - vn) * (speed_m + p / mass))
    flux_rho = rho * vn + speed * (rho_star - rho)
    flux_normal = rho * vn * vn + p + speed * (rho_star * speed_m - rho * vn)
    flux_transverse = rho * vn * vt + speed * (rho_star * vt - rho * vt)
    flux_energy = vn * (energy + p) + speed * (energy_star - energy)
    return flux_rho, flux_normal, flux_transverse, flux_energy


@njit(error_model="numpy", cache=True)
@no_type_check
def _mirrored(g, size, edge):
    """Padded indices of the cells that ghost cell ``g`` below, and ghost cell ``g`` above, take their values from."""
    if edge == PERIODIC:
        return size + g, GHOST + g
    if edge == WALL:
        return 2 * GHOST - 1 - g, size + GHOST - 1 - g
    return GHOST, size + GHOST - 1


@njit(error_model="numpy", cache=True)
@no_type_check
def _load_primitives(u, w, gamma, edges):
    """Write the primitive fields of ``u`` and their ghost cells into ``w``; returns the first bad cell or -1.

    A cell is bad when density or pressure is not positive, or anything is not finite.
    """
    nx, ny = u.shape[1], u.shape[2]
    bad = -1
    for i in range(nx):
        for j in range(ny):
            rho = u[0, i, j]
            inverse = 1.0 / rho
            vx = u[1, i, j] * inverse
            vy = u[2, i, j] * inverse
            p = (gamma - 1.0) * (u[3, i, j] - 0.5 * rho * (vx * vx + vy * vy))
            w[0, i + GHOST, j + GHOST] = rho
            w[1, i + GHOST, j + GHOST] = vx
            w[2, i + GHOST, j + GHOST] = vy
            w[3, i + GHOST, j + GHOST] = p
            if not (rho > 0.0 and p > 0.0 and rho < np.inf and p < np.inf) and bad < 0:
                bad = i * ny + j
    for k in range(4):
        for g in range(GHOST):
            low, high = _mirrored(g, nx, edges[0])
            sign = -1.0 if edges[0] == WALL and k == 1 else 1.0
            for j in range(GHOST, ny + GHOST):
                w[k, g, j] = sign * w[k, low, j]
                w[k, nx + GHOST + g, j] = sign * w[k, high, j]
        for g in range(GHOST):
            low, high = _mirrored(g, ny, edges[1])
            sign = -1.0 if edges[1] == WALL and k == 2 else 1.0
            for i in range(nx + 2 * GHOST):
                w[k, i, g] = sign * w[k, i, low]
                w[k, i, ny + GHOST + g] = sign * w[k, i, high]
    return bad


@njit(error_model="numpy", cache=True)
@no_type_check
def _largest_step(w, dx, dy, gamma):
    """The time in which no signal crosses more than one cell along either axis, and the cell that sets it."""
    rate, fastest = 0.0, -1
    ny = w.shape[2] - 2 * GHOST
    for i in range(GHOST, w.shape[1] - GHOST):
        for j in range(GHOST, w.shape[2] - GHOST):
            sound = np.sqrt(gamma * w[3, i, j] / w[0, i, j])
            here = max((abs(w[1, i, j]) + sound) / dx, (abs(w[2, i, j]) + sound) / dy)
            if here > rate:
                rate, fastest = here, (i - GHOST) * ny + j - GHOST
    return 1.0 / rate, fastest


@njit(error_model="numpy", cache=True)
@no_type_check
def _slope_row(w, i, slope, slope_scale, axis):
    """Half the limited slope along ``axis`` of every cell of row ``i``, into ``slope[4, ny + 4]``."""
    columns = w.shape[2]
    for k in range(4):
        if axis == 0:
            for j in range(columns):
                slope[k, j] = slope_scale * _van_leer(w[k, i, j] - w[k, i - 1, j], w[k, i + 1, j] - w[k, i, j])
        else:
            for j in range(1, columns - 1):
                slope[k, j] = slope_scale * _van_leer(w[k, i, j] - w[k, i, j - 1], w[k, i, j + 1] - w[k, i, j])


@njit(error_model="numpy", cache=True)
@no_type_check
def _flux_row(left, right, flux, num_faces, normal, gamma):
    """HLLC fluxes of a row of faces from the states ``left`` and ``right`` of them, all ``[4, num_faces]``.

    ``normal`` is the channel of the normal velocity: 1 for faces across x, 2 across y.
    """
    transverse = 3 - normal
    for j in range(num_faces):
        flux[0, j], flux[normal, j], flux[transverse, j], flux[3, j] = _hllc(
            left[0, j],
            left[normal, j],
            left[transverse, j],
            left[3, j],
            right[0, j],
            right[normal, j],
            right[transverse, j],
            right[3, j],
            gamma,
        )


@njit(error_model="numpy", cache=True)
@no_type_check
def _divergence(w, out, dx, dy, gamma, slope_scale, rows):
    """``out[4, nx, ny]`` = div F from the padded primitive fields; ``rows[6, 4, ny + 4]`` is scratch."""
    nx, ny = out.shape[1], out.shape[2]
    face_left, face_right = rows[4], rows[5]
    _slope_row(w, GHOST - 1, rows[0], slope_scale, 0)
    for i in range(nx + 1):  # faces across x; face i lies between the padded rows i + 1 and i + 2
        slope_left, slope_right, flux, previous = rows[i % 2], rows[1 - i % 2], rows[2 + i % 2], rows[3 - i % 2]
        _slope_row(w, i + GHOST, slope_right, slope_scale, 0)
        for k in range(4):
            for j in range(ny):
                face_left[k, j] = w[k, i + GHOST - 1, j + GHOST] + slope_left[k, j + GHOST]
                face_right[k, j] = w[k, i + GHOST, j + GHOST] - slope_right[k, j + GHOST]
        _flux_row(face_left, face_right, flux, ny, 1, gamma)
        if i > 0:
            for k in range(4):
                for j in range(ny):
                    out[k, i - 1, j] = (flux[k, j] - previous[k, j]) / dx
    slope, flux = rows[0], rows[2]
    for i in range(nx):  # faces across y; face j lies between the padded columns j + 1 and j + 2
        _slope_row(w, i + GHOST, slope, slope_scale, 1)
        for k in range(4):
            for j in range(ny + 1):
                face_left[k, j] = w[k, i + GHOST, j + GHOST - 1] + slope[k, j + GHOST - 1]
                face_right[k, j] = w[k, i + GHOST, j + GHOST] - slope[k, j + GHOST]
        _flux_row(face_left, face_right, flux, ny + 1, 2, gamma)
        for k in range(4):
            for j in range(ny):
                out[k, i, j] += (flux[k, j + 1] - flux[k, j]) / dy


@njit(error_model="numpy", cache=True)
@no_type_check
def _shu_osher(out, start, stage, rate, alpha, dt):
    """``out = alpha * start + (1 - alpha) * (stage - dt * rate)``: one stage of an SSP Runge-Kutta method."""
    for k in range(out.shape[0]):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                euler = stage[k, i, j] - dt * rate[k, i, j]
                out[k, i, j] = alpha * start[k, i, j] + (1.0 - alpha) * euler


@njit(error_model="numpy", cache=True)
@no_type_check
def _copy(out, source):
    for k in range(out.shape[0]):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                out[k, i, j] = source[k, i, j]


@njit(error_model="numpy", cache=True)
@no_type_check
def _try_step(u, dt, dx, dy, gamma, edges, slope_scale, w, rate, stage, rows):
    """One SSP-RK2 step of ``u`` (whose primitives are already in ``w``) into ``stage``; returns the bad cell or -1."""
    _divergence(w, rate, dx, dy, gamma, slope_scale, rows)
    _shu_osher(stage, u, u, rate, 0.0, dt)
    bad = _load_primitives(stage, w, gamma, edges)
    if bad >= 0:
        return bad
    _divergence(w, rate, dx, dy, gamma, slope_scale, rows)
    _shu_osher(stage, u, stage, rate, 0.5, dt)
    return _load_primitives(stage, w, gamma, edges)


@njit(error_model="numpy", cache=True)
@no_type_check
def _advance_one(u, duration, dx, dy, cfl, gamma, edges, w, rate, stage, rows, counts):
    """Advance ``u[4, nx, ny]`` in place; returns the first bad cell or -1. ``counts`` += (steps, repeated steps)."""
    bad = _load_primitives(u, w, gamma, edges)
    if bad >= 0:
        return bad
    elapsed = 0.0
    while elapsed < duration:
        allowed, fastest = _largest_step(w, dx, dy, gamma)
        allowed *= cfl
        if allowed < MIN_STEP_SHARE * duration:
            return fastest
        remaining = duration - elapsed
        last = allowed >= remaining * (1.0 - 1e-12)
        # Two equal steps at the end instead of a full one and a sliver.
        dt = remaining if last else min(allowed, 0.5 * remaining)
        slope_scale = 0.5
        for _ in range(_MAX_HALVINGS):
            bad = _try_step(u, dt, dx, dy, gamma, edges, slope_scale, w, rate, stage, rows)
            if bad < 0:
                break
            if slope_scale == 0.0:
                dt *= 0.5
                last = False
            slope_scale = 0.0
            counts[1] += 1
            _load_primitives(u, w, gamma, edges)
        if bad >= 0:
            return bad
        _copy(u, stage)
        counts[0] += 1
        elapsed = duration if last else elapsed + dt
    return -1


@njit(error_model="numpy", cache=True, nogil=True)
@no_type_check
def advance_batch(fields, duration, dx, dy, cfl, gamma, edges, bad_cell, counts):
    """Advance ``fields[n, 4, nx, ny]`` in place by ``duration``, each sample with its own time steps.

    ``bad_cell[n]`` receives -1, or the flat index of the first cell of a sample that could not be kept physical; the
    fields of that sample are those of its last good step. ``counts[n, 2]`` receives (steps, repeated steps).
    """
    n, _, nx, ny = fields.shape
    w = np.empty((4, nx + 2 * GHOST, ny + 2 * GHOST))
    rate = np.empty((4, nx, ny))
    stage = np.empty((4, nx, ny))
    rows = np.empty((_NUM_ROWS, 4, ny + 2 * GHOST))
    for s in range(n):
        bad_cell[s] = _advance_one(fields[s], duration, dx, dy, cfl, gamma, edges, w, rate, stage, rows, counts[s])


@njit(error_model="numpy", cache=True, nogil=True)
@no_type_check
def flux_divergence_batch(fields, out, dx, dy, gamma, edges, slope_scale, bad_cell):
    """``out[n, 4, nx, ny]`` = div F(fields) by the same reconstruction and flux as :func:`advance_batch`."""
    n, _, nx, ny = fields.shape
    w = np.empty((4, nx + 2 * GHOST, ny + 2 * GHOST))
    rows = np.empty((_NUM_ROWS, 4, ny + 2 * GHOST))
    for s in range(n):
        bad_cell[s] = _load_primitives(fields[s], w, gamma, edges)
        _divergence(w, out[s], dx, dy, gamma, slope_scale, rows)
