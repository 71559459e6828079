"""Where trajectories of jobs/data.py come from: the project's solvers, or files of published data sets."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from stepward.core.config import Config
from stepward.domains.pde.data import PDEProblems
from stepward.domains.pde.data_files import TrajectorySource
from stepward.domains.pde.flows import euler_grid
from stepward.domains.pde.readers import (
    FieldBlock,
    Grid,
    is_gas,
    read_generic,
    read_pdebench,
    read_pdegym,
    read_the_well,
    sift,
    to_conserved,
)
from stepward.domains.pde.references import trajectories
from stepward.domains.pde.solver import BurgersSolver
from stepward.domains.pde.solver.burgers_initial import sample_burgers

__all__ = ["SOURCES", "BurgersSource", "EulerSource", "FileSource"]

KNOWN = ("periodic", "wall", "outflow", "open")
Channels = Annotated[tuple[str, ...], Field(min_length=1)]
Boundary = tuple[Literal["periodic", "wall", "outflow", "open"], ...] | None
Gamma = float | None

TOGETHER = 16  # trajectories of an item of work
Family = Literal["riemann", "curved", "kelvin", "gaussian"]


class EulerSource(TrajectorySource):
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
        yield sift(fields, euler_grid(self.cells, self.dt), first)


class BurgersSource(TrajectorySource):
    """Viscous Burgers on the periodic unit square; see datasets/burgers.md."""

    kind: Literal["burgers"] = "burgers"
    num: int = Field(320, ge=1, description="trajectories")
    cells: int = Field(32, ge=8, description="cells along an axis")
    num_steps: int = Field(20, ge=1, description="frames after the first")
    dt: float = Field(0.05, gt=0, description="time between frames")
    viscosity: float = Field(0.01, ge=0, description="ν")

    def items(self) -> list[str]:
        """Ranges of trajectories, each simulated on its own."""
        return _ranges(self.num)

    def blocks(self, item: str, seed: int) -> Iterator[FieldBlock]:
        """The trajectories of one range; what is not finite is rejected."""
        first, end = map(int, item.split("-"))
        initial = sample_burgers(seed=seed, indices=range(first, end), resolution=self.cells, num_axes=2)
        frames = BurgersSolver(viscosity=self.viscosity).simulate(initial, num_steps=self.num_steps, dt=self.dt)
        spacing, periodic = (1 / self.cells,) * 2, ("periodic",) * 2
        grid = Grid("burgers", ("velocity",), ("x", "y"), spacing, self.dt, periodic, {"nu": self.viscosity})
        yield sift(np.asarray(frames, np.float32), grid, first)


class FileSource(TrajectorySource):
    """Base: a file that is converted block by block. Gases are stored as (ρ, m_x, m_y, E)."""

    kind: str
    path: str = Field(description="NetCDF or HDF5 file")

    def items(self) -> list[str]:
        """One: the file is read in order."""
        return ["file"]

    def blocks(self, item: str, seed: int) -> Iterator[FieldBlock]:
        """The trajectories of the file; those that cannot be used are rejected, each with a sentence.

        Raises:
            ValueError: no such file, another layout, or a boundary that neither the file nor the settings say.
        """
        if not Path(self.path).exists():
            raise ValueError(f"source.path: expected a file in the layout of {self.kind}, but there is no {self.path}.")
        for block in self.read():
            unknown = sorted(set(block.grid.boundary) - set(KNOWN))
            if unknown:
                raise ValueError(
                    f"{self.path}: the boundary is {unknown[0]}, and nothing is taken for periodic unasked. Say it: "
                    f"source.boundary=[word], or a word for each axis, out of {', '.join(KNOWN)}."
                )
            yield to_conserved(block) if is_gas(block.grid) else block

    @abstractmethod
    def read(self) -> Iterator[FieldBlock]:
        """The blocks of the reader."""


class PDEGymSource(FileSource):
    """PDEGym (Poseidon); see datasets/pdegym.md."""

    kind: Literal["pdegym"] = "pdegym"
    variable: str | None = Field(None, description="variable of the fields; none: data, velocity or solution")
    channels: Channels | None = Field(
        None, description="name of each channel; none: density, velocity_x, velocity_y, pressure, energy, or a flow's"
    )
    gamma: Gamma = Field(None, gt=1, description="ratio of specific heats; none: 1.4")
    boundary: Boundary = Field(None, min_length=1, description="of all axes, or of each; none: the collection's")
    extent: tuple[float, float] = Field((1.0, 1.0), description="side lengths, for files without coordinates")
    end_time: float = Field(1.0, gt=0, description="time of the last frame, for files without coordinates")

    def read(self) -> Iterator[FieldBlock]:
        """The file, block by block."""
        return read_pdegym(self.path, **self.model_dump(exclude={"kind", "path"}))


class PDEBenchSource(FileSource):
    """PDEBench; see datasets/pdebench.md."""

    kind: Literal["pdebench"] = "pdebench"
    tensor_name: str = Field("u", description="name of the field of files with a single tensor")
    gamma: Gamma = Field(None, gt=1, description="ratio of specific heats; none: 5/3, PDEBench's own")
    boundary: Boundary = Field(None, min_length=1, description="of all axes, or of each; none: after the file's name")
    dt: float | None = Field(None, gt=0, description="of a file whose time steps differ: the one to read")

    def read(self) -> Iterator[FieldBlock]:
        """The file, block by block."""
        return read_pdebench(self.path, **self.model_dump(exclude={"kind", "path"}))


class TheWellSource(FileSource):
    """The Well; see datasets/the_well.md."""

    kind: Literal["the_well"] = "the_well"
    fields: Channels | None = Field(None, description="fields to read, in this order; none: all")
    gamma: Gamma = Field(None, gt=1, description="ratio of specific heats; none: the file's")
    boundary: Boundary = Field(None, min_length=1, description="of all axes, or of each; none: the file's")
    dt: float | None = Field(None, gt=0, description="of a file whose time steps differ: the one to read")

    def read(self) -> Iterator[FieldBlock]:
        """The file, block by block."""
        return read_the_well(self.path, **self.model_dump(exclude={"kind", "path"}))


class GenericSource(FileSource):
    """Your own NetCDF, HDF5 or Zarr file; see docs/extending.md."""

    kind: Literal["generic"] = "generic"
    path: str = Field(description="NetCDF or HDF5 file, or Zarr folder")
    variables: Channels = Field(description='variables that hold the fields, in groups too: "group/name"')
    axes: tuple[Literal["sample", "time", "channel", "x", "y"], ...] = Field(
        description="role of every axis of the variables, in the order of the file"
    )
    channels: Channels = Field(description="name of each channel, in the order of the variables")
    boundary: tuple[Literal["periodic", "wall", "outflow", "open"], ...] = Field(
        min_length=1, description="of all axes, or of each"
    )
    dt: float | None = Field(None, gt=0, description="time between frames; none: after the coordinate")
    extent: tuple[float, ...] | None = Field(None, description="side lengths; none: after the coordinates")
    coordinates: dict[str, str] = Field(
        {}, description="role of an axis -> variable with its values, where they differ"
    )
    parameters: dict[str, float | str] = Field(
        {}, description="constants such as gamma: a number, or the attribute or variable that has it"
    )

    def read(self) -> Iterator[FieldBlock]:
        """The file, block by block."""
        return read_generic(self.path, **self.model_dump(exclude={"kind", "path"}))


SOURCES: dict[str, type[Config]] = {
    "euler2d": EulerSource,
    "burgers": BurgersSource,
    "pdegym": PDEGymSource,
    "pdebench": PDEBenchSource,
    "the_well": TheWellSource,
    "generic": GenericSource,
}


def _ranges(num: int) -> list[str]:
    return [f"{first:06d}-{min(first + TOGETHER, num):06d}" for first in range(0, num, TOGETHER)]
