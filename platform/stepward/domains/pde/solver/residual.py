"""How badly a candidate next state violates the discrete conservation law, cell by cell.

Two residuals with the same flux as the solver, both in units of d_t U and zero for a perfect candidate up to their own
truncation error:

``flux_residual``: one flux evaluation at each end, no time stepping,
    R = (U' - U) / dt + (div F(U) + div F(U')) / 2        (trapezoidal rule in time, second order)
    Local (a stencil of five cells an axis) and cheap, but dt has to be within a few CFL steps to say something sharp.
``step_residual``: the candidate against the solver's own step from the same state,
    R = (U' - S_dt(U)) / dt
    Right for any dt, and as strong a reward as the solver itself: a reward built on it is a solver in disguise, so
    report the solver alone beside it.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from stepward.domains.pde.solver.euler import EulerSolver

__all__ = ["flux_residual", "step_residual"]


def flux_residual(
    state: Float[ndarray, "n 4 nx ny"], candidate: Float[ndarray, "n 4 nx ny"], dt: float, *, solver: EulerSolver
) -> Float[ndarray, "n 4 nx ny"]:
    """Trapezoidal finite-volume residual of the step ``state`` -> ``candidate`` over ``dt``.

    Samples whose candidate is unphysical have no flux and come back as NaN; rank them last. The state must be physical.

    Raises:
        UnphysicalStateError: ``state`` is unphysical.
        ValueError: shapes differ, or ``dt`` is not positive.
    """
    _check(state, candidate, dt)
    before = solver.flux_divergence(state)
    after = solver.flux_divergence(candidate, on_unphysical="nan")
    return (candidate.astype(np.float64) - state) / dt + 0.5 * (before + after)


def step_residual(
    state: Float[ndarray, "n 4 nx ny"],
    candidate: Float[ndarray, "n 4 nx ny"],
    dt: float,
    *,
    solver: EulerSolver,
    coarsen_by: int = 1,
) -> Float[ndarray, "n 4 nx ny"]:
    """Difference of ``candidate`` to the solver's step from ``state``, per unit time."""
    _check(state, candidate, dt)
    return (candidate - solver.advance(state, dt, coarsen_by=coarsen_by)) / dt


def _check(state: ndarray, candidate: ndarray, dt: float) -> None:
    if state.shape != candidate.shape:
        raise ValueError(
            f"expected one candidate a state; got states {state.shape} and candidates {candidate.shape}. "
            "Repeat the states to match (np.repeat(states, K, axis=0))."
        )
    if not dt > 0.0:
        raise ValueError(f"expected dt > 0; got {dt}.")
