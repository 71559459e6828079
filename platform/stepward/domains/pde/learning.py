"""Learning from ranked candidates: what the train and tune stages ask this domain; see `stepward.core.learning`."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from pydantic import Field

from stepward.core.artifacts import Artifact
from stepward.core.config import Config, with_defaults
from stepward.core.interfaces import RewardModel
from stepward.core.learning import Judged, Trained, TrainStage
from stepward.core.storage import Folder
from stepward.core.wing import Wing
from stepward.domains.pde.defaults import PATCH_WEIGHT
from stepward.domains.pde.grids import require_periodic
from stepward.domains.pde.ranked_labels import Rankings, read_rankings, subset_of
from stepward.domains.pde.ranking_labels import BASELINES
from stepward.domains.pde.rewards.common import NOT_PERIODIC, filled
from stepward.domains.pde.rewards.fitting import RankingOptimisation, RankingTask, RewardFit, judge, judge_scores
from stepward.domains.pde.rewards.ranking_objectives import BradleyTerry, RankingObjective
from stepward.domains.pde.rewards.simple import NearDeterministicSettings
from stepward.domains.pde.steps import steps_of
from stepward.train import seeded_module
from stepward.train.targets import problem_shares

SPLITS = ("train", "validation")
FIGURES = {"pairs": "pairs", "triplet": "triplet", "spearman": "spearman_ranks", "regret": "regret"}


class RankingSubset(Config):
    """Which of the training labels are learned from; validation is always on all of its labels."""

    num_rows: int | None = Field(None, ge=1, description="training states at most, chosen at random; none: all")

    def num_kept(self, num_rows: int) -> int:
        """Rows left of `num_rows`."""
        return num_rows if self.num_rows is None else min(self.num_rows, num_rows)


@runtime_checkable
class RankingStage(TrainStage, Protocol):
    """Settings of a training with the fields that `RankingLearning` adds."""

    patch_weight: float | None
    horizon: int | None
    min_headroom: float


class RankingLearning:
    """See `stepward.core.learning.Learning`; labels are `Rankings`."""

    unit = "share of pairs in the wrong order"

    def fields(self, wing: Wing) -> dict[str, object]:
        """Subset, objective, optimisation, and what of the labels to learn from."""
        descent: Any = with_defaults(RankingOptimisation, wing.defaults.optimisation)
        return {
            "subset": (RankingSubset, Field(RankingSubset(), description="which training labels are learned from")),
            "objective": (RankingObjective, Field(BradleyTerry(), description="what the model is trained for")),
            "optimisation": (descent, Field(descent(), description="gradient descent")),
            "patch_weight": (
                float | None,
                Field(None, ge=0, description="weight of the same objective on the score map, patch by patch; none: "
                      f"{PATCH_WEIGHT:g} for a network that has such a map, as in the published results"),
            ),
            "horizon": (
                int | None,
                Field(None, ge=1, description="learn from the error so many steps later; none: after the step"),
            ),
            "min_headroom": (
                float,
                Field(0.0, description="share of the error that the best of K must save, two standard errors clear; "
                      "below it no reward model can help and training refuses. −1: train all the same"),
            ),
        }  # fmt: skip

    def readable(self, labels: Artifact, wing: Wing) -> None:
        """Raise ValueError for labels without rankings."""
        for split in SPLITS:
            read_rankings(labels.folder, split, horizons=_horizons(labels))

    def check(self, settings: RankingStage) -> None:
        """Find out what cannot be learned from, or cannot help.

        Raises:
            ValueError: rankings are missing or lack the horizon; they are not periodic where the network is; or the
                best of K is no better than what needs no choice.
        """
        labels = settings.artifact("label", settings.label)
        for split in SPLITS:
            problems = _load(settings, split).problem_ids
        if getattr(settings.learner.module(), "periodic", True):
            require_periodic(problems, f"Reward model {settings.learner.kind}", NOT_PERIODIC)
        require_headroom(labels.folder.read_json("metrics.json"), settings.min_headroom)

    def read(self, settings: RankingStage, split: str) -> Rankings:
        """Rankings of a split; of the training split, those that are learned from."""
        labels = settings.artifact("label", settings.label)
        found = _read(labels.url, split, _horizons(labels), settings.horizon, labels.manifest().fingerprint)
        return subset_of(found, settings.subset.num_rows, settings.seed) if split == "train" else found

    def task(
        self, settings: RankingStage, labels: Rankings, validation: Rankings, device: torch.device | str
    ) -> RankingTask:
        """Descent on the settings' objective, judged by the pairs of validation candidates in the right order."""
        module = seeded_module(settings.learner.module, settings.seed).to(device)
        descent = settings.optimisation.model_dump()
        weight = settings.patch_weight
        if weight is None:
            weight = PATCH_WEIGHT if hasattr(module, "score_map") else 0.0
        fit = RewardFit(objective=settings.objective, patch_weight=weight, **descent)
        return RankingTask(module, labels.data, validation.data, fit, seed=settings.seed)

    def losses(self, task: RankingTask, validation: Rankings) -> Float[np.ndarray, " p"]:
        """Share of each problem in the share of pairs in the wrong order."""
        return problem_shares(1 - judge(task.module, validation.data)["pairs"], validation.problem_ids)

    def fit(
        self, settings: RankingStage, labels: Rankings, validation: Rankings
    ) -> tuple[dict[str, np.ndarray], Float[np.ndarray, " p"]]:
        """No learner of rankings is fitted in one call.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"learner {settings.learner.kind!r}: expected one that descends gradients on rankings.")

    def facts(self, labels: Rankings) -> dict[str, float]:
        """States; there are no rollouts."""
        return {"num_rows": len(labels), "num_rollouts": 0.0}

    def judge(self, settings: RankingStage, trained: Trained) -> Judged:
        """How well validation candidates are ordered, beside a reward that asks for nearness to the deterministic."""
        labels, validation = settings.artifact("label", settings.label), _load(settings, "validation")
        module = filled(settings.learner.module(), trained.weights, "cpu")
        judged = judge(module, validation.data)
        near = NearDeterministicSettings().build(settings.wing.domain)
        baseline = judge_scores(score_rankings(near, validation), validation.data)
        metrics = {"num_parameters": float(sum(parameter.numel() for parameter in module.parameters()))}
        for name, word in FIGURES.items():
            metrics |= {word: float(judged[name].mean()), f"{word}_near_deterministic": float(baseline[name].mean())}
        rows = {"train": settings.subset.num_kept(labels.manifest().rows["train"]), "validation": len(validation)}
        table = pa.table({"id": validation.ids, "problem_id": validation.problem_ids, **judged})
        return Judged(metrics=metrics, rows=rows, tables={"ranking": table})


def require_headroom(metrics: dict[str, float], least: float) -> None:
    """Raise ValueError where the best of K candidates is no better than what needs no choice.

    Args:
        metrics: of the labels.
        least: share of the error that must be saved, two standard errors clear.
    """
    for name in (name for name in BASELINES if f"headroom_over_{name}.train" in metrics):
        gain = metrics[f"headroom_over_{name}.train"]
        error = metrics.get(f"headroom_over_{name}_se.train", 0.0)
        if not gain - 2 * error > least:
            raise ValueError(
                f"These candidates cannot help: expected the best of K by the true error to save more than "
                f"{least:.1%} against {name.replace('_', ' ')}, got {gain:.1%} ± {2 * error:.1%} on "
                "training states. No reward model can do better than the best. Label with another proposer or a wider "
                "one, or train all the same with min_headroom=-1."
            )


def _load(settings: RankingStage, split: str) -> Rankings:
    labels = settings.artifact("label", settings.label)
    return read_rankings(labels.folder, split, horizons=_horizons(labels), horizon=settings.horizon)


@lru_cache(maxsize=4)
def _read(url: str, split: str, horizons: tuple[int, ...], horizon: int | None, fingerprint: str) -> Rankings:
    """Read once a worker, which may run many trials."""
    return read_rankings(Folder(url), split, horizons=horizons, horizon=horizon)


def _horizons(labels: Artifact) -> tuple[int, ...]:
    """Steps after which errors were labelled."""
    return tuple(labels.manifest().identity["labels"]["horizons"])


def score_rankings(reward: RewardModel, rankings: Rankings, states: int = 16) -> np.ndarray:
    """Scores of all candidates of rankings by a reward model, [n, k], some states at a time."""
    data, k = rankings.data, rankings.data.errors.shape[1]
    parts = []
    for first in range(0, len(rankings), states):
        rows = np.arange(first, min(first + states, len(rankings)))
        parents, children = steps_of(data, rows)
        parts.append(reward.score(parents, children).reshape(-1, k))
    return np.concatenate(parts)
