"""Rollouts of a surrogate under way: the fields now, and what scoring the last step needs.

The truth is not in here. A state names the trajectory it belongs to (`reference`), and only a verifier opens that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int, Int8, Shaped, UInt64

from stepward.core.batch import ArrayBatch
from stepward.core.interfaces import Status
from stepward.core.seeding import mix_keys
from stepward.domains.pde.combine import mixed
from stepward.domains.pde.grids import is_periodic

Arrays: TypeAlias = Shaped[Any, "..."]  # of any shape; as fields
Fields: TypeAlias = Float[Any, "n c h w"]  # a numpy array, or a torch tensor on an accelerator


@dataclass(frozen=True)
class PDEStates(ArrayBatch):
    """n rollouts under way. Fields are float32: numpy arrays, or torch tensors where they live on an accelerator.

    Attributes:
        reference: name of the trajectory that holds the truth; see `references.py`.
        frame: frame of that trajectory that `fields` should equal.
        steps: steps taken since the rollout began.
        horizon: steps after which the rollout is complete.
        fields: cell averages, [n, C, H, W], in physical units.
        deterministic: what the surrogate gives without chance for the step that led here, so that a reward model can
            tell what a candidate changed, row by row; equal to `fields` where no step was taken.
        history: the m frames before `fields`, oldest first; m = 0 where a rollout begins with one frame.
        guess: the constant that the last step took for true, NaN where it took none.
        lineage: 64 bits that name the state: made from the parent's and from the stream of the candidate.
    """

    reference: Shaped[np.ndarray, " n"]
    frame: Int[np.ndarray, " n"]
    steps: Int[np.ndarray, " n"]
    horizon: Int[np.ndarray, " n"]
    fields: Float[Any, "n c h w"]
    deterministic: Float[Any, "n c h w"]
    history: Float[Any, "n m _ _ _"]
    guess: Float[np.ndarray, " n"]
    lineage: UInt64[np.ndarray, " n"]


class PDE:
    """The domain as a search sees it. A rollout is complete at its horizon, and dead once it is not finite."""

    name = "pde"

    def status(self, states: PDEStates) -> Int8[np.ndarray, " n"]:
        """Complete at the horizon, open before, dead where a field is not finite."""
        over = states.steps >= states.horizon
        alive = np.where(over, Status.COMPLETE, Status.OPEN)
        return np.where(is_finite(states.fields), alive, Status.DEAD).astype(np.int8)

    def keys(self, states: PDEStates) -> UInt64[np.ndarray, " n"]:
        """Not a hash of the fields: these differ in the last bits with the size of the batch they were computed in."""
        return states.lineage.copy()

    def step_tokens(self, states: PDEStates) -> Int[np.ndarray, " n"]:
        """1: components count their own positions (see `flops.py`)."""
        return np.ones(len(states), np.int64)

    def extent(self, states: PDEStates) -> tuple[int, int]:
        """Cells along the two axes."""
        height, width = states.fields.shape[2:]
        return height, width

    def combine(self, parents: PDEStates, candidates: PDEStates, weights: np.ndarray, *, smooth: bool) -> PDEStates:
        """Children of mixed fields, beside the deterministic output of their candidates; see `Combines`."""
        n, k = weights.shape[:2]
        firsts = candidates.take(np.arange(n) * k)
        sets = as_numpy(candidates.fields).reshape(n, k, *candidates.fields.shape[1:])
        whole = mixed(sets, weights, smooth=smooth, periodic=is_periodic(parents.reference))
        fields = like(whole.astype(np.float32), firsts.fields)
        return advance(parents, fields, firsts.deterministic, firsts.lineage)


def roots(
    fields: Float[np.ndarray, "n c h w"],
    reference: Sequence[str] | Shaped[np.ndarray, " n"],
    frame: Int[np.ndarray, " n"],
    horizon: Int[np.ndarray, " n"],
    problem: Int[np.ndarray, " n"] | None = None,
    history: Float[np.ndarray, "n m c h w"] | None = None,
) -> PDEStates:
    """Rollouts that have not taken a step yet; problem i is row i and nothing was seen before, unless said otherwise.

    Raises:
        ValueError: fields that are not finite.
    """
    fields = np.ascontiguousarray(fields, np.float32)
    bad = np.flatnonzero(~is_finite(fields))
    if len(bad):
        raise ValueError(f"Initial fields: expected finite numbers, got others in rows {bad[:5].tolist()}. Drop them.")
    return PDEStates(
        problem=np.arange(len(fields)) if problem is None else problem.astype(np.int64),
        reference=np.asarray(reference, dtype=np.str_),
        frame=frame.astype(np.int64),
        steps=np.zeros(len(fields), np.int64),
        horizon=horizon.astype(np.int64),
        fields=fields,
        deterministic=fields,
        history=np.zeros((len(fields), 0, *fields.shape[1:]), np.float32) if history is None else history,
        guess=np.full(len(fields), np.nan),
        lineage=_content_keys(fields, frame, horizon),
    )


def advance(
    parents: PDEStates,
    fields: Fields,
    deterministic: Fields,
    tags: UInt64[np.ndarray, " n"],
    guess: Float[np.ndarray, " n"] | None = None,
) -> PDEStates:
    """Children of `parents`, row by row: one step and one frame on.

    Args:
        guess: the constant that each step took for true; None: none.
        tags: what tells siblings apart: the key of each candidate's random stream, 0 for a step without chance.
    """
    return parents.replace(
        frame=parents.frame + 1,
        steps=parents.steps + 1,
        fields=fields,
        deterministic=deterministic,
        history=seen(parents, parents.history.shape[1]),
        guess=np.full(len(parents), np.nan) if guess is None else guess,
        lineage=mix_keys(mix_keys(parents.lineage, 1) ^ tags, 2),
    )


def seen(states: PDEStates, num_frames: int) -> Float[Any, "n m c h w"]:
    """The last frames of each state, oldest first, the fields now included.

    Raises:
        ValueError: states remember fewer.
    """
    known = states.history.shape[1] + 1
    if num_frames > known:
        raise ValueError(
            f"expected states that remember {num_frames} frames, got {known}. Set problems.context={num_frames}: the "
            "frames that are seen before a rollout begins."
        )
    if num_frames <= 1:
        return states.fields[:, None][:, :num_frames]
    earlier = states.history[:, known - num_frames :]
    earlier = like(earlier, states.fields) if isinstance(earlier, np.ndarray) else earlier
    return joined([earlier, states.fields[:, None]])


def joined(parts: list[Any]) -> Any:
    """Arrays or tensors joined along their second axis."""
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts, axis=1)
    import torch  # only fields that are tensors need torch

    return torch.cat(parts, dim=1)


def as_numpy(fields: Any) -> np.ndarray:
    """Fields as a numpy array, wherever they live."""
    return fields if isinstance(fields, np.ndarray) else fields.detach().cpu().numpy()


def like(fields: np.ndarray, other: Arrays) -> Arrays:
    """Fields where `other` lives: a numpy array, or a tensor on its device."""
    if isinstance(other, np.ndarray):
        return fields
    import torch  # only fields that are tensors need torch

    return torch.from_numpy(fields).to(other)


def is_finite(fields: Fields) -> Bool[np.ndarray, " n"]:
    """Rows without NaN and infinity. One sum a row finds both: they survive addition, save for overflow, which is
    one.
    """
    flat = fields.reshape(len(fields), int(np.prod(fields.shape[1:])))
    if isinstance(fields, np.ndarray):
        with np.errstate(invalid="ignore", over="ignore"):
            return np.isfinite(flat.sum(axis=1))
    return flat.sum(dim=1).isfinite().cpu().numpy()


def _content_keys(fields: np.ndarray, frame: np.ndarray, horizon: np.ndarray) -> UInt64[np.ndarray, " n"]:
    digests = (blake2b(row.tobytes(), digest_size=8).digest() for row in fields)
    keys = np.fromiter((int.from_bytes(digest, "little") for digest in digests), np.uint64, len(fields))
    return mix_keys(keys ^ mix_keys(frame * 4096 + horizon, 3), 4)
