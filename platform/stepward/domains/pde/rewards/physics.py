"""Local analytical rewards: residual of the discrete conservation law, entropy, positivity.

A residual reward is as strong as the solver inside it, and a solver is what a surrogate is meant to replace: show the
solver alone beside it (proposer kind "solver").
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator

from stepward.core.config import Config
from stepward.core.interfaces import Domain
from stepward.domains.pde.grids import by_grid, euler_solver
from stepward.domains.pde.rewards.common import finite_scores
from stepward.domains.pde.solver import EulerSolver, flux_residual
from stepward.domains.pde.states import PDEStates, as_numpy


class PhysicsSettings(Config):
    """Weights of the local terms; each term is of order 1 or below."""

    kind: Literal["physics"] = "physics"
    residual: float = Field(1.0, ge=0, description="weight of the finite-volume residual, relative to the fields")
    entropy: float = Field(0.0, ge=0, description="weight of a fall of total entropy, which physics forbids")
    positivity: float = Field(1.0, ge=0, description="weight of negative density and pressure, mean over cells")
    residual_form: Literal["flux", "step"] = Field(
        "step", description="flux: fluxes at both ends, for small steps; step: the solver's own step, right for any"
    )
    coarsen_by: int = Field(1, ge=1, description="coarser grid of the step's solver; the flux form does not use it")
    dt: float | None = Field(None, gt=0, description="time between frames; none: the data's")
    gamma: float | None = Field(None, gt=1, description="ratio of specific heats; none: the data's")

    @model_validator(mode="after")
    def _effective(self) -> PhysicsSettings:
        if not self.residual + self.entropy + self.positivity > 0:
            raise ValueError("expected one weight above 0 at least: with all at 0 every step scores the same")
        if self.residual_form == "flux" and self.coarsen_by != 1:
            raise ValueError("coarsen_by has no effect on residual_form='flux'; leave it out or use 'step'")
        return self

    def build(self, domain: Domain) -> PhysicsReward:
        """The reward model with these weights."""
        return PhysicsReward(self)


class PhysicsReward:
    """score = −Σ weight · term. A step from or to a state without positive density and pressure has no residual:
    WORST.
    """

    num_parameters = 0

    def __init__(self, settings: PhysicsSettings) -> None:
        self.settings = settings

    def score(self, parents: PDEStates, children: PDEStates) -> Float[np.ndarray, " n"]:
        """Minus the weighted terms of each step."""
        terms = self.components(parents, children)
        return finite_scores(-np.sum([getattr(self.settings, name) * term for name, term in terms.items()], axis=0))

    def components(self, parents: PDEStates, children: PDEStates) -> dict[str, Float[np.ndarray, " n"]]:
        """Name -> term of every step, >= 0, of those with a weight; NaN where it does not exist.

        Raises:
            ValueError: fields that are not those of a gas, ends that the solver does not know, entropy of an open
                system.
        """
        before, after = (as_numpy(s.fields).astype(np.float64) for s in (parents, children))
        if after.shape[1] != 4:
            raise ValueError(
                "Physics reward: expected the 4 fields (density, momentum_x, momentum_y, energy), got "
                f"{after.shape[1]}. It knows the Euler equations only; leave it out for other data."
            )
        weighted = [name for name in ("residual", "entropy", "positivity") if getattr(self.settings, name)]
        terms = {name: np.full(len(after), np.nan) for name in weighted}
        for grid, rows in by_grid(parents.reference):
            given = {"gamma": self.settings.gamma, "dt": self.settings.dt}
            solver, dt = euler_solver(grid, after.shape[2:], **given, who="Physics reward")
            with np.errstate(all="ignore"):
                for name, values in terms.items():
                    term = getattr(self, f"_{name}")
                    values[rows] = term(before[rows], after[rows], solver, dt)
        return terms

    def _entropy(
        self, before: np.ndarray, after: np.ndarray, solver: EulerSolver, dt: float
    ) -> Float[np.ndarray, " n"]:
        """The fall of total entropy."""
        if "outflow" in solver.boundary:
            raise ValueError(
                f"Physics reward: expected a closed system for the weight on entropy, but its boundary is "
                f"{solver.boundary}, where entropy may leave. Set entropy=0."
            )
        return np.maximum(_entropy(before, solver.gamma) - _entropy(after, solver.gamma), 0.0)

    def _positivity(
        self, before: np.ndarray, after: np.ndarray, solver: EulerSolver, dt: float
    ) -> Float[np.ndarray, " n"]:
        return _negative(after[:, 0]) + _negative(_pressure(after, solver.gamma))

    def _residual(
        self, before: np.ndarray, after: np.ndarray, solver: EulerSolver, dt: float
    ) -> Float[np.ndarray, " n"]:
        """Root mean square of R · dt over cells and channels, each channel relative to the parent's."""
        found = np.full(len(before), np.nan)
        good = np.flatnonzero(_physical(before, solver.gamma) & np.isfinite(after).all(axis=(1, 2, 3)))
        if not len(good):
            return found
        if self.settings.residual_form == "flux":
            residual = flux_residual(before[good], after[good], dt, solver=solver)
        else:  # siblings share a parent and its step, which is the expensive part: one a parent
            parents, sibling = distinct_rows(before[good])
            stepped = solver.advance(parents, dt, coarsen_by=self.settings.coarsen_by, on_unphysical="nan")
            residual = (after[good] - stepped[sibling]) / dt
        size = np.sqrt((before[good] ** 2).mean(axis=(2, 3), keepdims=True)) + 1e-12
        found[good] = np.sqrt(((residual * dt / size) ** 2).mean(axis=(1, 2, 3)))
        return found


def _physical(fields: np.ndarray, gamma: float) -> Bool[np.ndarray, " n"]:
    good = np.isfinite(fields).all(axis=1) & (fields[:, 0] > 0) & (_pressure(fields, gamma) > 0)
    return good.all(axis=(1, 2))


def _negative(values: np.ndarray) -> Float[np.ndarray, " n"]:
    """Minus the negative part, mean over cells."""
    return -np.minimum(values, 0).mean(axis=(1, 2))


def _pressure(fields: np.ndarray, gamma: float) -> Float[np.ndarray, "n h w"]:
    return (gamma - 1) * (fields[:, 3] - (fields[:, 1] ** 2 + fields[:, 2] ** 2) / (2 * fields[:, 0]))


def _entropy(fields: np.ndarray, gamma: float) -> Float[np.ndarray, " n"]:
    """Mean of ρ log(p / ρ^γ); it does not fall in a closed system."""
    density, pressure = fields[:, 0], _pressure(fields, gamma)
    return (density * np.log(pressure / density**gamma)).mean(axis=(1, 2))


def distinct_rows(fields: Float[np.ndarray, "n c h w"]) -> tuple[Float[np.ndarray, "m c h w"], Int[np.ndarray, " n"]]:
    """The different rows, and which of them each row is. Rows are told apart by all of their bytes."""
    rows = np.ascontiguousarray(fields).reshape(len(fields), int(np.prod(fields.shape[1:])))
    _, first, which = np.unique(
        rows.view(f"V{rows.shape[1] * rows.itemsize}")[:, 0], return_index=True, return_inverse=True
    )
    return fields[first], which.reshape(-1)
