"""Learning to order candidates: the data, the settings, and the task.

for checkpoint in ranking_epochs(module, train, validation, fit, seed=0):
...                                  # save it, report checkpoint.progress.history[-1], or stop
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from stepward.core.seeding import stable_hash
from stepward.core.wing import Trainable
from stepward.domains.pde.rewards.ranking_objectives import BradleyTerry, RankingObjective
from stepward.statistics.candidates import ranking_metrics
from stepward.train import Checkpoint, Descent, Minibatch, Part, Task, seeded_module, state_arrays, training
from stepward.train.trainer import Options


@dataclass(frozen=True)
class RankedCandidates:
    """n states with k candidates each, as float32 arrays.

    Attributes:
        state, deterministic: fields before the step, and the surrogate's own answer.
        candidates: fields after the step.
        errors: error of each candidate to the truth, > 0, in any unit: one step's, or that realised h steps later.
        patch_errors: the same a patch, or None.
        history: frames before the state, oldest first, or None.
        guesses: constants that candidates took for true, or None.
    """

    state: Float[np.ndarray, "n c h w"]
    deterministic: Float[np.ndarray, "n c h w"]
    candidates: Float[np.ndarray, "n k c h w"]
    errors: Float[np.ndarray, "n k"]
    patch_errors: Float[np.ndarray, "n k p q"] | None = None
    history: Float[np.ndarray, "n m c h w"] | None = None
    guesses: Float[np.ndarray, "n k"] | None = None

    def frames(self, rows: Int[np.ndarray, " m"]) -> Float[np.ndarray, "m fc h w"]:
        """All frames that were seen of some states, along the channels, oldest first, the state last."""
        if self.history is None:
            return self.state[rows]
        earlier = self.history[rows].reshape(len(rows), -1, *self.state.shape[2:])
        return np.concatenate([earlier, self.state[rows]], axis=1)

    def __len__(self) -> int:
        return len(self.state)


class RankingOptimisation(Descent):
    """AdamW with a cosine; the source's values (arXiv:2509.02846)."""

    num_epochs: int = Field(50, ge=1, description="passes over the states, at most")
    batch_size: int = Field(32, ge=1, description="states a step, each with all its candidates, over all workers")
    learning_rate: float = Field(3e-4, gt=0, description="at the start")
    final_learning_rate: float = Field(1e-6, ge=0, description="at the end of the cosine")
    weight_decay: float = Field(0.01, ge=0, description="of AdamW")
    patience: int = Field(
        0, ge=0, description="epochs without a better validation loss after which training ends; 0: never"
    )

    def rate(self, step: int, num_steps: int) -> float:
        """Learning rate of step 0 … num_steps − 1."""
        cosine = (1 + math.cos(math.pi * step / num_steps)) / 2
        return self.final_learning_rate + (self.learning_rate - self.final_learning_rate) * cosine


class RewardFit(RankingOptimisation):
    """What a reward model is trained for, and how."""

    objective: RankingObjective = Field(BradleyTerry(), description="what it is trained for")
    patch_weight: float = Field(0.0, ge=0, description="weight of the same objective on the score map, patch by patch")


@dataclass(frozen=True)
class Moved(Minibatch):
    """States of one step, and how far all of them are moved around the square."""

    shift: tuple[int, ...]


class RankingTask(Task[Moved]):
    """The order of candidates. States are moved at random around the square if it is periodic, but for patches.

    Args:
        module: maps frames (those seen, along the channels), deterministic, candidate to scores; trained in place.

    Raises:
        ValueError: `patch_weight` without patch errors, or with a module without a score map; fewer than 3 candidates.
    """

    module: Any  # with `score_map`, where patches have a weight

    def __init__(
        self, module: Any, train: RankedCandidates, validation: RankedCandidates, fit: RewardFit, *, seed: int
    ) -> None:
        self.module, self.data, self.validation, self.descent, self.seed = module, train, validation, fit, seed
        self.fit, self.num_epochs, self.patience = fit, fit.num_epochs, fit.patience
        self.size = min(fit.batch_size, len(train))
        check_rankings(module, train, fit)
        if hasattr(module, "fit_scales"):  # the units of a fresh module become those of the data
            module.fit_scales(*_inputs(train, np.arange(min(64, len(train))), self.device))

    def num_steps(self, epoch: int) -> int:
        """Whole minibatches of ranked states an epoch."""
        return len(self.data) // self.size

    def minibatches(self, epoch: int) -> list[Moved]:
        """States in an order of the epoch's own; each minibatch is moved by one random shift (rows, columns)."""
        rng = np.random.default_rng(stable_hash("ranked minibatches", self.seed, epoch))
        order = rng.permutation(len(self.data))
        moves = not self.fit.patch_weight and getattr(self.module, "periodic", True)
        cut = [order[first : first + self.size] for first in range(0, len(order) - self.size + 1, self.size)]
        return [Moved(rows, tuple((rng.integers(0, self.data.state.shape[2:]) * moves).tolist())) for rows in cut]

    def part(self, batch: Moved, rows: Int[np.ndarray, " _"], step: int) -> Part:
        """Ranking loss of some states, as a share of the minibatch's mean."""
        share = len(rows) / len(batch.rows)
        return Part(self._loss(rows, batch.shift) * share, share)

    def validate(self) -> dict[str, float]:
        """The loss is the share of pairs in the wrong order: the same yardstick for every objective."""
        found = {name: float(values.mean()) for name, values in judge(self.module, self.validation).items()}
        return {"validation_loss": 1 - found["pairs"], **found}

    def _loss(self, rows: Int[np.ndarray, " _"], shift: tuple[int, ...]) -> Tensor:
        data, fit = self.data, self.fit
        inputs = [torch.roll(x, shift, dims=(2, 3)) for x in _inputs(data, rows, self.device)]
        errors = torch.from_numpy(data.errors[rows]).to(self.device, torch.float32)
        if not fit.patch_weight:
            losses: Tensor = fit.objective.losses(self.module(*inputs).reshape(errors.shape), errors)
            return losses.mean()
        assert data.patch_errors is not None, "checked before"
        patch_errors = torch.from_numpy(data.patch_errors[rows]).to(self.device, torch.float32)
        n, k, p, q = patch_errors.shape
        maps = self.module.score_map(*inputs)
        local = adaptive_avg_pool2d(maps[:, None], (p, q)).reshape(n, k, p * q)
        flat_scores, flat_errors = (
            x.transpose(1, 2).reshape(n * p * q, k) for x in (local, patch_errors.reshape(n, k, -1))
        )
        whole: Tensor = fit.objective.losses(maps.mean(dim=(1, 2)).reshape(n, k), errors).mean()
        return whole + fit.patch_weight * fit.objective.losses(flat_scores, flat_errors).mean()


