"""Learning from ranked candidates: see `stepward.runtime.learning`."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float

from stepward.core.artifacts import MANIFEST, Artifact, Manifest
from stepward.core.storage import Folder
from stepward.core.wing import Wing
from stepward.domains.pde.grids import require_periodic
from stepward.domains.pde.rewards import NearDeterministicSettings
from stepward.domains.pde.rewards.common import NOT_PERIODIC, filled
from stepward.evaluate.rollouts.ranking import steps_of
from stepward.runtime.parallel import average_gradients
from stepward.runtime.train_worker import Trained
from stepward.runtime.trained_artifact import history_table
from stepward.runtime.tune_worker import Standing
from stepward.train import Checkpoint, Rank, seeded_module
from stepward.train.rankings import Rankings, judge, judge_scores, ranking_epochs, read_rankings, subset_of

LOSS = "share of pairs in the wrong order"
BASELINES = ("deterministic", "mean_of_k")
FIGURES = {"pairs": "pairs", "triplet": "triplet", "spearman": "spearman_ranks", "regret": "regret"}


def check(settings: Any, labels: Folder) -> None:
    """Find out here, and not after workers have started, that labels cannot be used or cannot help.

    Raises:
        ValueError: rankings are missing or lack the horizon, or the best of K is no better than what needs no choice.
    """
    for split in ("train", "validation"):
        problems = rankings_of(settings, split).problem_ids
    if getattr(settings.learner.module(), "periodic", True):
        require_periodic(problems, f"Reward model {settings.learner.kind}", NOT_PERIODIC)
    metrics = labels.read_json("metrics.json")
    for name in BASELINES:
        gain = metrics[f"headroom_over_{name}.train"]
        error = metrics.get(f"headroom_over_{name}_se.train", 0.0)
        if not gain - 2 * error > settings.min_headroom:
            raise ValueError(
                f"These candidates cannot help: expected the best of K by the true error to save more than "
                f"{settings.min_headroom:.1%} against {name.replace('_', ' ')}, got {gain:.1%} ± {2 * error:.1%} on "
                "training states. No reward model can do better than the best. Label with another proposer or a wider "
                "one, or train all the same with min_headroom=-1."
            )


def steps(settings: Any, device: torch.device | str, *, start: Checkpoint | None, rank: Rank) -> Iterator[Checkpoint]:
    """Checkpoints, epoch by epoch, on one worker of a Ray Train run."""
    module = seeded_module(settings.learner.module, settings.seed).to(device)
    train, validation = (rankings_of(settings, split).data for split in ("train", "validation"))
    return ranking_epochs(module, train, validation, settings, start=start, rank=rank, average=average_gradients)


def rankings_of(settings: Any, split: str) -> Rankings:
    """Rankings of a split; of the training split, those that are learned from."""
    labels = settings.artifact("label", settings.label)
    horizons = tuple(labels.manifest().identity["labels"]["horizons"])
    found = read_rankings(labels.folder, split, horizons=horizons, horizon=settings.horizon)
    return subset_of(found, settings.subset.num_rows, settings.seed) if split == "train" else found


def readable(labels: Artifact, wing: Wing) -> None:
    """Raise ValueError for labels that a sweep cannot read."""
    for split in ("train", "validation"):
        _cached(labels.url, split, None)


def trial(settings: Any, device: str, start: str | None) -> Iterator[tuple[Standing, Checkpoint]]:
    """A trial of a sweep, epoch by epoch, from the checkpoint in the folder `start` if there is one."""
    url = settings.artifact("label", settings.label).url
    train, validation = (_cached(url, split, settings.horizon) for split in ("train", "validation"))
    train = subset_of(train, settings.subset.num_rows, settings.seed)
    losses = np.zeros(0) if start is None else Standing.load(start).losses
    module = seeded_module(settings.learner.module, settings.seed).to(device)
    begun = None if start is None else Checkpoint.load(start)
    for checkpoint in ranking_epochs(module, train.data, validation.data, settings, start=begun):
        progress = checkpoint.progress
        if progress.best_epoch == progress.epochs_done:
            losses = problem_losses(1 - judge(module, validation.data, device)["pairs"], validation.problem_ids)
        facts = {
            "num_parameters": sum(parameter.numel() for parameter in module.parameters()),
            "num_rollouts": 0.0,
            "num_rows": len(train),
            "patience_out": progress.out_of_patience(settings.optimisation.patience),
        }
        yield Standing(progress, losses, facts), checkpoint


def problem_losses(losses: Float[np.ndarray, " n"], problem_ids: list[str]) -> Float[np.ndarray, " p"]:
    """Share of each problem in the mean loss of the states, in the order of the problems' ids; its mean is the loss."""
    problem = np.unique(problem_ids, return_inverse=True)[1].reshape(-1)
    total = np.bincount(problem, losses)
    return total * (len(total) / len(losses))


