"""Errors of predicted trajectories, each under the name and the definition of the publication it comes from.

Arrays are ``[n, frames, channel, *grid]``. The same word stands for different numbers in different papers, so a figure
without its convention means nothing. With e = prediction - target, and all norms over grid cells unless said otherwise:

``pdebench_nrmse``  mean over n, frames, channels of sqrt(<e^2>) / sqrt(<target^2>)
``well_vrmse``      mean over n, frames, channels of sqrt(<e^2> / (Var(target) + 1e-7)), Var divided by cells - 1
``poseidon_l1``     last frame; mean over channel groups of the median over n of 100 sum|e| / sum|target| (per cent)
``nrmse``           mean over n, frames of sqrt(sum e^2) / sqrt(sum target^2), sums over channels and cells

Every convention has three views: :func:`evaluate` (the published number), :func:`per_sample` (what paired intervals are
made of) and :func:`per_frame` (error against time).

Sources: PDEBench, ``pdebench/models/metrics.py::metric_func`` and arXiv:2210.07182, appendix B (its scripts also count
the given initial frames, whose error is zero: pass them to reproduce that); The Well,
``the_well/benchmark/metrics/spatial.py`` and arXiv:2412.00568, section 4 (``torch.std`` is the corrected one, the
formula in the paper is not; we follow the code); Poseidon, ``scOT/metrics.py``, ``scOT/train.py::compute_metrics`` and
arXiv:2405.19101 (computed there on normalised channels: normalise both arrays first to compare with its tables).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

__all__ = ["CONVENTIONS", "Convention", "evaluate", "per_frame", "per_sample"]

_WELL_EPSILON = 1e-7


@dataclass(frozen=True)
class Convention:
    """How one publication reduces errors.

    Attributes:
        cell_error: [n, frames, channel, cells] twice, and channel groups, to [n, frames, terms]; terms are averaged.
        last_frame_only: the published number looks at the last frame alone.
        over_samples: ``np.mean`` or ``np.median``, applied to each term.
    """

    cell_error: Callable[[ndarray, ndarray, Sequence[slice]], ndarray]
    last_frame_only: bool = False
    over_samples: Callable[..., ndarray] = np.mean


def evaluate(
    name: str,
    prediction: Float[ndarray, "n frames channel *grid"],
    target: Float[ndarray, "n frames channel *grid"],
    *,
    channel_groups: Sequence[slice] | None = None,
) -> float:
    """The published number of convention ``name``.

    ``channel_groups`` (``poseidon_l1`` only; default: all channels in one group) says which channels share a norm; for
    (rho, u, v, p) Poseidon uses ``[slice(0, 1), slice(1, 3), slice(3, 4)]``.

    Raises:
        ValueError: unknown name, shapes that differ, a target that is zero where it is the divisor, or groups for a
            convention that has none. NaN in a prediction gives NaN: a rollout that blew up is not averaged away.
    """
    errors, convention = _errors(name, prediction, target, channel_groups)
    errors = errors[:, -1:] if convention.last_frame_only else errors
    return float(convention.over_samples(errors.mean(axis=1), axis=0).mean())


def per_sample(
    name: str,
    prediction: Float[ndarray, "n frames channel *grid"],
    target: Float[ndarray, "n frames channel *grid"],
    *,
    channel_groups: Sequence[slice] | None = None,
) -> Float[ndarray, " n"]:
    """The error of each trajectory. Where samples are averaged, the mean of these is :func:`evaluate`."""
    errors, convention = _errors(name, prediction, target, channel_groups)
    errors = errors[:, -1:] if convention.last_frame_only else errors
    return errors.mean(axis=(1, 2))


def per_frame(
    name: str,
    prediction: Float[ndarray, "n frames channel *grid"],
    target: Float[ndarray, "n frames channel *grid"],
    *,
    channel_groups: Sequence[slice] | None = None,
) -> Float[ndarray, "n frames"]:
    """The error of each trajectory at each frame, for error against time."""
    return _errors(name, prediction, target, channel_groups)[0].mean(axis=2)


def _errors(
    name: str, prediction: ndarray, target: ndarray, channel_groups: Sequence[slice] | None
) -> tuple[Float[ndarray, "n frames terms"], Convention]:
    if name not in CONVENTIONS:
        raise ValueError(f"expected a convention among {sorted(CONVENTIONS)}; got {name!r}.")
    if prediction.shape != target.shape or prediction.ndim < 4 or prediction.size == 0:
        raise ValueError(
            f"expected two arrays [n, frames, channel, *grid] of one shape, none empty; got {prediction.shape} and "
            f"{target.shape}. One step is frames = 1."
        )
    if channel_groups is not None and name != "poseidon_l1":
        raise ValueError(f"channel_groups has no meaning for {name!r}; it belongs to 'poseidon_l1'. Leave it out.")
    flat = (*target.shape[:3], -1)
    groups = channel_groups if channel_groups is not None else [slice(None)]
    convention = CONVENTIONS[name]
    arrays = prediction.reshape(flat).astype(np.float64), target.reshape(flat).astype(np.float64)
    return convention.cell_error(*arrays, groups), convention


def _divide(name: str, error: ndarray, norm: ndarray) -> ndarray:
    if not (norm > 0).all():
        where = tuple(int(index) for index in np.argwhere(~(norm > 0))[0])
        raise ValueError(
            f"{name} divides by a norm of the target, expected to be positive; got {float(norm[where])} at "
            f"(sample, frame, channel or group) {where}. Leave out frames or channels that are zero everywhere."
        )
    return error / norm


def _pdebench_nrmse(prediction: ndarray, target: ndarray, _: Sequence[slice]) -> ndarray:
    error = np.sqrt(((prediction - target) ** 2).mean(axis=-1))
    return _divide("pdebench_nrmse", error, np.sqrt((target**2).mean(axis=-1)))


def _well_vrmse(prediction: ndarray, target: ndarray, _: Sequence[slice]) -> ndarray:
    if target.shape[-1] < 2:
        raise ValueError("well_vrmse needs the variance over two grid cells or more; got one cell.")
    variance = target.var(axis=-1, ddof=1)
    return np.sqrt(((prediction - target) ** 2).mean(axis=-1) / (variance + _WELL_EPSILON))


def _poseidon_l1(prediction: ndarray, target: ndarray, groups: Sequence[slice]) -> ndarray:
    error = np.stack([np.abs(prediction - target)[:, :, group].sum(axis=(-2, -1)) for group in groups], axis=-1)
    norm = np.stack([np.abs(target)[:, :, group].sum(axis=(-2, -1)) for group in groups], axis=-1)
    return 100.0 * _divide("poseidon_l1", error, norm)


def _nrmse(prediction: ndarray, target: ndarray, _: Sequence[slice]) -> ndarray:
    error = np.sqrt(((prediction - target) ** 2).sum(axis=(-2, -1)))[..., None]
    return _divide("nrmse", error, np.sqrt((target**2).sum(axis=(-2, -1)))[..., None])


CONVENTIONS: dict[str, Convention] = {
    "pdebench_nrmse": Convention(_pdebench_nrmse),
    "well_vrmse": Convention(_well_vrmse),
    "poseidon_l1": Convention(_poseidon_l1, last_frame_only=True, over_samples=np.median),
    "nrmse": Convention(_nrmse),
}
