"""A small world of the domain pde for tests: short trajectories on 16 x 16 cells, a tiny surrogate, its states."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from stepward.domains.pde.data import PDEMining, PDEProblems, pde_states
from stepward.domains.pde.references import trajectories
from stepward.domains.pde.surrogates import SurrogateFit, UNetSettings, build_surrogate, fit_surrogate

torch.set_num_threads(1)

PROBLEMS = PDEProblems(num_train=8, num_validation=4, num_test=4, cells=16, num_steps=6, horizon=4)


@lru_cache
def training_trajectories():
    """[8, 7, 4, 16, 16]."""
    return np.stack(trajectories(PROBLEMS.references("train", 0)))


@lru_cache
def surrogate(dropout=0.2, code_dim=0):
    """A U-Net of width 8 that has learned something."""
    torch.manual_seed(0)
    network = build_surrogate(UNetSettings(width=8, dropout=dropout, code_dim=code_dim))
    fit_surrogate(network, training_trajectories(), SurrogateFit(epochs=6, batch_size=8, learning_rate=4e-3))
    return network


def roots(split="test"):
    """First frames of the problems of a split."""
    return pde_states(PROBLEMS.problems(split, 0)[0])


def mined(split="train", share=0.5):
    """A table of true states under way."""
    return PDEMining(share=share).mine(PROBLEMS.problems(split, 0)[0], 0)
