"""The Euler solver against exact solutions, conservation, and states it must refuse."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from stepward.domains.pde.initial_conditions import EULER_FAMILIES, sample_euler
from stepward.domains.pde.solver import (
    EulerSolver,
    UnphysicalStateError,
    coarsen,
    conserved_from_primitive,
    flux_residual,
    primitive_from_conserved,
    prolong,
    step_residual,
)
from stepward.domains.pde.solver.kernel import PERIODIC, advance_batch

_spec = importlib.util.spec_from_file_location("exact_riemann", Path(__file__).with_name("exact_riemann.py"))
exact_riemann = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(exact_riemann)


def _sod_error(cells: int, axis: int) -> float:
    left, right = (1.0, 0.0, 1.0), (0.125, 0.0, 0.1)
    x = (np.arange(cells) + 0.5) / cells
    rho, pressure = np.where(x < 0.5, left[0], right[0]), np.where(x < 0.5, left[2], right[2])
    profile = np.stack([rho, 0 * x, 0 * x, pressure])[:, :, None] * np.ones(4)
    primitive = profile if axis == 0 else np.swapaxes(profile, 1, 2)
    extent = (1.0, 4.0 / cells) if axis == 0 else (4.0 / cells, 1.0)
    solver = EulerSolver(boundary=("outflow", "outflow"), extent=extent)
    density = solver.advance(conserved_from_primitive(primitive[None]), 0.2)[0, 0]
    exact = exact_riemann.exact_density(left, right, (x - 0.5) / 0.2)
    return float(np.abs(np.moveaxis(density, axis, 0) - exact[:, None]).mean())


@pytest.mark.parametrize("axis", [0, 1])
def test_sod_density_error_against_the_exact_solution(axis):
    for cells, expected in ((100, 0.00545), (200, 0.00290), (400, 0.00161)):
        assert _sod_error(cells, axis) == pytest.approx(expected, rel=0.05)


def test_strong_riemann_problems_converge_to_the_exact_solution():
    """Toro's tests 2 (near vacuum) and 3 (pressure ratio 1e5): L1 errors fall, and density stays positive."""
    for left, right, end in (
        ((1.0, -2.0, 0.4), (1.0, 2.0, 0.4), 0.15),
        ((1.0, 0.0, 1000.0), (1.0, 0.0, 0.01), 0.012),
    ):
        errors = []
        for cells in (100, 400):
            x = (np.arange(cells) + 0.5) / cells
            columns = [np.where(x < 0.5, a, b) for a, b in zip(left, right, strict=True)]
            primitive = np.stack([columns[0], columns[1], 0 * x, columns[2]])[None, :, :, None] * np.ones(2)
            solver = EulerSolver(boundary=("outflow", "outflow"), extent=(1.0, 2.0 / cells))
            density = solver.advance(conserved_from_primitive(primitive), end)[0, 0, :, 0]
            errors.append(np.abs(density - exact_riemann.exact_density(left, right, (x - 0.5) / end)).mean())
        assert errors[1] < 0.5 * errors[0]  # first order in L1 at discontinuities would be a quarter


def test_smooth_advection_is_second_order():
    """A density wave carried by uniform flow is advected unchanged; limited schemes lose a little at extrema."""
    errors = []
    for cells in (32, 64, 128):
        x, y = np.meshgrid(*[(np.arange(cells) + 0.5) / cells] * 2, indexing="ij")
        average = np.sinc(1.0 / cells) ** 2  # cell average of a sine wave over its central value

        def density(t, x=x, y=y, average=average):
            return 1.0 + 0.2 * average * np.sin(2 * np.pi * (x - t)) * np.sin(2 * np.pi * (y - 0.5 * t))

        primitive = np.stack([density(0.0), np.ones_like(x), 0.5 * np.ones_like(x), np.ones_like(x)])
        result = EulerSolver().advance(conserved_from_primitive(primitive[None]), 1.0)
        errors.append(np.abs(result[0, 0] - density(1.0)).mean())
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (orders > 1.8).all()


