"""Particle search: sequential Monte Carlo with a reward model as the potential."""

from __future__ import annotations

from typing import Literal, Unpack

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import Field

from stepward.core.batch import Batch
from stepward.core.config import Config
from stepward.core.interfaces import Status
from stepward.core.seeding import Rng
from stepward.search.loop import Parts, SearchResult, run_search
from stepward.search.scoring import Scoring
from stepward.search.tree import Tree

TINY = 1e-12  # probabilities below this weigh the same


class Particles(Config):
    """N particles a problem take one proposed step each round and are resampled when their weights degenerate.

    The weight of a particle is multiplied by ψ(new value) / ψ(old value), with ψ(root) = 1. With values that are
    success probabilities and ``potential="probability"`` (ψ(v) = v^(1/T)) and T = 1 this is twisted sequential Monte
    Carlo, whose target is proposer × value (Zhao et al. 2024, arXiv:2404.17546); ``potential="exponential"``
    (ψ(v) = e^(v/T)) takes values of any sign (Puri et al. 2025, arXiv:2502.01618).
    Resampling is systematic and happens when the effective sample size Σ(w)² / Σ(w²) falls below a share of N.
    """

    kind: Literal["particles"] = "particles"
    num_particles: int = Field(8, ge=1, description="particles a problem (N)")
    potential: Literal["probability", "exponential"] = Field("probability", description="how a value becomes a weight")
    temperature: float = Field(1.0, gt=0, description="T of the potential; small trusts the reward model more")
    ess_threshold: float = Field(
        0.5, ge=0, le=1, description="resample when the effective sample size is below this share of N"
    )
    scoring: Scoring = Scoring()

    def __call__(self, problems: Batch, **parts: Unpack[Parts]) -> SearchResult:
        """Searches all problems at once; particles of a problem are resampled together."""
        return run_search(
            problems,
            rule=lambda tree, rng: _ParticleRule(tree, rng, self),
            scoring=self.scoring,
            num_solutions=2**62,  # a problem ends when none of its particles is open
            **parts,
        )


class _ParticleRule:
    """Particles as matrices [P, N]: the node each stands on, its log weight, and the log potential it has reached."""

    def __init__(self, tree: Tree, rng: Rng, settings: Particles) -> None:
        shape = (tree.num_problems, settings.num_particles)
        self._settings, self._rng = settings, rng
        self._nodes = np.broadcast_to(np.arange(tree.num_problems)[:, None], shape).copy()
        self._log_weight = np.zeros(shape)
        self._log_potential = np.zeros(shape)
        self._cells = np.zeros((0, 2), np.int64)  # (problem, particle) of every node of the last selection

    def select(self, tree: Tree, active: Bool[np.ndarray, " p"]) -> Int[np.ndarray, " n"]:
        movable = (tree.status[self._nodes] == Status.OPEN) & (self._log_weight > -np.inf) & active[:, None]
        self._cells = np.argwhere(movable)
        return self._nodes[movable]

    def num_candidates(self, tree: Tree) -> int:
        return 1

    def update(self, tree: Tree, nodes: Int[np.ndarray, " m"], origin: Int[np.ndarray, " m"]) -> Int[np.ndarray, " m"]:
        moved = np.full(len(self._cells), -1, np.int64)
        moved[origin] = nodes
        rows, columns = self._cells.T
        survives = (moved >= 0) & (tree.status[moved] != Status.DEAD)
        potential = np.where(survives, self._log_psi(tree.value[moved]), -np.inf)
        self._log_weight[rows, columns] += potential - self._log_potential[rows, columns]
        self._log_potential[rows, columns] = np.where(survives, potential, 0.0)
        self._nodes[rows, columns] = np.where(moved >= 0, moved, self._nodes[rows, columns])
        self._resample(np.unique(rows))
        return nodes

    def weights(self, nodes: Int[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
        """Final share of its problem's weight that stands on each node; 0 for solutions resampled away."""
        share = _normalise(self._log_weight)
        total: dict[int, float] = {}
        for node, weight in zip(self._nodes.ravel().tolist(), share.ravel().tolist(), strict=True):
            total[node] = total.get(node, 0.0) + weight
        return np.array([total.get(node, 0.0) for node in nodes.tolist()])

    def _log_psi(self, value: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
        if self._settings.potential == "probability":
            if (value < 0).any():
                raise ValueError(
                    f"Particles with potential='probability': expected values of at least 0, got {value.min():.4g}. "
                    "Use potential='exponential' for rewards that can be negative."
                )
            value = np.log(np.maximum(value, TINY))
        return value / self._settings.temperature

    def _resample(self, problems: Int[np.ndarray, " r"]) -> None:
        share = _normalise(self._log_weight[problems])
        num = share.shape[1]
        alive = share.sum(axis=1) > 0
        effective = 1.0 / np.maximum((share**2).sum(axis=1), TINY)
        chosen = alive & (effective < self._settings.ess_threshold * num)
        offsets = self._rng.uniform(1)[problems[chosen]]
        problems, share = problems[chosen], share[chosen]
        picks = systematic(share, offsets[:, 0])
        self._nodes[problems] = np.take_along_axis(self._nodes[problems], picks, axis=1)
        self._log_potential[problems] = np.take_along_axis(self._log_potential[problems], picks, axis=1)
        self._log_weight[problems] = 0.0


def systematic(share: Float[np.ndarray, "r n"], offset: Float[np.ndarray, " r"]) -> Int[np.ndarray, "r n"]:
    """Systematic resampling: n evenly spaced points from one uniform number.

    Particle j of share w_j is picked ⌊n·w_j⌋ or ⌈n·w_j⌉ times.
    """
    num = share.shape[1]
    points = (offset[:, None] + np.arange(num)) / num
    cumulative = np.cumsum(share, axis=1)
    cumulative /= cumulative[:, -1:]
    return (points[:, :, None] > cumulative[:, None, :]).sum(axis=2)


def _normalise(log_weight: Float[np.ndarray, "r n"]) -> Float[np.ndarray, "r n"]:
    """Weights that sum to 1 in each row; all 0 where every particle is dead."""
    top = log_weight.max(axis=1, keepdims=True)
    weight = np.exp(log_weight - np.where(np.isfinite(top), top, 0.0))
    total = weight.sum(axis=1, keepdims=True)
    return weight / np.where(total > 0, total, 1.0)
