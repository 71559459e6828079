"""What an epoch visits, and how much each row counts: balance, a curriculum on length, hard negatives.

Balance and hard negatives are weights, not draws: the gradient is that of drawing rows in proportion, on average, but
no row comes twice in an epoch or not at all, and beginnings of one text still stand in one minibatch. The sum of
weights stays, so that learning rates keep their meaning.

Beginnings of a solution (the truncations of an augmented data set) need nothing here: mining labels all of them, or as
many a solution as ``mining.max_prefixes`` says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor

from stepward.core.config import Config
from stepward.train.examples import Examples

POSITIVE = 0.5  # targets above it are positive
HARD_WEIGHT, LENGTH = 4.0, "num_steps"  # defaults


class Sampling(Config):
    """Which rows an epoch visits, and how much they count."""

    balance: Literal["none", "labels", "lengths", "labels_within_lengths"] = Field(
        "none",
        description="labels: rows of a target above ½ count as much as the others, all together; lengths: rows of "
        "every length alike; labels_within_lengths: labels at every length, so that length says nothing about them",
    )
    curriculum: float = Field(
        0.0, ge=0, lt=1, description="share of the epochs over which the longest rows visited grow from the shortest"
    )
    hard_above: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="rows of a target up to ½ that the model scores above this, at the start of an epoch, count more",
    )
    hard_weight: float = Field(
        HARD_WEIGHT, gt=1, description="how many times as much they count, from the second epoch on"
    )
    length: str = Field(
        "num_steps", description="label column that says how long a row is: num_steps in math, steps_left in walk"
    )

    @property
    def needs_lengths(self) -> bool:
        """Whether rows have to say how long they are."""
        return self.curriculum > 0 or "lengths" in self.balance

    @model_validator(mode="after")
    def _no_setting_without_effect(self) -> Sampling:
        if self.hard_above is None and self.hard_weight != HARD_WEIGHT:
            raise ValueError("hard_weight: would have no effect without hard_above; give both or neither")
        if self.length != LENGTH and not self.needs_lengths:
            raise ValueError("length: would have no effect without a balance of lengths or a curriculum; leave it out")
        return self

    def weights(self, rows: Examples) -> Float[Tensor, " n"]:
        """Weight of every row, balanced; their sum is that of the rows' own weights."""
        if self.balance == "none":
            return rows.weights
        positive = (rows.targets > POSITIVE).long()
        if self.balance == "labels":
            return _alike(rows.weights, positive)
        assert rows.lengths is not None, "examples of a balance of lengths carry them"
        length = rows.lengths.unique(return_inverse=True)[1]
        if self.balance == "lengths":
            return _alike(rows.weights, length)
        return _alike(rows.weights, positive, within=length)

    def visited(self, rows: Examples, epoch: int, num_epochs: int) -> Int[np.ndarray, " k"]:
        """Rows that an epoch (from 0) of `num_epochs` visits; at least those of the least length."""
        if self.curriculum == 0:
            return np.arange(len(rows))
        assert rows.lengths is not None, "examples of a curriculum carry lengths"
        lengths = rows.lengths.cpu().numpy()
        grown = min(1.0, (epoch + 1) / (self.curriculum * num_epochs))
        longest = lengths.min() + grown * (lengths.max() - lengths.min())
        return np.flatnonzero(lengths <= longest)

    def emphasised(self, rows: Examples, epoch: int, scores: Callable[[], Float[Tensor, " n"]]) -> Float[Tensor, " n"]:
        """Weights of an epoch: hard negatives count more. `scores` computes probabilities, and is called if needed."""
        if self.hard_above is None or epoch == 0:
            return rows.weights
        hard = (rows.targets <= POSITIVE) & (scores() > self.hard_above)
        weights = torch.where(hard, self.hard_weight * rows.weights, rows.weights)
        return weights * (rows.weights.sum() / weights.sum())


def _alike(
    weights: Float[Tensor, " n"], kind: Int[Tensor, " n"], within: Int[Tensor, " n"] | None = None
) -> Float[Tensor, " n"]:
    """Weights rescaled so that all kinds that occur (in a group of `within`) weigh alike; each group keeps its sum."""
    group = torch.zeros_like(kind) if within is None else within
    cell = (group * (int(kind.max()) + 1) + kind).unique(return_inverse=True)[1]
    in_cell = weights.new_zeros(int(cell.max()) + 1).index_add(0, cell, weights)
    owner = group.new_zeros(len(in_cell)).index_put((cell,), group)  # group of each cell
    in_group = weights.new_zeros(int(group.max()) + 1).index_add(0, owner, in_cell)
    kinds = torch.bincount(owner, minlength=len(in_group))
    return weights * (in_group / kinds)[group] / in_cell[cell]
