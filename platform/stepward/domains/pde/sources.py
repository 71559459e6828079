"""Where trajectories of jobs/data.py come from: the project's solvers, or files of published data sets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from stepward.core.config import Config
from stepward.domains.pde.data import PDEProblems
from stepward.domains.pde.readers import READERS, FieldBlock, Grid
from stepward.domains.pde.references import trajectories
from stepward.domains.pde.solver import CONSERVED_CHANNELS, BurgersSolver
from stepward.domains.pde.solver.burgers_initial import sample_burgers

__all__ = ["SOURCES", "BurgersSource", "EulerSource", "FileSource"]

TOGETHER = 16  # trajectories of an item of work
Family = Literal["riemann", "curved", "kelvin", "gaussian"]


class EulerSource(Config):
    """Compressible flow on the periodic unit square; see datasets/euler2d.md."""

    kind: Literal["euler2d"] = "euler2d"
    num: int = Field(320, ge=1, description="trajectories; of ten in a row seven train, one validates and two test")
    families: tuple[Family, ...] = Field(
        ("riemann", "curved", "kelvin", "gaussian"), min_length=1, description="families, in turn"
    )
    cells: int = Field(32, ge=8, description="cells along an axis")
    num_steps: int = Field(20, ge=1, description="frames after the first")
    dt: float = Field(0.05, gt=0, description="time between frames")

    def items(self) -> list[str]:
        """Items of work, in the order of the rows."""
        return _ranges(self.num)

    def blocks(self, item: str, seed: int) -> Iterator[FieldBlock]:
        """The trajectories of an item; row i is a function of (seed, i) alone."""
        first, end = map(int, item.split("-"))
        flows = PDEProblems(
            families=self.families, cells=self.cells, num_steps=self.num_steps, dt=self.dt, num_train=end, horizon=1
        )
        fields = np.stack(trajectories(flows.references("train", seed)[first:end]))
        yield FieldBlock(first, fields, _grid("euler2d", CONSERVED_CHANNELS, self.cells, self.dt, {"gamma": 1.4}))


class BurgersSource(Config):
    """Viscous Burgers on the periodic unit square; see datasets/burgers.md."""

    kind: Literal["burgers"] = "burgers"
    num: int = Field(320, ge=1, description="trajectories")
    cells: int = Field(32, ge=8, description="cells along an axis")
    num_steps: int = Field(20, ge=1, description="frames after the first")
    dt: float = Field(0.05, gt=0, description="time between frames")
    viscosity: float = Field(0.01, ge=0, description="ν")

    def items(self) -> list[str]:
        return _ranges(self.num)

    def blocks(self, item: str, seed: int) -> Iterator[FieldBlock]:
        first, end = map(int, item.split("-"))
        initial = sample_burgers(seed=seed, indices=range(first, end), resolution=self.cells, num_axes=2)
        frames = BurgersSolver(viscosity=self.viscosity).simulate(initial, num_steps=self.num_steps, dt=self.dt)
        grid = _grid("burgers", ("velocity",), self.cells, self.dt, {"nu": self.viscosity})
        yield FieldBlock(first, np.asarray(frames, np.float32), grid)


class FileSource(Config):
    """A file of a published data set, converted block by block."""

    kind: Literal["file"] = "file"
    format: Literal["pdegym", "pdebench", "the_well"] = Field("pdegym", description="layout of the file")
    path: str = Field(description="NetCDF or HDF5 file")

    def items(self) -> list[str]:
        return ["file"]

    def blocks(self, item: str, seed: int) -> Iterator[FieldBlock]:
        if not Path(self.path).is_file():
            raise ValueError(
                f"source.path: expected a file in the layout of {self.format}, but there is no {self.path}."
            )
        yield from READERS[self.format](self.path)


SOURCES: dict[str, type[Config]] = {"euler2d": EulerSource, "burgers": BurgersSource, "file": FileSource}


def _ranges(num: int) -> list[str]:
    return [f"{first:06d}-{min(first + TOGETHER, num):06d}" for first in range(0, num, TOGETHER)]


def _grid(source: str, channels: tuple[str, ...], cells: int, dt: float, parameters: dict[str, float]) -> Grid:
    return Grid(source, channels, ("x", "y"), (1 / cells, 1 / cells), dt, ("periodic", "periodic"), parameters)
