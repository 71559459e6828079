"""The Burgers solver against the Cole-Hopf solution, in one dimension and along a diagonal in two."""

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from stepward.domains.pde.solver import BurgersSolver, coarsen
from stepward.domains.pde.solver.burgers_initial import sample_burgers


def _potential(x, t, viscosity):
    """A solution of the heat equation, positive and of period 1."""
    k = 2 * np.pi
    decay = np.exp(-viscosity * k**2 * t)
    return 1.05 + decay * np.cos(k * x) / 2 + 0.4 * decay**4 * np.sin(2 * k * x)


def _cole_hopf(cells, t, viscosity):
    """Exact cell averages of u = -2 nu d_x ln(theta): a difference of ln(theta) at the faces."""
    faces = np.arange(cells + 1) / cells
    return -2 * viscosity * np.diff(np.log(_potential(faces, t, viscosity))) * cells


def test_one_dimension_converges_to_cole_hopf_at_second_order():
    errors = []
    for cells in (64, 128, 256):
        result = BurgersSolver(viscosity=0.01).advance(_cole_hopf(cells, 0.0, 0.01)[None, None], 0.5)
        errors.append(np.abs(result[0, 0] - _cole_hopf(cells, 0.5, 0.01)).mean())
    assert (np.log2(np.array(errors[:-1]) / errors[1:]) > 1.8).all()
    assert errors[-1] < 1e-3 * np.abs(_cole_hopf(256, 0.5, 0.01)).mean()


def test_a_steep_front_agrees_with_cole_hopf():
    """u_0 = sin(2 pi x), nu = 0.005 at t = 0.3: a front of width about 0.02, by quadrature of Cole-Hopf's formula."""
    viscosity, t, cells = 0.005, 0.3, 256
    nodes = np.linspace(-8.0, 8.0, 4001)
    weights = np.exp(-(nodes**2))  # the trapezoidal rule is spectrally accurate for a decaying integrand
    x = (np.arange(cells) + 0.5) / cells
    y = x[:, None] - np.sqrt(4 * viscosity * t) * nodes
    exponent = np.cos(2 * np.pi * y) / (4 * np.pi * viscosity)  # -1 / (2 nu) times the integral of u_0
    kernel = weights * np.exp(exponent - exponent.max(axis=1, keepdims=True))
    exact = (kernel * np.sin(2 * np.pi * y)).sum(axis=1) / kernel.sum(axis=1)
    initial = np.sinc(1 / cells) * np.sin(2 * np.pi * x)
    result = BurgersSolver(viscosity=viscosity).advance(initial[None, None], t)[0, 0]
    assert np.abs(result - exact).mean() < 2e-3 * np.abs(exact).mean()
    assert np.abs(np.gradient(exact, 1 / cells)).max() > 3 * 2 * np.pi  # it has steepened


def test_two_dimensions_reduce_to_one_along_the_diagonal():
    """u(x, y, t) = w(x + y, 2 t) solves the scalar equation in the plane when w solves it on the line."""
    viscosity, t = 0.01, 0.2
    errors = []
    for cells in (32, 64):
        # Averages over squares, by averages of fine central values.
        fine = (np.arange(4 * cells) + 0.5) / (4 * cells)
        diagonal = fine[:, None] + fine

        def exact(time, diagonal=diagonal):
            step = 1e-5
            upper, lower = (_potential(diagonal + sign * step, 2 * time, viscosity) for sign in (1, -1))
            return coarsen(-2 * viscosity * (np.log(upper) - np.log(lower)) / (2 * step), 4)

        result = BurgersSolver(viscosity=viscosity).advance(exact(0.0)[None, None], t)
        errors.append(np.abs(result[0, 0] - exact(t)).mean() / np.abs(exact(t)).mean())
    assert np.log2(errors[0] / errors[1]) > 1.7
    assert errors[1] < 0.02


@pytest.mark.parametrize("num_axes", [1, 2])
def test_the_integral_is_conserved_and_extrema_do_not_grow(num_axes):
    initial = sample_burgers(seed=0, indices=range(4), resolution=32, num_axes=num_axes)
    final = BurgersSolver(viscosity=0.001).advance(initial, 1.0)
    axes = tuple(range(2, initial.ndim))
    drift = np.abs((final - initial).sum(axis=axes)) / np.abs(initial).sum(axis=axes)
    assert drift.max() <= 1e-12
    assert (final.max(axis=axes) <= initial.max(axis=axes) + 1e-12).all()
    assert (final.min(axis=axes) >= initial.min(axis=axes) - 1e-12).all()
    assert (np.abs(final).mean(axis=axes) < np.abs(initial).mean(axis=axes)).all()


def test_inviscid_shock_moves_at_the_speed_of_rankine_and_hugoniot():
    cells = 400
    x = (np.arange(cells) + 0.5) / cells
    initial = np.where((x > 0.1) & (x < 0.3), 1.0, 0.0)
    result = BurgersSolver(viscosity=0.0).advance(initial[None, None], 0.3)[0, 0]
    # A fan of width t behind the shock, which is at 0.3 + t / 2 until the fan catches up at t = 0.4.
    exact = np.where(x < 0.45, np.clip((x - 0.1) / 0.3, 0.0, 1.0), 0.0)
    assert np.abs(result - exact).mean() < 2.0 / cells


def test_samples_are_a_function_of_seed_and_index_and_exact_averages():
    together = sample_burgers(seed=7, indices=[3, 1], resolution=32, num_axes=2)
    np.testing.assert_array_equal(together[1:], sample_burgers(seed=7, indices=[1], resolution=32, num_axes=2))
    fine = sample_burgers(seed=7, indices=[3, 1], resolution=64, num_axes=2)
    np.testing.assert_allclose(coarsen(fine, 2), together, rtol=0, atol=1e-13)


def test_trajectories_and_errors():
    initial = sample_burgers(seed=0, indices=range(2), resolution=32)
    solver = BurgersSolver(viscosity=0.01)
    frames = solver.simulate(initial, num_steps=2, dt=0.1)
    np.testing.assert_array_equal(frames[:, 0], initial)
    np.testing.assert_array_equal(frames[:, 2], solver.advance(solver.advance(initial, 0.1), 0.1))
    with pytest.raises(ValueError, match="ill-posed"):
        BurgersSolver(viscosity=-1.0)
    with pytest.raises((ValueError, TypeCheckError)):
        solver.advance(np.zeros((2, 3, 16)), 0.1)
    bad = initial.copy()
    bad[1, 0, 4] = np.nan
    with pytest.raises(ValueError, match=r"sample 1 \(1 of 2\)"):
        solver.advance(bad, 0.1)
