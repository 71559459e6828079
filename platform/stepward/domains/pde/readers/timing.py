"""Time steps that may differ from trajectory to trajectory: a file of trajectories has one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from stepward.domains.pde.readers.hdf5 import uniform_spacing

__all__ = ["Steps", "common_step"]

_SAME = 1e-2  # relative difference of two steps that are one, as in uniform_spacing


@dataclass(frozen=True)
class Steps:
    """The time step of a file, and for each trajectory what is wrong with its own; "" if nothing is."""

    dt: float
    problems: tuple[str, ...]


def common_step(times: ndarray, num_samples: int, *, source: str, wanted: float | None = None) -> Steps:
    """The step of frames at `times`, [frames] for all trajectories or [sample, frames].

    Args:
        wanted: the step to read; by default the one that most trajectories have.

    Raises:
        ValueError: no trajectory has uniform frames, or the wanted step.
    """
    found = [_step(row, source) for row in np.atleast_2d(times)]
    found = found * num_samples if len(found) == 1 else found
    if len(found) != num_samples:
        raise ValueError(f"expected the times of {num_samples} trajectories in {source}; got those of {len(found)}.")
    steps = [step for step in found if isinstance(step, float)]
    dt = wanted
    if dt is None and steps:
        dt = max(steps, key=lambda one: sum(_alike(one, other) for other in steps))
    if dt is None or not any(_alike(step, dt) for step in steps):
        have = ", ".join(sorted({f"{step:g}" for step in steps})) or str(found[0])
        raise ValueError(f"{source}: expected a time step{f' of {dt:g}' if dt else ''}; got {have}. See source.dt.")
    return Steps(dt, tuple(_problem(step, dt) for step in found))


def _step(times: ndarray, source: str) -> float | str:
    try:
        return uniform_spacing(times, name="time", source=source)
    except ValueError as error:
        return str(error)


def _problem(step: float | str, dt: float) -> str:
    if isinstance(step, str):
        return step
    if _alike(step, dt):
        return ""
    return f"expected a time step of {dt:g}, got {step:g}: convert these trajectories apart, with source.dt={step:g}"


def _alike(one: float, other: float) -> bool:
    return abs(one - other) <= _SAME * other
