"""The Euler solver against pyro-hydro, an independent code (`reference/make_pyro_reference.py` made the arrays).

Both codes run pyro's own problems on the same grid from the same cell values; results are averaged to the 64 x 64
cells stored. "Within 2 %" is the L1 difference over the L1 norm, for density, for energy and for the whole state. The
momenta alone differ by 5.9 % in the quadrant problem, where a thin unstable jet carries them. That is a difference of
schemes and not an error: pyro with our limiter and time stepping agrees in every field, the momenta included.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from stepward.domains.pde.solver import EulerSolver, coarsen, conserved_from_primitive

REFERENCE = Path(__file__).parent / "reference"


def _centres(cells: int) -> tuple[np.ndarray, np.ndarray]:
    x = (np.arange(cells) + 0.5) / cells
    return np.meshgrid(x, x, indexing="ij")


def _quadrants(cells: int) -> np.ndarray:
    """Configuration 3 of Lax and Liu (1998), cross at (0.8, 0.8), with the values of pyro's inputs.quad."""
    x, y = _centres(cells)
    fast, low, corner = 1.206045378311055, 0.532258064516129, (0.137992831541219, 0.029032258064516)
    right, top = x >= 0.8, y >= 0.8
    rho = np.where(right & top, 1.4, np.where(right | top, low, corner[0]))
    pressure = np.where(right & top, 1.5, np.where(right | top, 0.3, corner[1]))
    return conserved_from_primitive(
        np.stack([rho, np.where(right, 0.0, fast), np.where(top, 0.0, fast), pressure])[None]
    )


def _kelvin_helmholtz(cells: int) -> np.ndarray:
    """McNally, Lyra and Passy (2012), with the values of pyro's inputs.kh."""
    x, y = _centres(cells)
    distance = np.minimum(np.abs(y - 0.25), np.abs(y - 0.75))
    inside = (y >= 0.25) & (y < 0.75)
    ramp = 0.5 * np.exp(-distance / 0.025)
    rho = np.where(inside, 2.0 - ramp, 1.0 + ramp)
    velocity = np.where(inside, 0.5 - ramp, -0.5 + ramp)
    return conserved_from_primitive(np.stack([rho, velocity, 0.01 * np.sin(4 * np.pi * x), np.full_like(x, 2.5)])[None])


@lru_cache
def _advanced(initial, boundary, cells: int, end_time: float) -> np.ndarray:
    return EulerSolver(boundary=(boundary, boundary)).advance(initial(cells), end_time)


@pytest.mark.parametrize(
    ("name", "initial", "boundary"),
    [
        ("pyro_quad_128_t0.8", _quadrants, "outflow"),
        ("pyro_kh_128_t1", _kelvin_helmholtz, "periodic"),
        pytest.param("pyro_quad_256_t0.8", _quadrants, "outflow", marks=pytest.mark.slow),
    ],
)
def test_within_two_per_cent_of_pyro(name, initial, boundary):
    with np.load(REFERENCE / f"{name}.npz") as stored:
        reference, cells, end_time = stored["fields"].astype(float), int(stored["cells"]), float(stored["end_time"])
    start = initial(cells)
    result = coarsen(_advanced(initial, boundary, cells, end_time), cells // reference.shape[-1])[0]
    difference, norm = np.abs(result - reference).mean(axis=(1, 2)), np.abs(reference).mean(axis=(1, 2))
    assert (difference[[0, 3]] <= 0.02 * norm[[0, 3]]).all()
    assert difference.sum() <= 0.02 * norm.sum()
    # The comparison means something: the state has moved much further than that since the start.
    moved = np.abs(coarsen(start, cells // reference.shape[-1])[0] - reference).mean(axis=(1, 2))
    assert (moved > 2 * difference).all()


def test_pyro_with_our_limiter_and_time_stepping_agrees_in_every_field():
    with np.load(REFERENCE / "pyro_quad_128_t0.8_matched.npz") as stored:
        reference, cells, end_time = stored["fields"].astype(float), int(stored["cells"]), float(stored["end_time"])
    result = coarsen(_advanced(_quadrants, "outflow", cells, end_time), cells // 64)[0]
    difference, norm = np.abs(result - reference).mean(axis=(1, 2)), np.abs(reference).mean(axis=(1, 2))
    # Measured: density .04 %, momenta .15 %, energy .04 %. Wave speeds and step lengths are still each code's own.
    assert (difference <= 0.005 * norm).all()
