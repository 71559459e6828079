"""Flows that are computed when asked for: initial fields, a solver, and sometimes a constant that nobody is told."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from stepward.domains.pde.initial_conditions import EULER_FAMILIES, sample_euler
from stepward.domains.pde.readers import Grid
from stepward.domains.pde.solver import CONSERVED_CHANNELS, BurgersSolver, EulerSolver, coarsen, sample_burgers

__all__ = ["BURGERS", "GENERATED", "OVERSAMPLE", "Flow", "computed", "euler_grid", "first_frames", "flow_of"]

BURGERS = "burgers"  # the family of 2-D Burgers flows
GENERATED = ("euler2d/", "burgers/")  # how names of generated trajectories begin
OVERSAMPLE = 2  # trajectories are computed on a grid finer by this factor and averaged
TOGETHER = 16  # trajectories of one kind that are simulated in one call


@dataclass(frozen=True)
class Flow:
    """A generated trajectory, as its name says."""

    family: str
    cells: int
    num_steps: int
    dt: float
    seed: int
    index: int
    range: tuple[float, float] | None = None

    @property
    def constant(self) -> float:
        """γ of a gas, ν of Burgers: γ − 1 or ν is log-uniform in the range, by (seed, index)."""
        if self.range is None:
            return EulerSolver.gamma
        base = 0.0 if self.family == BURGERS else 1.0
        low, high = (end - base for end in self.range)
        share = np.random.default_rng(np.random.SeedSequence([self.seed, self.index, 7])).uniform()
        return base + low * (high / low) ** share

    @property
    def grid(self) -> Grid:
        """What its numbers mean; a constant that differs from trajectory to trajectory is not said."""
        is_burgers, known = self.family == BURGERS, self.range is None or self.range[0] == self.range[1]
        source, channels = ("burgers", ("velocity",)) if is_burgers else ("euler2d", CONSERVED_CHANNELS)
        constants = {"nu" if is_burgers else "gamma": self.constant} if known else {}
        return Grid(source, channels, ("x", "y"), (1 / self.cells,) * 2, self.dt, ("periodic",) * 2, constants)

    @property
    def name(self) -> str:
        """See `references.py`."""
        kind = "burgers/waves" if self.family == BURGERS else f"euler2d/{self.family}"
        name = f"{kind}/{self.cells}/{self.num_steps}/{self.dt:g}/{self.seed}/{self.index}"
        return name if self.range is None else f"{name}/{self.range[0]:g}-{self.range[1]:g}"


def euler_grid(cells: int, dt: float) -> Grid:
    """Of generated Euler trajectories."""
    return Flow("riemann", cells, 1, dt, 0, 0).grid


def first_frames(names: Sequence[str]) -> Float[np.ndarray, "n c h w"]:
    """The first frame of generated trajectories, without computing the rest."""
    flows = [flow_of(name) for name in names]
    return np.stack([coarsen(_start(flow, [flow.index]), OVERSAMPLE)[0].astype(np.float32) for flow in flows])


@lru_cache(maxsize=4096)
def flow_of(name: str) -> Flow:
    """What the name of a generated trajectory says.

    Raises:
        ValueError: it is no such name.
    """
    parts = name.split("/")
    kind, constants = "/".join(parts[:2]), parts[7:]
    known = {"burgers/waves": BURGERS} | {f"euler2d/{family}": family for family in EULER_FAMILIES}
    if not 7 <= len(parts) <= 8 or kind not in known or (known[kind] == BURGERS and not constants):
        raise ValueError(
            f"Reference {name!r}: expected euler2d/<family>/<cells>/<steps>/<dt>/<seed>/<index>[/<low>-<high>] with a "
            f"family among {sorted(EULER_FAMILIES)}, or burgers/waves/… with a range."
        )
    _, _, cells, steps, dt, seed, index = parts[:7]
    ends = [float(end) for end in re.split(r"(?<!e)-", constants[0])] if constants else []
    span = (ends[0], ends[1]) if ends else None
    return Flow(known[kind], int(cells), int(steps), float(dt), int(seed), int(index), span)


def _start(flow: Flow, indices: list[int]) -> Float[np.ndarray, "n c h w"]:
    """First frames on the finer grid. A hidden γ does not show in them: energies are those of γ = 1.4."""
    fine = OVERSAMPLE * flow.cells
    if flow.family == BURGERS:
        return sample_burgers(seed=flow.seed, indices=indices, resolution=fine, num_axes=2)
    return sample_euler(flow.family, seed=flow.seed, indices=indices, resolution=fine)


def computed(names: Iterable[str]) -> dict[str, Float[np.ndarray, "frames c h w"]]:
    """Generated trajectories by name, float32."""
    kinds: dict[tuple[Flow, float], list[tuple[int, str]]] = {}
    for name in names:
        flow = flow_of(name)
        kinds.setdefault((replace(flow, index=0), flow.constant), []).append((flow.index, name))
    found: dict[str, ndarray] = {}
    for (flow, constant), members in kinds.items():
        for first in range(0, len(members), TOGETHER):
            some = members[first : first + TOGETHER]
            frames = _simulate(flow, constant, _start(flow, [index for index, _ in some]))
            found |= {name: row.astype(np.float32) for (_, name), row in zip(some, frames, strict=True)}
    return found


def _simulate(flow: Flow, constant: float, fine: ndarray) -> Float[np.ndarray, "n frames c h w"]:
    if flow.family == BURGERS:
        frames = BurgersSolver(viscosity=constant).simulate(fine, num_steps=flow.num_steps, dt=flow.dt)
        return np.stack([coarsen(frame, OVERSAMPLE) for frame in frames.swapaxes(0, 1)], axis=1)
    solver = EulerSolver(gamma=constant)
    return solver.simulate(fine, num_steps=flow.num_steps, dt=flow.dt, average_by=OVERSAMPLE)