def ranking_epochs(
    module: nn.Module,
    train: RankedCandidates,
    validation: RankedCandidates,
    fit: RewardFit,
    *,
    seed: int,
    **options: Unpack[Options],
) -> Iterator[Checkpoint]:
    """Checkpoints of a `RankingTask`, epoch by epoch; `options` are those of the training loop."""
    return training(RankingTask(module, train, validation, fit, seed=seed), **options)


@dataclass(frozen=True)
class FittedReward:
    """What training gives: weights of the best and of the latest epoch by validation pairs, and how it went."""

    best: dict[str, np.ndarray]
    latest: dict[str, np.ndarray]
    best_epoch: int
    history: list[dict[str, float]]


def fit_reward(
    learner: Trainable, train: RankedCandidates, validation: RankedCandidates, fit: RewardFit, *, seed: int = 0
) -> FittedReward:
    """Train the module of `learner` to order candidates, in one call.

    Args:
        learner: settings with ``module()`` of state, deterministic, candidate -> scores.

    Raises:
        ValueError: see `RankingTask`.
    """
    *_, last = ranking_epochs(seeded_module(learner.module, seed), train, validation, fit, seed=seed)
    progress = last.progress
    return FittedReward(state_arrays(last.best), state_arrays(last.weights), progress.best_epoch, progress.history)


def judge(module: nn.Module, data: RankedCandidates) -> dict[str, Float[np.ndarray, " n"]]:
    """How well a module orders the candidates of each state; see `ranking_metrics`."""
    return judge_scores(score_candidates(module, data), data)


def judge_scores(scores: Float[np.ndarray, "n k"], data: RankedCandidates) -> dict[str, Float[np.ndarray, " n"]]:
    """The same from scores."""
    return ranking_metrics(scores, data.errors)


def score_candidates(module: nn.Module, data: RankedCandidates, states: int = 16) -> Float[np.ndarray, "n k"]:
    """Scores of all candidates, some states at a time."""
    device, was_training = next(module.parameters()).device, module.training
    module.eval()
    parts = []
    with torch.inference_mode():
        for first in range(0, len(data), states):
            inputs = _inputs(data, np.arange(first, min(first + states, len(data))), device)
            parts.append(module(*inputs).reshape(-1, data.errors.shape[1]).cpu().numpy())
    module.train(was_training)
    return np.concatenate(parts).astype(np.float64)


def _inputs(data: RankedCandidates, rows: np.ndarray, device: torch.device) -> list[Tensor]:
    """Frames seen, deterministic output and candidate of every candidate of some states."""
    k = data.errors.shape[1]
    candidates = torch.from_numpy(data.candidates[rows]).to(device).flatten(0, 1)
    beside = (data.frames(rows), data.deterministic[rows])
    repeated = (torch.from_numpy(fields).to(device).repeat_interleave(k, dim=0) for fields in beside)
    return [*repeated, candidates]


def check_rankings(module: nn.Module, train: RankedCandidates, fit: RewardFit) -> None:
    """Raise ValueError for data that cannot be learned from, or a setting that asks for what they lack."""
    if train.errors.shape[1] < 3:
        raise ValueError(f"Reward model: expected 3 candidates a state or more, got {train.errors.shape[1]}.")
    if not np.isfinite(train.errors).all():
        raise ValueError("Reward model: expected finite errors; drop states with a candidate that blew up.")
    if fit.patch_weight and (train.patch_errors is None or not hasattr(module, "score_map")):
        raise ValueError(
            "patch_weight: expected labels with errors a patch and a network with a score map. Label with a patch "
            "size, use learner.kind=cnn, or set patch_weight to 0."
        )
