"""How much the compiled, batched Euler kernel gains over a per-sample NumPy implementation of the same scheme.

    python benchmarks/pde_solver.py [--cells 64] [--samples 8] [--duration 0.1] [--seed 0]

Prints cell-steps a CPU-second of both (a cell-step is one cell advanced by one SSP-RK2 step), their ratio, and the
largest difference of the results, which are the same up to round-off because the scheme is. Compilation is not counted.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from numpy import ndarray

from stepward.domains.pde.initial_conditions import EULER_FAMILIES, sample_euler
from stepward.domains.pde.solver import EulerSolver
from stepward.domains.pde.solver.kernel import PERIODIC, advance_batch

GAMMA, CFL = 1.4, 0.4


def primitives(u: ndarray) -> ndarray:
    rho, vx, vy = u[0], u[1] / u[0], u[2] / u[0]
    return np.stack([rho, vx, vy, (GAMMA - 1) * (u[3] - 0.5 * rho * (vx**2 + vy**2))])


def conserved_and_flux(w: ndarray, normal: int) -> tuple[ndarray, ndarray]:
    rho, pressure, speed = w[0], w[3], w[normal]
    energy = pressure / (GAMMA - 1) + 0.5 * rho * (w[1] ** 2 + w[2] ** 2)
    u = np.stack([rho, rho * w[1], rho * w[2], energy])
    flux = u * speed
    flux[normal] += pressure
    flux[3] += pressure * speed
    return u, flux


def hllc(left: ndarray, right: ndarray, normal: int) -> ndarray:
    """HLLC with Einfeldt-Batten speeds on arrays of face states [4, ...]."""
    (u_l, f_l), (u_r, f_r) = conserved_and_flux(left, normal), conserved_and_flux(right, normal)
    root_l, root_r = np.sqrt(left[0]), np.sqrt(right[0])
    share = root_l / (root_l + root_r)
    roe = share * left[1:3] + (1 - share) * right[1:3]
    enthalpy = share * (u_l[3] + left[3]) / left[0] + (1 - share) * (u_r[3] + right[3]) / right[0]
    sound = np.sqrt((GAMMA - 1) * (enthalpy - 0.5 * (roe**2).sum(axis=0)))
    speed_l = np.minimum(left[normal] - np.sqrt(GAMMA * left[3] / left[0]), roe[normal - 1] - sound)
    speed_r = np.maximum(right[normal] + np.sqrt(GAMMA * right[3] / right[0]), roe[normal - 1] + sound)
    mass_l, mass_r = left[0] * (speed_l - left[normal]), right[0] * (speed_r - right[normal])
    middle = (right[3] - left[3] + mass_l * left[normal] - mass_r * right[normal]) / (mass_l - mass_r)
    star_l = star_flux(left, u_l, f_l, np.minimum(speed_l, 0.0), speed_l, middle, normal)
    star_r = star_flux(right, u_r, f_r, np.maximum(speed_r, 0.0), speed_r, middle, normal)
    return np.where(middle >= 0, star_l, star_r)


def star_flux(
    w: ndarray, u: ndarray, flux: ndarray, clipped: ndarray, speed: ndarray, middle: ndarray, normal: int
) -> ndarray:
    mass = w[0] * (speed - w[normal])
    rho = mass / (speed - middle)
    star = np.stack([rho, rho * w[1], rho * w[2], rho * (u[3] / w[0] + (middle - w[normal]) * (middle + w[3] / mass))])
    star[normal] = rho * middle
    return flux + clipped * (star - u)


def tendency(u: ndarray, spacing: float) -> ndarray:
    w, out = primitives(u), np.zeros_like(u)
    for axis, normal in ((1, 1), (2, 2)):
        below, above = w - np.roll(w, 1, axis), np.roll(w, -1, axis) - w
        product = below * above
        slope = np.where(product > 0, 2 * product / np.where(product > 0, below + above, 1.0), 0.0)
        flux = hllc(np.roll(w + 0.5 * slope, 1, axis), w - 0.5 * slope, normal)
        out -= (np.roll(flux, -1, axis) - flux) / spacing
    return out


def numpy_advance(u: ndarray, duration: float) -> tuple[ndarray, int]:
    """One sample [4, N, N] on the periodic unit square; returns the fields and the number of steps."""
    spacing, elapsed, steps = 1.0 / u.shape[-1], 0.0, 0
    while elapsed < duration:
        w = primitives(u)
        rate = ((np.abs(w[1:3]) + np.sqrt(GAMMA * w[3] / w[0])) / spacing).max()
        allowed, remaining = CFL / rate, duration - elapsed
        last = allowed >= remaining * (1 - 1e-12)
        dt = remaining if last else min(allowed, 0.5 * remaining)
        stage = u + dt * tendency(u, spacing)
        u = 0.5 * (u + stage + dt * tendency(stage, spacing))
        elapsed, steps = duration if last else elapsed + dt, steps + 1
    return u, steps


def compiled_advance(fields: ndarray, duration: float) -> tuple[ndarray, int]:
    out, counts = fields.copy(), np.zeros((len(fields), 2), dtype=np.int64)
    spacing = 1.0 / fields.shape[-1]
    advance_batch(
        out, duration, spacing, spacing, CFL, GAMMA, (PERIODIC, PERIODIC), np.empty(len(fields), np.int64), counts
    )
    return out, int(counts[:, 0].sum())


def numpy_advance_all(fields: ndarray, duration: float) -> tuple[ndarray, int]:
    results = [numpy_advance(sample, duration) for sample in fields]
    return np.stack([fields for fields, _ in results]), sum(steps for _, steps in results)


def measure(advance: Callable[[ndarray, float], tuple[ndarray, int]], fields: ndarray, duration: float):
    start = time.process_time()
    result, steps = advance(fields, duration)
    seconds = time.process_time() - start
    return result, steps * fields.shape[-1] * fields.shape[-2] / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=64)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--duration", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    families = list(EULER_FAMILIES)
    fields = np.concatenate(
        [
            sample_euler(families[i % len(families)], seed=arguments.seed, indices=[i], resolution=arguments.cells)
            for i in range(arguments.samples)
        ]
    )
    EulerSolver().advance(fields[:1], 1e-4)  # compile, or load what was compiled before
    compiled, fast = measure(compiled_advance, fields, arguments.duration)
    reference, slow = measure(numpy_advance_all, fields, arguments.duration)
    print(f"compiled, batched   {fast:12.3g} cell-steps a CPU-second")
    print(f"NumPy, per sample   {slow:12.3g} cell-steps a CPU-second")
    print(f"ratio               {fast / slow:12.1f}")
    print(f"largest difference  {np.abs(compiled - reference).max():12.3g}")


if __name__ == "__main__":
    main()
