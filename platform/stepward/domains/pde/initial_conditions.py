"""Random initial states for the Euler equations on the unit periodic square, one stream of random numbers a sample.

Sample ``index`` of root seed ``seed`` is the same function of (x, y) in every batch, order and resolution: its
parameters come from ``SeedSequence([seed, index, family])`` alone, and only then the function is evaluated at the cell
centres.

The four families follow the names of PDEGym's compressible sets (Herde et al. 2024, "Poseidon", appendix on data); the
distributions are our own and stand on the data card ``datasets/euler2d.md``:

========== =========================================================================================================
family     state
========== =========================================================================================================
riemann    four quadrants, constant rho, v, p in each, cross moved at random; periodic, so there are two crosses
curved     the same with both interfaces bent by two sine waves each
kelvin     two shear layers with a density jump, thin smooth profile, perturbed interfaces (Kelvin-Helmholtz)
gaussian   uniform flow with Gaussian bumps in density and pressure
========== =========================================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from stepward.domains.pde.solver.state import conserved_from_primitive

__all__ = ["EULER_FAMILIES", "sample_euler"]

_NUM_WAVES = 2
_NUM_BUMPS = 4


def sample_euler(
    family: str, *, seed: int, indices: Sequence[int], resolution: int, gamma: float = 1.4
) -> Float[ndarray, "n 4 nx nx"]:
    """Conserved fields (rho, m_x, m_y, E) of the samples ``indices`` on ``resolution`` x ``resolution`` cells, fp64.

    Args:
        family: one of :data:`EULER_FAMILIES`.
        seed: root seed, >= 0.
        indices: which samples, >= 0; any order, any subset.
        resolution: cells an axis; 64 or more, to be averaged to 32 after the computation, is a good value.

    Raises:
        ValueError: unknown family, negative seed or index, or a resolution below 8.
    """
    if family not in EULER_FAMILIES:
        raise ValueError(f"expected a family among {sorted(EULER_FAMILIES)}; got {family!r}.")
    if seed < 0 or any(index < 0 for index in indices):
        raise ValueError(f"expected seed and indices >= 0; got seed {seed}, smallest index {min(indices)}.")
    if resolution < 8:
        raise ValueError(f"expected a resolution of 8 cells or more; got {resolution}.")
    code = list(EULER_FAMILIES).index(family)
    centres = (np.arange(resolution) + 0.5) / resolution
    x, y = np.meshgrid(centres, centres, indexing="ij")
    primitive = np.empty((len(indices), 4, resolution, resolution))
    for row, index in enumerate(indices):
        rng = np.random.default_rng(np.random.SeedSequence([seed, index, code]))
        primitive[row] = EULER_FAMILIES[family](x, y, rng)
    return conserved_from_primitive(primitive, gamma=gamma)


def _riemann(x: ndarray, y: ndarray, rng: np.random.Generator) -> ndarray:
    """Draw rho, p ~ U(0.1, 1), v_x, v_y ~ U(-1, 1) in each quadrant; the cross at U(0, 1)^2."""
    states, corner = _quadrant_states(rng), rng.uniform(0.0, 1.0, 2)
    return _fill_quadrants(states, (x - corner[0]) % 1.0, (y - corner[1]) % 1.0)


def _curved(x: ndarray, y: ndarray, rng: np.random.Generator) -> ndarray:
    """As ``riemann``; each interface moved by sum_k a_k sin(2 pi (k s + phase_k)), k = 1, 2, a_k ~ U(0, 0.06)."""
    states, corner = _quadrant_states(rng), rng.uniform(0.0, 1.0, 2)
    bent_x = x - corner[0] + _waves(y, 0.06, rng)
    bent_y = y - corner[1] + _waves(x, 0.06, rng)
    return _fill_quadrants(states, bent_x % 1.0, bent_y % 1.0)


def _kelvin_helmholtz(x: ndarray, y: ndarray, rng: np.random.Generator) -> ndarray:
    """A band of rho ~ U(1.5, 2.5), v_x = +U(0.4, 0.6) in rho = 1, v_x = -(same), p = 2.5; layers at y = 1/4 and 3/4.

    Both jumps are tanh profiles of half width 0.02 whose positions move by waves of amplitude U(0, 0.02); v_y carries
    0.02 sin waves to set the instability off. The whole field is moved by U(0, 1)^2.
    """
    rho_band, speed = rng.uniform(1.5, 2.5), rng.uniform(0.4, 0.6)
    shift = rng.uniform(0.0, 1.0, 2)
    x, y = (x - shift[0]) % 1.0, (y - shift[1]) % 1.0
    # Distance into the band from its nearer layer; the two layers have waves of their own.
    into_band = np.where(y < 0.5, y - 0.25 + _waves(x, 0.02, rng), 0.75 - y + _waves(x, 0.02, rng))
    band = 0.5 * (1.0 + np.tanh(into_band / 0.02))
    rho = 1.0 + (rho_band - 1.0) * band
    return np.stack([rho, speed * (2.0 * band - 1.0), _waves(x, 0.02, rng), np.full_like(x, 2.5)])


def _gaussian(x: ndarray, y: ndarray, rng: np.random.Generator) -> ndarray:
    """Four bumps each in rho = 1 + ... and p = 1 + ...; v ~ U(-0.5, 0.5)^2.

    Amplitudes U(-0.2, 0.6), widths U(0.05, 0.15).
    """
    velocity = rng.uniform(-0.5, 0.5, 2)
    rho, pressure = _bumps(x, y, rng), _bumps(x, y, rng)
    return np.stack([rho, np.full_like(x, velocity[0]), np.full_like(x, velocity[1]), pressure])


def _quadrant_states(rng: np.random.Generator) -> Float[ndarray, "2 2 4"]:
    low, high = np.array([0.1, -1.0, -1.0, 0.1]), np.ones(4)
    return rng.uniform(low, high, (2, 2, 4))


def _fill_quadrants(states: ndarray, x: ndarray, y: ndarray) -> ndarray:
    return np.moveaxis(states[(x >= 0.5).astype(int), (y >= 0.5).astype(int)], -1, 0)


def _waves(position: ndarray, largest: float, rng: np.random.Generator) -> ndarray:
    """sum_k a_k sin(2 pi (k s + phase_k)), a_k ~ U(0, largest), k = 1 .. 2."""
    amplitudes, phases = rng.uniform(0.0, largest, _NUM_WAVES), rng.uniform(0.0, 1.0, _NUM_WAVES)
    numbers = np.arange(1, _NUM_WAVES + 1)
    return np.sin(2.0 * np.pi * (position[..., None] * numbers + phases)) @ amplitudes


def _bumps(x: ndarray, y: ndarray, rng: np.random.Generator) -> ndarray:
    """1 + periodic Gaussian bumps, kept above 0.2 by what at most four of amplitude -0.2 can add up to."""
    field = np.ones_like(x)
    for _ in range(_NUM_BUMPS):
        centre, width, amplitude = rng.uniform(0.0, 1.0, 2), rng.uniform(0.05, 0.15), rng.uniform(-0.2, 0.6)
        # 1 - cos is the periodic stand-in for a squared distance: (2 pi d)^2 / 2 near the centre.
        distance = 2.0 - np.cos(2.0 * np.pi * (x - centre[0])) - np.cos(2.0 * np.pi * (y - centre[1]))
        field += amplitude * np.exp(-distance / (2.0 * np.pi * width) ** 2)
    return field


EULER_FAMILIES: dict[str, Callable[[ndarray, ndarray, np.random.Generator], ndarray]] = {
    "riemann": _riemann,
    "curved": _curved,
    "kelvin": _kelvin_helmholtz,
    "gaussian": _gaussian,
}