def test_every_family_conserves_mass_momentum_and_energy():
    for family in EULER_FAMILIES:
        initial = sample_euler(family, seed=3, indices=range(3), resolution=32)
        final = EulerSolver().advance(initial, 1.0)
        scale = np.abs(initial).sum(axis=(2, 3))
        drift = np.abs(final.sum(axis=(2, 3)) - initial.sum(axis=(2, 3))) / scale
        assert drift.max() <= 1e-12
        assert np.abs(final - initial).max() > 1e-3  # it did move


def test_mirrored_and_transposed_problems_give_mirrored_and_transposed_answers():
    initial = sample_euler("curved", seed=0, indices=[0], resolution=32)
    result = EulerSolver().advance(initial, 0.1)
    transposed = EulerSolver().advance(np.swapaxes(initial[:, [0, 2, 1, 3]], 2, 3), 0.1)
    np.testing.assert_allclose(np.swapaxes(transposed[:, [0, 2, 1, 3]], 2, 3), result, rtol=0, atol=1e-10)
    sign = np.array([1.0, -1.0, 1.0, 1.0])[:, None, None]
    mirrored = EulerSolver().advance(sign * initial[:, :, ::-1], 0.1)
    np.testing.assert_allclose(sign * mirrored[:, :, ::-1], result, rtol=0, atol=1e-10)


def test_a_result_does_not_depend_on_its_batch():
    initial = sample_euler("riemann", seed=1, indices=range(4), resolution=16)
    together = EulerSolver().advance(initial, 0.2)
    alone = EulerSolver().advance(initial[2:3], 0.2)
    np.testing.assert_array_equal(together[2:3], alone)


@given(seed=st.integers(0, 10_000), family=st.sampled_from(sorted(EULER_FAMILIES)))
@hypothesis_settings(max_examples=25)
def test_states_stay_physical(seed, family):
    initial = sample_euler(family, seed=seed, indices=[0], resolution=16)
    primitive = primitive_from_conserved(EulerSolver().advance(initial, 0.3))
    assert (primitive[:, [0, 3]] > 0).all()


def test_violent_states_fall_back_without_losing_conservation():
    """Random noise over six decades of pressure, which second order alone does not survive."""
    rng = np.random.default_rng(0)
    primitive = np.stack(
        [
            10.0 ** rng.uniform(-3, 0, (6, 16, 16)),
            *rng.uniform(-4, 4, (2, 6, 16, 16)),
            10.0 ** rng.uniform(-5, 1, (6, 16, 16)),
        ],
        axis=1,
    )
    initial = conserved_from_primitive(primitive)
    final = EulerSolver().advance(initial, 0.05)
    assert (primitive_from_conserved(final)[:, [0, 3]] > 0).all()
    drift = np.abs((final - initial).sum(axis=(2, 3))) / np.abs(initial).sum(axis=(2, 3))
    assert drift.max() <= 1e-12
    counts, spacing = np.zeros((6, 2), dtype=np.int64), 1 / 16
    advance_batch(
        initial.copy(), 0.05, spacing, spacing, 0.4, 1.4, (PERIODIC, PERIODIC), np.empty(6, dtype=np.int64), counts
    )
    assert (counts[:, 1] > 0).all()  # every sample needed the fallback


def test_a_state_that_needs_endless_steps_is_given_up():
    fields = sample_euler("gaussian", seed=0, indices=range(2), resolution=16)
    fields[1, :, 4, 5] = (1e-14, 1.0, 0.0, 1e15)
    with pytest.raises(UnphysicalStateError, match=r"steps of useful length.*cell \(4, 5\) of sample 1"):
        EulerSolver().advance(fields, 0.1)
    assert np.isfinite(EulerSolver().advance(fields, 0.1, on_unphysical="nan")[0]).all()


