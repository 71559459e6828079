"""Labelled states as tensors to learn from, and the order in which an epoch visits them.

Everything is in memory and addressed by index: an epoch is one permutation, a minibatch one gather.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Real
from torch import Tensor

from stepward.core.seeding import stable_hash
from stepward.train.objectives import Objective


@dataclass(frozen=True)
class Examples:
    """n rows to learn from.

    Attributes:
        inputs: name -> tensor [n, …], what the module reads.
        targets: y: in [0, 1] of probabilities, in any unit of given labels.
        weights: weight of each row; the sum over rows is the number of labels.
        groups: id of the group of alternatives of each row, for objectives that compare rows; else None.
        bundles: id of the rows that are cheaper together, such as the beginnings of one text; None: no such rows.
        lengths: how long each row is, for balance and curricula; else None.
    """

    inputs: dict[str, Tensor]
    targets: Float[Tensor, " n"]
    weights: Float[Tensor, " n"]
    groups: Int[Tensor, " n"] | None = None
    bundles: Int[Tensor, " n"] | None = None
    lengths: Real[Tensor, " n"] | None = None

    @property
    def together(self) -> Int[np.ndarray, " n"] | None:
        """Id of the rows that an epoch keeps together: those to compare come before those that are cheaper together."""
        kept = self.bundles if self.groups is None else self.groups
        return None if kept is None else kept.cpu().numpy()

    def __len__(self) -> int:
        return len(self.targets)

    def to(self, device: torch.device | str) -> Examples:
        """The same rows on another device."""
        known = (self.groups, self.bundles, self.lengths)
        groups, bundles, lengths = (None if column is None else column.to(device) for column in known)
        inputs = {name: tensor.to(device) for name, tensor in self.inputs.items()}
        return Examples(inputs, self.targets.to(device), self.weights.to(device), groups, bundles, lengths)


def make_examples(
    inputs: Mapping[str, np.ndarray],
    successes: Real[np.ndarray, " n"],
    num_rollouts: Real[np.ndarray, " n"],
    objective: Objective,
    groups: Int[np.ndarray, " n"] | None = None,
    *,
    bundles: Int[np.ndarray, " n"] | None = None,
    lengths: Real[np.ndarray, " n"] | None = None,
    pool: bool = True,
) -> Examples:
    """Rows of encoded states with the targets and weights of an objective.

    Rows of equal inputs are pooled into one where the objective is linear in its target: Σ_i w_i BCE(z, y_i) equals
    (Σ w_i) BCE(z, Σ w_i y_i / Σ w_i), so gradients stay as they are and an epoch gets shorter.
    `pool=False` keeps all rows, in their order. A pooled row has the bundle and the length of the first.
    """
    targets, weights = objective.targets(successes, num_rollouts)
    arrays = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
    if pool and objective.LINEAR:
        first, row = _distinct(arrays)
        arrays = {name: array[first] for name, array in arrays.items()}
        total = np.bincount(row, weights)
        targets, weights, groups = np.bincount(row, weights * targets) / total, total, None
        bundles, lengths = (None if column is None else column[first] for column in (bundles, lengths))
    return Examples(
        inputs={name: torch.from_numpy(array) for name, array in arrays.items()},
        targets=torch.from_numpy(np.asarray(targets, np.float32)),
        weights=torch.from_numpy(np.asarray(weights, np.float32)),
        groups=None if groups is None else torch.from_numpy(np.asarray(groups, np.int64)),
        bundles=None if bundles is None else torch.from_numpy(np.asarray(bundles, np.int64)),
        lengths=None if lengths is None else torch.from_numpy(np.asarray(lengths, np.float32)),
    )


def minibatches(
    num_rows: int, batch_size: int, *, seed: int, epoch: int, groups: Int[np.ndarray, " n"] | None = None
) -> Iterator[Int[np.ndarray, " b"]]:
    """Rows of each minibatch of one epoch, a function of (seed, epoch) alone.

    Rows are shuffled; rows that do not fill a last minibatch wait for the next epoch. Where there are groups, these are
    shuffled and stay together, but for those that a minibatch's end cuts.
    """
    rng = np.random.default_rng(stable_hash("minibatches", seed, epoch))
    if groups is None:
        order = rng.permutation(num_rows)
    else:
        codes = np.unique(groups, return_inverse=True)[1].reshape(-1)
        order = np.argsort(rng.permutation(codes.max(initial=0) + 1)[codes], kind="stable")
    size = min(batch_size, num_rows)
    for start in range(0, num_rows - size + 1, size):
        yield order[start : start + size]


def num_minibatches(num_rows: int, batch_size: int) -> int:
    """Minibatches of an epoch."""
    return num_rows // min(batch_size, num_rows)


def _distinct(arrays: Mapping[str, np.ndarray]) -> tuple[Int[np.ndarray, " d"], Int[np.ndarray, " n"]]:
    """First row of each distinct input, in order of appearance, and the distinct input of each row."""
    rows = [array.reshape(len(array), -1).view(np.uint8).reshape(len(array), -1) for array in arrays.values()]
    raw = np.ascontiguousarray(np.concatenate(rows, axis=1))
    _, first, row = np.unique(raw.view(f"V{raw.shape[1]}").ravel(), return_index=True, return_inverse=True)
    order = np.argsort(first)
    return first[order], np.argsort(order)[row.reshape(-1)]