@lru_cache(maxsize=4)
def _cached(url: str, split: str, horizon: int | None) -> Rankings:
    """Read once a worker, which may run many trials."""
    horizons = tuple(Folder(url).read_json(MANIFEST)["identity"]["labels"]["horizons"])
    return read_rankings(Folder(url), split, horizons=horizons, horizon=horizon)


def finish(settings: Any, trained: Trained, started: float) -> Manifest:
    """Write everything a train artifact holds; `started` is the monotonic time at which the stage began."""
    artifact, labels = settings.artifact("train"), settings.artifact("label", settings.label)
    folder, validation = artifact.folder, rankings_of(settings, "validation")
    module = filled(settings.learner.module(), trained.weights, "cpu")
    judged = judge(module, validation.data)
    near = NearDeterministicSettings().build(settings.wing.domain)
    baseline = judge_scores(score_rankings(near, validation), validation.data)

    folder.write_weights("weights.safetensors", {k: np.ascontiguousarray(v) for k, v in trained.weights.items()})
    learner = settings.learner.model_dump(mode="json")
    folder.write_json("reward.json", {"kind": settings.learner.kind, "settings": learner, "domain": settings.domain})
    num_parameters = sum(parameter.numel() for parameter in module.parameters())
    metrics = {"num_parameters": float(num_parameters), "best_epoch": float(trained.best_epoch)}
    metrics |= {"num_epochs": float(len(trained.history))}
    best = trained.history[trained.best_epoch - 1]
    metrics |= {name: float(best[name]) for name in ("train_loss", "validation_loss")}
    for name, word in FIGURES.items():
        metrics |= {word: float(judged[name].mean()), f"{word}_near_deterministic": float(baseline[name].mean())}
    folder.write_json("metrics.json", metrics)
    folder.write_table("history.parquet", history_table(trained))
    columns = {"id": validation.ids, "problem_id": validation.problem_ids, **judged}
    folder.write_table("tables/ranking.parquet", pa.table(columns))
    return artifact.finish(
        identity=settings.identity(),
        seed=settings.seed,
        digest=hashlib.sha256(folder.read_bytes("weights.safetensors")).hexdigest()[:16],
        inputs={"label": labels},
        rows={
            "train": settings.subset.num_kept(labels.manifest().rows["train"]),
            "validation": len(validation),
        },
        cost={"seconds": time.monotonic() - started},
        facts={"num_parameters": num_parameters, "best_epoch": trained.best_epoch},
        scratch=("run-*",),  # checkpoints
    )


def score_rankings(reward: Any, rankings: Rankings, states: int = 16) -> np.ndarray:
    """Scores of all candidates of rankings by a reward model, [n, k], some states at a time."""
    data, k = rankings.data, rankings.data.errors.shape[1]
    parts = []
    for first in range(0, len(rankings), states):
        rows = np.arange(first, min(first + states, len(rankings)))
        parents, children = steps_of(data.state[rows], data.deterministic[rows], data.candidates[rows])
        parts.append(reward.score(parents, children).reshape(-1, k))
    return np.concatenate(parts)
