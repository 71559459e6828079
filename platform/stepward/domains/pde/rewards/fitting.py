"""Training a reward model on ranked candidates, on one device and in one process; a cluster wraps the same steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from stepward.core.config import Config, one_of
from stepward.core.seeding import stable_hash
from stepward.domains.pde.rewards import objectives


@dataclass(frozen=True)
class RankedCandidates:
    """n states with k candidates each, as float32 arrays.

    Attributes:
        state, deterministic: fields before the step, and the surrogate's own answer.
        candidates: fields after the step.
        errors: error of each candidate to the truth, > 0, in any unit: one step's, or that realised h steps later.
        patch_errors: the same a patch, or None.
    """

    state: Float[np.ndarray, "n c h w"]
    deterministic: Float[np.ndarray, "n c h w"]
    candidates: Float[np.ndarray, "n k c h w"]
    errors: Float[np.ndarray, "n k"]
    patch_errors: Float[np.ndarray, "n k p q"] | None = None

    def __len__(self) -> int:
        return len(self.state)


class TwoHinge(Config):
    """Best, median and worst apart by a margin."""

    kind: Literal["two_hinge"] = "two_hinge"
    margin: float = Field(0.2, gt=0, description="margin m; the paper has .1")

    def losses(self, scores: Tensor, errors: Tensor) -> Tensor:
        return objectives.two_hinge(scores, errors, self.margin)


class BradleyTerry(Config):
    """All pairs."""

    kind: Literal["bradley_terry"] = "bradley_terry"
    min_gap: float = Field(0.0, ge=0, description="difference of log errors from which on a pair counts")

    def losses(self, scores: Tensor, errors: Tensor) -> Tensor:
        return objectives.bradley_terry(scores, errors, self.min_gap)


class Listwise(Config):
    """The whole list at once."""

    kind: Literal["listwise"] = "listwise"
    temperature: float = Field(1.0, gt=0, description="T of the target; small looks at the best alone")

    def losses(self, scores: Tensor, errors: Tensor) -> Tensor:
        return objectives.listwise(scores, errors, self.temperature)


class Regression(Config):
    """The logarithm of the error itself."""

    kind: Literal["regression"] = "regression"

    def losses(self, scores: Tensor, errors: Tensor) -> Tensor:
        return objectives.regression(scores, errors)


OBJECTIVES: dict[str, type[Config]] = {
    "bradley_terry": BradleyTerry,
    "two_hinge": TwoHinge,
    "listwise": Listwise,
    "regression": Regression,
}
RankingObjective: Any = one_of(OBJECTIVES)


class RewardFit(Config):
    """Gradient descent of a reward model; the source's values but for the objective."""

    objective: RankingObjective = Field(BradleyTerry(), description="what it is trained for")
    patch_weight: float = Field(0.0, ge=0, description="weight of the same objective on the score map, patch by patch")
    epochs: int = Field(50, ge=1, description="passes over the states")
    batch_size: int = Field(32, ge=1, description="states a step, each with all its candidates")
    learning_rate: float = Field(3e-4, gt=0, description="of AdamW at the start")
    final_learning_rate: float = Field(1e-6, ge=0, description="at the end of the cosine")
    weight_decay: float = Field(0.01, ge=0, description="of AdamW")


@dataclass(frozen=True)
class FittedReward:
    """What training gives: weights of the best and of the latest epoch by validation pairs, and how it went."""

    best: dict[str, np.ndarray]
    latest: dict[str, np.ndarray]
    best_epoch: int
    history: list[dict[str, float]]


