"""Composing rules: each step proposes K candidates and goes on with one child made of them all.

For domains whose states can be mixed (`Combines`): fields can, texts cannot. To the loop they are beams of width 1
whose children are composed after they were scored, so every candidate and every score is charged, and all rules meet
the very candidates that a choice among K meets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal, Unpack

import numpy as np
from jaxtyping import Bool, Float
from pydantic import Field

from stepward.core.batch import Batch
from stepward.core.config import Config
from stepward.core.interfaces import WORST, Combines, Status
from stepward.search.beam import BeamRule
from stepward.search.loop import Parts, SearchResult, run_search
from stepward.search.scoring import Scoring

TINY = 1e-12
Weigh = Callable[[Any, Float[np.ndarray, "n k"], Bool[np.ndarray, "n k"]], np.ndarray]


class _Composing(Config):
    """What composing rules share."""

    kind: str
    NEEDS: ClassVar[type] = Combines  # of the domain: asked for before an evaluation begins, and again here

    num_candidates: int = Field(16, ge=2, description="candidates K of every step")

    def _search(self, problems: Batch, weigh: Weigh, smooth: bool = True, /, **parts: Unpack[Parts]) -> SearchResult:
        """Search with children of weights ``weigh(parents, scores, usable)``: [n, k], or [n, k, r, s] a patch."""
        domain, mixes = parts["domain"], parts["domain"]
        if not isinstance(mixes, Combines):
            raise ValueError(
                f"search.kind={self.kind}: expected a domain whose states can be mixed, but {domain.name!r} has no "
                "combine(parents, candidates, weights). Take beam, best_first or another search that chooses."
            )
        k = self.num_candidates

        def compose(parents: Batch, candidates: Batch, scores: Float[np.ndarray, " m"]) -> tuple[Batch, np.ndarray]:
            sets = scores.reshape(len(parents), k)
            usable = (domain.status(candidates) != Status.DEAD).reshape(len(parents), k) & (sets > WORST)
            weights = weigh(parents, sets, usable)
            share = weights.reshape(*weights.shape[:2], -1).mean(axis=2)
            child = mixes.combine(parents, candidates, weights, smooth=smooth)
            return child, (share * np.where(usable, sets, 0.0)).sum(axis=1)

        return run_search(
            problems,
            rule=lambda tree, rng: BeamRule(tree, 1, k),
            scoring=Scoring(),
            compose=compose,
            **parts,
        )


class MeanOfK(_Composing):
    """The mean of the candidates that did not fail: what chance alone is worth, without any choice."""

    kind: Literal["mean_of_k"] = "mean_of_k"

    def __call__(self, problems: Batch, **parts: Unpack[Parts]) -> SearchResult:
        """Searches all problems at once, with equal weights for candidates that are finite."""
        return self._search(problems, lambda _, scores, usable: uniform_weights(usable), **parts)


class WeightedMean(_Composing):
    """The mean of the candidates with weights softmax(z / T), z the scores standardised among the K.

    T → 0 is the best candidate, T → ∞ the mean of K.
    """

    kind: Literal["weighted_mean"] = "weighted_mean"
    temperature: float = Field(0.5, gt=0, description="T of softmax(z / T)")

    def __call__(self, problems: Batch, **parts: Unpack[Parts]) -> SearchResult:
        """Searches all problems at once, with weights by the reward of whole candidates."""
        return self._search(problems, lambda _, s, usable: softmax_weights(s, usable, self.temperature), **parts)


class Patchwork(_Composing):
    """Each patch from the candidate that scores highest there, or a blend of all by softmax(z / T), patch by patch.

    Needs a guide with ``score_map(parents, children) -> [n, p, q]``, such as the convolutional reward model.
    """

    kind: Literal["patchwork"] = "patchwork"
    patch: int = Field(8, ge=1, description="cells of a patch along an axis; the score map is averaged over patches")
    temperature: float = Field(0.0, ge=0, description="T of the blend; 0 takes the best of each patch")
    smooth: bool = Field(True, description="interpolate weights between the centres of patches: no seams")

    def __call__(self, problems: Batch, **parts: Unpack[Parts]) -> SearchResult:
        """Searches all problems at once, with weights by the reward's score map; refuses a reward without one."""
        domain: Any = parts["domain"]  # of states that can be mixed, as `_search` asks
        reward = parts["reward"]
        if not hasattr(reward, "score_map"):
            raise ValueError(
                f"search.kind=patchwork: expected a guide with a score map, got {type(reward).__name__}. Take a "
                "trained convolutional reward model as it is, neither calibrated nor combined."
            )
        mapped = _Mapped(reward)

        def weigh(parents: Batch, scores: np.ndarray, usable: np.ndarray) -> Float[np.ndarray, "n k r s"]:
            n, k = scores.shape
            grid = tuple(extent // self.patch for extent in domain.extent(parents))
            local = pooled(mapped.maps, domain.extent(parents), self.patch).reshape(n, k, -1).transpose(0, 2, 1)
            flat, good = (
                local.reshape(-1, k),
                np.repeat(usable, local.shape[1], axis=0) & np.isfinite(local.reshape(-1, k)),
            )
            if self.temperature:
                weights = softmax_weights(flat, good, self.temperature)
            else:
                weights = np.eye(k)[np.where(good, flat, WORST).argmax(axis=1)]
            return weights.reshape(n, *grid, k).transpose(0, 3, 1, 2)

        parts["reward"] = mapped
        return self._search(problems, weigh, self.smooth, **parts)


class _Mapped:
    """Scores by the map and keeps the map, so that the meter sees one scoring."""

    def __init__(self, reward: Any) -> None:
        self.reward, self.num_parameters = reward, reward.num_parameters
        self.maps = np.zeros((0, 1, 1))
        if hasattr(reward, "charged_tokens"):
            self.charged_tokens = reward.charged_tokens

    def score(self, parents: Batch, children: Batch) -> Float[np.ndarray, " n"]:
        """Mean of each child's map; `WORST` where it is not finite."""
        self.maps = self.reward.score_map(parents, children)
        means = self.maps.mean(axis=(1, 2), dtype=np.float64)
        return np.where(np.isfinite(means), means, WORST)


def uniform_weights(usable: Bool[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """Equal weights of the usable ones; of all where none is."""
    some = usable | ~usable.any(axis=1, keepdims=True)
    return some / some.sum(axis=1, keepdims=True)


def softmax_weights(
    scores: Float[np.ndarray, "n k"], usable: Bool[np.ndarray, "n k"], temperature: float
) -> Float[np.ndarray, "n k"]:
    """softmax(z / T), z standardised over the candidates that can be used; the others weigh 0.

    Equal weights where none can be used.
    """
    count = np.maximum(usable.sum(axis=1, keepdims=True), 1)
    mean = np.where(usable, scores, 0.0).sum(axis=1, keepdims=True) / count
    centred = np.where(usable, scores - mean, 0.0)
    deviation = np.sqrt((centred**2).sum(axis=1, keepdims=True) / count)
    z = centred / np.where(deviation > 0, deviation, 1.0) / temperature
    weights = np.exp(z - np.where(usable, z, -np.inf).max(axis=1, keepdims=True, initial=-700.0)) * usable
    total = np.maximum(weights.sum(axis=1, keepdims=True), TINY)
    return np.where(usable.any(axis=1, keepdims=True), weights / total, 1.0 / scores.shape[1])


def pooled(maps: Float[np.ndarray, "m p q"], extent: tuple[int, int], patch: int) -> Float[np.ndarray, "m r s"]:
    """Maps averaged over patches of patch x patch cells of a grid of `extent` cells.

    Raises:
        ValueError: map and grid do not divide into patches.
    """
    (height, width), (rows, columns) = extent, maps.shape[1:]
    if height % patch or width % patch or rows % (height // patch) or columns % (width // patch):
        raise ValueError(
            f"search.patch: expected a patch that divides the grid {height} x {width} and is a multiple of the cells a "
            f"value of the score map stands for ({height // rows}), got {patch}."
        )
    r, s = height // patch, width // patch
    return maps.reshape(len(maps), r, rows // r, s, columns // s).mean(axis=(2, 4), dtype=np.float64)
