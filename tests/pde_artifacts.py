"""Small finished artifacts of surrogate rollouts, every stage made in this process, for tests of later stages."""

from pathlib import Path
from time import monotonic
from typing import Any

import torch

from pde_world import surrogate
from stepward.core.artifacts import Artifact
from stepward.core.config import override
from stepward.core.wing import find_wing
from stepward.domains.pde.ranking_labels import RankingTask
from stepward.domains.pde.rewards import CNNSettings, save_reward
from stepward.domains.pde.surrogates import save_surrogate
from stepward.evaluate.settings import EvaluateSettings, evaluate_settings
from stepward.evaluate.work import EvaluateWork
from stepward.label import LabelSettings, LabelWork, finish, label_settings, plan

K, KEPT = 8, 5
PROBLEMS = {"num_train": 4, "num_validation": 2, "num_test": 4, "cells": 16, "num_steps": 6, "horizon": 4}
GUIDES = {
    "prm": {"kind": "trained", "artifact": "prm"},
    "near_deterministic": {"kind": "near_deterministic"},
    "random": {"kind": "random"},
    "oracle": {"kind": "oracle"},
    "both": {
        "kind": "composite",
        "parts": {"prm": {"transform": "siblings"}, "near_deterministic": {"transform": "siblings", "weight": 2.0}},
    },
    "ahead": {"kind": "lookahead", "guide": "prm", "depth": 1, "reading": "sum"},
}
ARMS = {
    "deterministic": {"proposer": {"kind": "deterministic"}},
    "random": {"guide": "random"},
    "prm": {"guide": "prm"},
    "both": {"guide": "both"},
    "ahead": {"guide": "ahead"},
    "mean": {"guide": "prm", "search": {"kind": "weighted_mean", "num_candidates": 4}},
    "oracle": {"guide": "oracle"},
}


def make_pretrained(root: Path) -> Artifact:
    """The surrogate of `pde_world`."""
    artifact, network = Artifact(str(root), "pde", "pretrain", "default"), surrogate()
    artifact.begin({})
    save_surrogate(artifact.folder, network, network.settings)
    artifact.finish(identity={}, seed=0, digest="surrogate")
    return artifact


def ranking_label_settings(root: Path, **changes: Any) -> LabelSettings:
    values = {
        "store": str(root),
        "problems": PROBLEMS,
        "mining": {"share": 0.5},
        "labels": {"num_candidates": K, "num_kept": KEPT, "horizons": [1, 2]},
    }
    return override(label_settings(find_wing("pde")), values, changes)


def make_rankings(root: Path, batch_size: int = 4, **changes: Any) -> Artifact:
    """Labels by the task that workers run."""
    settings = ranking_label_settings(root, **changes)
    work, started = LabelWork(settings.artifact("label"), settings.identity()), monotonic()
    work.artifact.begin(settings.identity())
    plan(settings, work, batch_size)
    task = RankingTask(settings, in_flight=32)
    for batch in work.left():
        work.begin(batch)
        work.commit(batch, *task(work.rows(batch)))
    finish(settings, work, started)
    return work.artifact


def make_reward(root: Path) -> Artifact:
    """A reward model with random weights: no test depends on its quality."""
    artifact, learner = Artifact(str(root), "pde", "train", "prm"), CNNSettings(width=4, depth=1)
    artifact.begin({})
    torch.manual_seed(0)
    save_reward(artifact.folder, learner, learner.module())
    artifact.finish(identity={}, seed=0, digest="random weights")
    return artifact


def rollout_settings_of(root: Path, **changes: Any) -> EvaluateSettings:
    values = {"store": str(root), "num_candidates": 4, "num_resamples": 200, "guides": GUIDES, "arms": ARMS,
              "references": ["deterministic", "random"]} | changes  # fmt: skip
    drawn = {"pictures": {"num_problems": 1}} if "prm" in values["arms"] else {}
    return override(evaluate_settings(find_wing("pde")), drawn | values, {})


def do_all(settings: EvaluateSettings, shard_size: int = 2) -> EvaluateWork:
    work = EvaluateWork(settings, shard_size)
    settings.artifact("evaluate").begin(settings.identity())
    while left := work.left():
        for item in left:
            work.do(item)
    return work
