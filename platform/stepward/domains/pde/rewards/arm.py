"""Analytical reward models: how far a step is from what the equations conserve. No weights, no training.

Global gaps cannot tell candidates apart that conserve alike: in the periodic Euler problem a surrogate's candidates
differ in where things are, not in how much there is. Report pair accuracy beside any use (.47 was measured, chance is
.5).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field, model_validator

from stepward.core.config import Config
from stepward.core.interfaces import Domain
from stepward.domains.pde.grids import by_grid
from stepward.domains.pde.rewards.common import finite_scores
from stepward.domains.pde.states import Fields, PDEStates, as_numpy

TINY = 1e-12


class ARMSettings(Config):
    """Gaps of global sums. The source's form: mass 1, energy .1 or 1, negativity .5, energy_form squared."""

    kind: Literal["arm"] = "arm"
    mass: float = Field(1.0, ge=0, description="weight of the gap in total mass")
    momentum: float = Field(1.0, ge=0, description="weight of the gap in total momentum, all components")
    energy: float = Field(1.0, ge=0, description="weight of the gap in total energy")
    negativity: float = Field(0.5, ge=0, description="weight of negative density, mean over cells")
    relative: bool = Field(False, description="divide each gap by the mean absolute field of the parent")
    energy_form: Literal["total", "squared"] = Field("total", description="squared: the sum of squares of the field")

    @model_validator(mode="after")
    def _some_weight(self) -> ARMSettings:
        if not self.mass + self.momentum + self.energy + self.negativity > 0:
            raise ValueError("expected one weight above 0 at least: with all at 0 every step scores the same")
        return self

    def build(self, domain: Domain) -> ARM:
        """The analytical reward model with these weights."""
        return ARM(self)


class ARM:
    """score = −Σ weight · gap, a number a row; fields are (ρ, m_x, m_y, E)."""

    num_parameters = 0

    def __init__(self, settings: ARMSettings) -> None:
        self.settings = settings

    def score(self, parents: PDEStates, children: PDEStates) -> Float[np.ndarray, " n"]:
        """Minus the weighted gaps of each step."""
        weights = self.settings
        total = np.sum(
            [getattr(weights, name) * gap for name, gap in self.components(parents, children).items()], axis=0
        )
        return finite_scores(-total)

    def components(self, parents: PDEStates, children: PDEStates) -> dict[str, Float[np.ndarray, " n"]]:
        """Name -> gap of every step, >= 0, before weights; for step logs.

        Raises:
            ValueError: fields that are not (ρ, m_x, m_y, E), or a weight on a sum that the boundary does not keep.
        """
        before, after = (_euler(s.fields) for s in (parents, children))
        self._check_boundary(parents)
        if self.settings.energy_form == "squared":
            before, after = (np.concatenate([f[:, :3], f[:, 3:] ** 2], axis=1) for f in (before, after))
        with np.errstate(over="ignore", invalid="ignore"):
            gap = np.abs((after - before).mean(axis=(2, 3)))
            if self.settings.relative:
                gap = gap / (np.abs(before).mean(axis=(2, 3)) + TINY)
            return {
                "mass": gap[:, 0],
                "momentum": gap[:, 1] + gap[:, 2],
                "energy": gap[:, 3],
                "negativity": -np.minimum(after[:, 0], 0.0).mean(axis=(1, 2)),
            }

    def _check_boundary(self, parents: PDEStates) -> None:
        weights = self.settings
        sums = [name for name in ("mass", "momentum", "energy") if getattr(weights, name)]
        for grid, _ in by_grid(parents.reference):
            ends = set() if grid is None else set(grid.boundary) - {"periodic"}
            lost = sums if ends - {"wall"} else [name for name in sums if ends and name == "momentum"]
            if grid is not None and lost:
                raise ValueError(
                    f"ARM: {' and '.join(lost)} {'is' if len(lost) == 1 else 'are'} not conserved where the boundary "
                    f"is {', '.join(grid.boundary)} ({grid.source}). Set {', '.join(f'{name}=0' for name in lost)}."
                )


def _euler(fields: Fields) -> Float[np.ndarray, "n 4 h w"]:
    """Fields in fp64: sums over cells of fp32 lose the gaps."""
    array = as_numpy(fields).astype(np.float64)
    if array.shape[1] != 4:
        raise ValueError(
            f"ARM: expected the 4 fields (density, momentum_x, momentum_y, energy), got {array.shape[1]}. It knows the "
            "sums of a gas only; leave it out for other data."
        )
    return array
