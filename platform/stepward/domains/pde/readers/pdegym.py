"""PDEGym (Herde et al. 2024, arXiv:2405.19101): NetCDF, one variable of all fields.

Compressible sets (CE-RP, CE-CRP, CE-KH, CE-Gauss, CE-RPUI): ``data[sample, time, channel, x, y]``, fp32, 21 frames
0.05 apart on 128 x 128 cells of the periodic unit square; channels rho, v_x, v_y, p, and E or a tracer. CE-RM and
GCE-RT call the same ``solution``. Incompressible sets (NS-…): ``velocity``, channels v_x, v_y and perhaps a tracer;
FNS-KF calls it ``solution``. ACE: ``solution[sample, time, x, y]``; Wave-…: beside it the speed ``c[sample, x, y]``.
Poisson, Helmholtz and SE-AF have no time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from stepward.domains.pde.readers.hdf5 import boundaries, effective, ranges
from stepward.domains.pde.readers.record import FieldBlock, Grid, sift
from stepward.domains.pde.readers.stack import Arrays, Stack, open_arrays

__all__ = ["PDEGYM_CHANNELS", "read_pdegym"]

PDEGYM_CHANNELS = ("density", "velocity_x", "velocity_y", "pressure", "energy")
_VARIABLES = ("data", "velocity", "solution")
_FLOW = ("velocity_x", "velocity_y", "tracer")
_SPEED = "c"  # of waves, constant in time
_GAMMA = 1.4


def read_pdegym(
    path: str | Path,
    *,
    block_size: int = 8,
    variable: str | None = None,
    channels: Sequence[str] | None = None,
    gamma: float | None = None,
    boundary: tuple[str, ...] | None = None,
    extent: tuple[float, float] = (1.0, 1.0),
    end_time: float = 1.0,
) -> Iterator[FieldBlock]:
    """Yield blocks of ``block_size`` trajectories; only one block is in memory.

    Args:
        variable: by default the one of ``data``, ``velocity`` and ``solution`` that the file has.
        channels: names in file order; say so here where a file's fifth channel is a tracer and not the energy.
        gamma: of a gas; 1.4 in the collection.
        boundary: "periodic" in the collection, save for waves, which leave ("open").
        extent, end_time: used for spacing where the file has no coordinate variables ``x``, ``y``, ``time``.

    Raises:
        FileNotFoundError, ValueError: missing or unreadable file, a set that has no time, a missing variable, channels
            that nobody named, another shape.
    """
    with open_arrays(path) as arrays:
        stack, names = _stack(arrays, variable, channels)
        if stack.num_channels != len(names) or stack.shape[1] < 2:
            raise ValueError(
                f"expected [sample, time, channel, x, y] with 2 or more frames and {len(names)} channels "
                f"{tuple(names)}; got shape {stack.shape} in {path}. Pass channels= in the order of the file."
            )
        effective("gamma", gamma, "density" in names, "the file is not of a gas")
        sizes, frames = stack.shape[3:], stack.shape[1]
        grid = Grid(
            source=Path(path).name,
            channels=tuple(names),
            axes=("x", "y"),
            spacing=tuple(
                arrays.step(axis, size) or length / size for axis, size, length in zip("xy", sizes, extent, strict=True)
            ),
            dt=arrays.step("time", frames) or end_time / (frames - 1),
            boundary=boundaries(boundary, (_boundary(names),) * 2),
            parameters={"gamma": _GAMMA if gamma is None else gamma} if "density" in names else {},
        )
        for start, stop in ranges(stack.num_samples, block_size):
            yield sift(stack.read(start, stop), grid, start)


def _stack(arrays: Arrays, variable: str | None, channels: Sequence[str] | None) -> tuple[Stack, Sequence[str]]:
    """The fields, and the name of each channel."""
    have = [name for name in _VARIABLES if arrays.get(name) is not None]
    if variable is None and not have:
        raise ValueError(
            f"PDEGym {arrays.path.name}: expected a variable {', '.join(_VARIABLES)}; got {arrays.names}. Stationary "
            "problems (Helmholtz) are not supported: there are no steps to choose."
        )
    variable = variable or have[0]
    found = arrays.find(variable)
    if found.ndim == 3 or (found.ndim == 4 and found.shape[1] == 2):
        raise ValueError(
            f"PDEGym {arrays.path.name}: {variable} of shape {found.shape} is the solution of a stationary problem "
            "(Poisson-Gauss, SE-AF): not supported, there are no steps to choose."
        )
    if found.ndim == 4:
        waves = arrays.get(_SPEED) is not None
        names = ("u", "speed") if waves else ("u",)
        return Stack(
            arrays, [variable, _SPEED] if waves else [variable], ("sample", "time", "x", "y")
        ), channels or names
    return Stack(arrays, [variable], ("sample", "time", "channel", "x", "y")), channels or _names(arrays, found.shape)


def _names(arrays: Arrays, shape: tuple[int, ...]) -> tuple[str, ...]:
    num = shape[2] if len(shape) == 5 else 0
    if num in (2, 3):
        return _FLOW[:num]
    if num in (4, 5):
        return PDEGYM_CHANNELS[:num]
    raise ValueError(
        f"PDEGym {arrays.path.name}: expected 2 or 3 channels of a flow, or 4 or 5 of a gas, got shape {shape}. Pass "
        "channels= in the order of the file."
    )


def _boundary(names: Sequence[str]) -> str:
    if len(names) > len(PDEGYM_CHANNELS):
        return "unknown"  # a set with further fields, such as GCE-RT with gravity, has ends of its own
    return "open" if names[-1] == "speed" else "periodic"