def fit_reward(
    learner: Any,
    train: RankedCandidates,
    validation: RankedCandidates,
    fit: RewardFit,
    *,
    seed: int = 0,
    device: str = "cpu",
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> FittedReward:
    """Train the module of `learner` to order candidates.

    Args:
        learner: settings with ``module()`` of state, deterministic, candidate -> scores.
        on_epoch: called with the metrics of each epoch.

    Raises:
        ValueError: patch_weight without patch errors, or with a module that has no score map; fewer than 3 candidates.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stable_hash("reward", seed) % 2**63)
        module = learner.module().to(device)
        check_rankings(module, train, fit)
        fit_reward_scales(module, train, device)
        optimiser = torch.optim.AdamW(module.parameters(), lr=fit.learning_rate, weight_decay=fit.weight_decay)
        size = min(fit.batch_size, len(train))
        total = fit.epochs * (len(train) // size)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, total, fit.final_learning_rate)
        rng, history, best = np.random.default_rng(stable_hash("reward-order", seed)), [], (-1.0, 0, _weights(module))
        for epoch in range(1, fit.epochs + 1):
            module.train()
            order, sum_loss = rng.permutation(len(train)), 0.0
            for first in range(0, len(order) - size + 1, size):
                loss = ranking_loss(module, train, order[first : first + size], fit, rng, device)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                schedule.step()
                sum_loss += float(loss.detach())
            found = {"epoch": float(epoch), "loss": sum_loss / (len(order) // size)} | evaluate(
                module, validation, device
            )
            history.append(found)
            if found["pairs"] > best[0]:
                best = (found["pairs"], epoch, _weights(module))
            if on_epoch is not None:
                on_epoch(found)
    return FittedReward(best[2], _weights(module), best[1], history)


def evaluate(module: Any, data: RankedCandidates, device: str = "cpu") -> dict[str, float]:
    """Means over states of `objectives.ranking_metrics`."""
    scores = score_candidates(module, data, device)
    metrics = objectives.ranking_metrics(torch.from_numpy(scores), torch.from_numpy(data.errors.astype(np.float64)))
    return {name: float(values.mean()) for name, values in metrics.items()}


def score_candidates(
    module: Any, data: RankedCandidates, device: str = "cpu", states: int = 16
) -> Float[np.ndarray, "n k"]:
    """Scores of all candidates, some states at a time."""
    was_training = module.training
    module.eval()
    parts = []
    with torch.inference_mode():
        for first in range(0, len(data), states):
            inputs = _inputs(data, np.arange(first, min(first + states, len(data))), device)
            parts.append(module(*inputs).reshape(-1, data.errors.shape[1]).cpu().numpy())
    module.train(was_training)
    return np.concatenate(parts).astype(np.float64)


def ranking_loss(
    module: Any, data: RankedCandidates, rows: np.ndarray, fit: RewardFit, rng: np.random.Generator, device: str
) -> Tensor:
    """Loss of the states `rows`, each with all its candidates, moved at random around the square if it is periodic."""
    inputs = _inputs(data, rows, device)
    shift = rng.integers(0, data.state.shape[2:]).tolist() if not fit.patch_weight else [0, 0]
    if getattr(module, "periodic", True):
        inputs = [torch.roll(x, shift, dims=(2, 3)) for x in inputs]
    errors = torch.from_numpy(data.errors[rows]).to(device, torch.float32)
    if not fit.patch_weight:
        return fit.objective.losses(module(*inputs).reshape(errors.shape), errors).mean()
    assert data.patch_errors is not None, "checked before"
    patch_errors = torch.from_numpy(data.patch_errors[rows]).to(device, torch.float32)
    n, k, p, q = patch_errors.shape
    maps = module.score_map(*inputs)
    local = adaptive_avg_pool2d(maps[:, None], (p, q)).reshape(n, k, p * q)
    flat_scores, flat_errors = (
        x.transpose(1, 2).reshape(n * p * q, k) for x in (local, patch_errors.reshape(n, k, -1))
    )
    whole = fit.objective.losses(maps.mean(dim=(1, 2)).reshape(n, k), errors).mean()
    return whole + fit.patch_weight * fit.objective.losses(flat_scores, flat_errors).mean()


def _inputs(data: RankedCandidates, rows: np.ndarray, device: str) -> list[Tensor]:
    """State, deterministic output and candidate of every candidate of some states."""
    k = data.errors.shape[1]
    candidates = torch.from_numpy(data.candidates[rows]).to(device).flatten(0, 1)
    repeated = (
        torch.from_numpy(f[rows]).to(device).repeat_interleave(k, dim=0) for f in (data.state, data.deterministic)
    )
    return [*repeated, candidates]


def fit_reward_scales(module: Any, train: RankedCandidates, device: str) -> None:
    """Set the units of a fresh module to those of the data, where it has units."""
    if hasattr(module, "fit_scales"):
        module.fit_scales(*_inputs(train, np.arange(min(64, len(train))), device))


def check_rankings(module: Any, train: RankedCandidates, fit: RewardFit) -> None:
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


def _weights(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in module.state_dict().items()}
