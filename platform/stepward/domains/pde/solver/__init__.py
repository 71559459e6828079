"""Finite-volume solvers that make the data, the labels and the classical baselines of this domain."""

from stepward.domains.pde.solver.burgers import BurgersSolver
from stepward.domains.pde.solver.burgers_initial import sample_burgers
from stepward.domains.pde.solver.euler import EulerSolver
from stepward.domains.pde.solver.residual import flux_residual, step_residual
from stepward.domains.pde.solver.state import (
    CONSERVED_CHANNELS,
    PRIMITIVE_CHANNELS,
    UnphysicalStateError,
    check_physical,
    coarsen,
    conserved_from_primitive,
    primitive_from_conserved,
    prolong,
)

__all__ = [
    "CONSERVED_CHANNELS",
    "PRIMITIVE_CHANNELS",
    "BurgersSolver",
    "EulerSolver",
    "UnphysicalStateError",
    "check_physical",
    "coarsen",
    "conserved_from_primitive",
    "flux_residual",
    "primitive_from_conserved",
    "prolong",
    "sample_burgers",
    "step_residual",
]
