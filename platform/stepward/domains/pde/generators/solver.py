"""The classical solver as a proposer: the baseline that any surrogate with a solver inside its reward must face."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from stepward.core.batch import repeat
from stepward.core.config import Config
from stepward.core.seeding import Rng
from stepward.domains.pde.solver import EulerSolver
from stepward.domains.pde.states import PDEStates, advance, as_numpy
from stepward.domains.pde.surrogates import as_tensor


class SolverSettings(Config):
    """One step of the finite-volume solver from the state, on a grid coarser by a factor."""

    kind: Literal["solver"] = "solver"
    dt: float = Field(0.05, gt=0, description="time between frames")
    coarsen_by: int = Field(1, ge=1, description="factor by which the grid is coarser; 1: the grid of the data")
    gamma: float = Field(1.4, gt=1, description="ratio of specific heats")

    def build(self) -> SolverProposer:
        return SolverProposer(self)


class SolverProposer:
    """All candidates are the solver's answer. It has no weights: its cost is in seconds."""

    num_parameters = 0
    nfe = 0

    def __init__(self, settings: SolverSettings) -> None:
        self.settings, self._solver = settings, EulerSolver(gamma=settings.gamma)

    def propose(self, states: PDEStates, *, num_candidates: int, rng: Rng) -> PDEStates:
        following = self._solver.advance(
            as_numpy(states.fields), self.settings.dt, coarsen_by=self.settings.coarsen_by, on_unphysical="nan"
        ).astype(np.float32)
        repeated = np.repeat(following, num_candidates, axis=0)
        given = repeated if isinstance(states.fields, np.ndarray) else as_tensor(repeated, states.fields.device)
        return advance(repeat(states, num_candidates), given, given, np.zeros(len(repeated), np.uint64))