def test_unphysical_input_is_named_or_filled():
    fields = sample_euler("gaussian", seed=0, indices=range(3), resolution=16)
    fields[1, 0, 5, 7] = -0.1
    with pytest.raises(UnphysicalStateError, match=r"cell \(5, 7\) of sample 1") as caught:
        EulerSolver().advance(fields, 0.1)
    assert (caught.value.sample, caught.value.cell) == (1, (5, 7))
    with pytest.raises(UnphysicalStateError, match="sample 1"):
        EulerSolver().simulate(fields, num_steps=1, dt=0.1)
    result = EulerSolver().advance(fields, 0.1, on_unphysical="nan")
    assert np.isnan(result[1]).all()
    assert np.isfinite(result[[0, 2]]).all()
    fields[1, 0, 5, 7] = np.nan
    with pytest.raises(UnphysicalStateError, match="nan"):
        EulerSolver().advance(fields, 0.1)


def test_wrong_settings_and_shapes_say_what_was_expected():
    good = sample_euler("gaussian", seed=0, indices=[0], resolution=16)
    with pytest.raises(ValueError, match="gamma > 1"):
        EulerSolver(gamma=1.0)
    with pytest.raises(ValueError, match="cfl"):
        EulerSolver(cfl=0.9)
    with pytest.raises(ValueError, match="duration >= 0"):
        EulerSolver().advance(good, -0.1)
    with pytest.raises(ValueError, match="divides the grid"):
        EulerSolver().advance(good, 0.1, coarsen_by=3)
    with pytest.raises(ValueError, match="family among"):
        sample_euler("vortex", seed=0, indices=[0], resolution=16)


def test_samples_are_a_function_of_seed_and_index():
    together = sample_euler("kelvin", seed=5, indices=[4, 9, 2], resolution=16)
    np.testing.assert_array_equal(together[1:2], sample_euler("kelvin", seed=5, indices=[9], resolution=16))
    assert np.abs(together[0] - together[1]).max() > 1e-3
    assert np.abs(together[1:2] - sample_euler("kelvin", seed=6, indices=[9], resolution=16)).max() > 1e-3
    fine = sample_euler("gaussian", seed=5, indices=[3], resolution=128)
    coarse = sample_euler("gaussian", seed=5, indices=[3], resolution=64)
    # The same function: the mean of four fine central values is off by h^2 / 32 of the Laplacian. For a bump of the
    # largest amplitude 0.6 and the least width 0.05 that is (1 / 64)^2 / 32 * 2 * 0.6 / 0.05^2, and 2.5 times so in E.
    np.testing.assert_allclose(coarsen(fine, 2), coarse, rtol=0, atol=2.5 * 2 * 0.6 / 0.05**2 / 64**2 / 32)


def test_coarsening_undoes_prolongation_and_linear_fields_are_reproduced():
    fields = sample_euler("curved", seed=0, indices=range(2), resolution=16)
    np.testing.assert_allclose(coarsen(prolong(fields, 4), 4), fields, rtol=0, atol=1e-13)
    ramp = np.arange(8.0)[:, None] + 2.0 * np.arange(8.0)
    fine = (np.arange(16) + 0.5) / 2 - 0.5
    expected = fine[:, None] + 2.0 * fine
    np.testing.assert_allclose(
        prolong(ramp, 2, boundary=("outflow", "outflow"))[2:-2, 2:-2], expected[2:-2, 2:-2], atol=1e-12
    )


def test_the_coarse_baseline_is_worse_than_the_fine_solver_and_better_than_standing_still():
    initial = sample_euler("gaussian", seed=2, indices=range(4), resolution=128)
    truth = coarsen(EulerSolver().advance(initial, 0.1), 2)
    start = coarsen(initial, 2)

    def error(result):
        return np.abs(result - truth).mean()

    same, coarse = (error(EulerSolver().advance(start, 0.1, coarsen_by=factor)) for factor in (1, 4))
    assert same < coarse < error(start)


