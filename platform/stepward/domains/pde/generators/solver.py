"""The classical solver as a proposer: the baseline that any surrogate with a solver inside its reward must face."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from stepward.core.batch import repeat
from stepward.core.config import Config
from stepward.core.seeding import Rng
from stepward.domains.pde.grids import by_grid, euler_solver
from stepward.domains.pde.states import PDEStates, advance, as_numpy
from stepward.domains.pde.surrogates import as_tensor


class SolverSettings(Config):
    """One step of the finite-volume solver from the state, on a grid coarser by a factor."""

    kind: Literal["solver"] = "solver"
    dt: float | None = Field(None, gt=0, description="time between frames; none: the data's")
    coarsen_by: int = Field(1, ge=1, description="factor by which the grid is coarser; 1: the grid of the data")
    gamma: float | None = Field(None, gt=1, description="ratio of specific heats; none: the data's")

    def build(self) -> SolverProposer:
        """The proposer; it loads no network."""
        return SolverProposer(self)


class SolverProposer:
    """All candidates are the solver's answer. It has no weights: its cost is in seconds."""

    num_parameters = 0
    nfe = 0

    def __init__(self, settings: SolverSettings) -> None:
        self.settings = settings

    def propose(self, states: PDEStates, *, num_candidates: int, rng: Rng) -> PDEStates:
        """One solver step of every state, k times over; the same fields are its deterministic output."""
        repeated = np.repeat(self._step(states), num_candidates, axis=0)
        given = repeated if isinstance(states.fields, np.ndarray) else as_tensor(repeated, states.fields.device)
        return advance(repeat(states, num_candidates), given, given, np.zeros(len(repeated), np.uint64))

    def _step(self, states: PDEStates) -> Float[np.ndarray, "n c h w"]:
        """One frame on, by the time step, constants and boundary of each state's data."""
        fields = as_numpy(states.fields)
        following = np.empty_like(fields)
        for grid, rows in by_grid(states.reference):
            given = {"gamma": self.settings.gamma, "dt": self.settings.dt}
            solver, dt = euler_solver(grid, fields.shape[2:], **given, who="Proposer 'solver'")
            coarse = self.settings.coarsen_by
            following[rows] = solver.advance(fields[rows], dt, coarsen_by=coarse, on_unphysical="nan")
        return following