def test_trajectories_hold_the_initial_state_and_repeated_steps():
    initial = sample_euler("gaussian", seed=0, indices=range(2), resolution=16)
    frames = EulerSolver().simulate(initial, num_steps=2, dt=0.05, average_by=2)
    assert frames.shape == (2, 3, 4, 8, 8)
    np.testing.assert_array_equal(frames[:, 0], coarsen(initial, 2))
    second = EulerSolver().advance(EulerSolver().advance(initial, 0.05), 0.05)
    np.testing.assert_array_equal(frames[:, 2], coarsen(second, 2))


def test_residuals_vanish_for_the_truth_and_tell_where_a_candidate_is_wrong():
    solver, dt = EulerSolver(), 0.002
    state = sample_euler("gaussian", seed=1, indices=range(2), resolution=32)
    truth = solver.advance(state, dt)
    bumped = truth.copy()
    bumped[:, 0, 10, 20] += 0.01
    np.testing.assert_array_equal(step_residual(state, truth, dt, solver=solver), 0.0)
    scale = np.abs(solver.flux_divergence(state)).mean()
    assert np.abs(flux_residual(state, truth, dt, solver=solver)).mean() < 0.02 * scale
    for residual in (flux_residual, step_residual):
        wrong = np.abs(residual(state, bumped, dt, solver=solver)[:, 0])
        assert all(np.unravel_index(sample.argmax(), sample.shape) == (10, 20) for sample in wrong)
        assert wrong[:, 10, 20] == pytest.approx(0.01 / dt, rel=0.2)
    # Away from the bump's stencil (two cells) nothing changed.
    far = np.ones((32, 32), dtype=bool)
    far[8:13, 18:23] = False
    clean, marked = (flux_residual(state, c, dt, solver=solver)[:, :, far] for c in (truth, bumped))
    np.testing.assert_allclose(marked, clean, rtol=0, atol=1e-12)


def test_trapezoidal_residual_is_second_order_in_time():
    solver = EulerSolver()
    state = sample_euler("gaussian", seed=4, indices=[0], resolution=32)
    fine = EulerSolver(cfl=0.05)
    sizes = [
        np.abs(flux_residual(state, fine.advance(state, dt), dt, solver=solver)).mean() for dt in (0.02, 0.01, 0.005)
    ]
    assert (np.log2(np.array(sizes[:-1]) / sizes[1:]) > 1.6).all()


def test_an_unphysical_candidate_has_no_residual():
    state = sample_euler("gaussian", seed=1, indices=range(2), resolution=16)
    candidate = state.copy()
    candidate[0, 0, 3, 3] = -1.0
    residual = flux_residual(state, candidate, 0.01, solver=EulerSolver())
    assert np.isnan(residual[0]).all()
    assert np.isfinite(residual[1]).all()
    with pytest.raises((ValueError, TypeCheckError)):  # the run-time checker of the tests may be first
        flux_residual(state, candidate[:1], 0.01, solver=EulerSolver())


def test_walls_reflect_and_let_no_mass_or_energy_pass():
    """A flow between walls is the half of a periodic one with its mirror image; the other axis stays periodic."""
    half = sample_euler("gaussian", seed=3, indices=[0, 1], resolution=16)[..., :8, :]
    mirror = half[..., ::-1, :].copy()
    mirror[:, 1] *= -1.0
    whole = np.concatenate([half, mirror], axis=2)
    expected = EulerSolver(extent=(2.0, 1.0)).advance(whole, 0.1)[:, :, :8]
    got = EulerSolver(boundary=("wall", "periodic")).advance(half, 0.1)
    np.testing.assert_allclose(got, expected, atol=1e-12)
    across = EulerSolver(boundary=("periodic", "wall")).advance(_transposed(half), 0.1)
    np.testing.assert_allclose(across, _transposed(expected), atol=1e-12)
    conserved = got.sum(axis=(2, 3)) - half.sum(axis=(2, 3))
    assert np.abs(conserved[:, [0, 2, 3]]).max() < 1e-11
    with pytest.raises((ValueError, TypeCheckError)):
        EulerSolver(boundary=("wall", "sticky"))


def _transposed(fields):
    return np.ascontiguousarray(np.swapaxes(fields, 2, 3)[:, [0, 2, 1, 3]])
