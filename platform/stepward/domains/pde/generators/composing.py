"""Proposers that propose K candidates, score them, and hand on one: a choice, a weighted mean, or a patchwork.

To a search they are proposers like others (a rollout is a beam of width 1 with one candidate). Their parts are metered,
so all K proposals and scores are charged; they themselves charge nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from stepward.core.batch import repeat
from stepward.core.cost import Combinator, metered_proposer, metered_reward
from stepward.core.interfaces import WORST, Domain, Proposer, RewardModel
from stepward.core.seeding import Rng
from stepward.domains.pde.states import PDEStates, advance, is_finite
from stepward.domains.pde.surrogates import as_given
from stepward.domains.pde.verifier import as_numpy

TINY = 1e-12


class Composing(Combinator, ABC):
    """Base: K candidates of every state in one batch, then `reduce` to one child each.

    Args:
        proposer: makes the candidates.
        domain: what the parts are metered in.
        num_candidates: K.
    """

    nfe = 0

    def __init__(self, proposer: Proposer, domain: Domain, num_candidates: int) -> None:
        if num_candidates < 2:
            raise ValueError(
                f"{type(self).__name__}: expected 2 candidates or more to choose from, got {num_candidates}."
            )
        self._proposer, self._domain, self._k = metered_proposer(proposer, domain), domain, num_candidates

    def propose(self, states: PDEStates, *, num_candidates: int, rng: Rng) -> PDEStates:
        """`num_candidates` children, each reduced from K candidates of its own."""
        parents = repeat(states, num_candidates)
        streams = rng.fork(rng.counter).repeat(num_candidates)
        rng.counter += 1
        candidates = self._proposer.propose(parents, num_candidates=self._k, rng=streams)
        return self.reduce(parents, candidates, streams)

    @abstractmethod
    def reduce(self, parents: PDEStates, candidates: PDEStates, streams: Rng) -> PDEStates:
        """N parents and their n * K candidates -> n children."""

    def _combined(self, parents: PDEStates, candidates: PDEStates, fields: np.ndarray, streams: Rng) -> PDEStates:
        """Children with combined fields, beside the deterministic output of their candidates."""
        plain = candidates.take(np.arange(len(parents)) * self._k).deterministic
        if isinstance(plain, np.ndarray):
            return advance(parents, fields.astype(np.float32), plain, streams.keys)
        import torch

        return advance(parents, as_given(torch.from_numpy(fields.astype(np.float32)), plain), plain, streams.keys)

    def _sets(self, candidates: PDEStates) -> Float[np.ndarray, "n k c h w"]:
        fields = as_numpy(candidates.fields)
        return fields.reshape(len(fields) // self._k, self._k, *fields.shape[1:])


class MeanOfK(Composing):
    """The mean of the candidates that are finite: what chance alone is worth, without any choice."""

    def reduce(self, parents: PDEStates, candidates: PDEStates, streams: Rng) -> PDEStates:
        weights = uniform_weights(is_finite(candidates.fields).reshape(-1, self._k))
        return self._combined(parents, candidates, weighted_mean(self._sets(candidates), weights), streams)


class NearestToMean(Composing):
    """The candidate closest to the mean of all: a choice that needs no reward model."""

    def reduce(self, parents: PDEStates, candidates: PDEStates, streams: Rng) -> PDEStates:
        sets, good = self._sets(candidates), is_finite(candidates.fields).reshape(-1, self._k)
        mean = weighted_mean(sets, uniform_weights(good))
        with np.errstate(invalid="ignore", over="ignore"):
            distance = ((sets - mean[:, None]).astype(np.float64) ** 2).sum(axis=(2, 3, 4))
        best = np.where(good, distance, np.inf).argmin(axis=1)
        return candidates.take(np.arange(len(parents)) * self._k + best)


class Select(Composing):
    """The candidate of highest score; where the lead is small, a second, more expensive reward decides.

    Args:
        reward: scores all candidates.
        refined: for example a lookahead. It scores all candidates of the states it is asked about: were it added to
            some only, an argmax over all would compare sums with single rewards.
        margin: lead of the best over the second, in standard deviations of the state's scores, from which on `refined`
            is not asked. The source's "early stop".
    """

    def __init__(
        self,
        proposer: Proposer,
        reward: RewardModel,
        domain: Domain,
        num_candidates: int,
        *,
        refined: RewardModel | None = None,
        margin: float = np.inf,
    ) -> None:
        super().__init__(proposer, domain, num_candidates)
        self._reward, self.margin = metered_reward(reward, domain), margin
        self._refined = None if refined is None else metered_reward(refined, domain)

    def reduce(self, parents: PDEStates, candidates: PDEStates, streams: Rng) -> PDEStates:
        scores = self._reward.score(repeat(parents, self._k), candidates).reshape(-1, self._k)
        if self._refined is not None:
            unsure = np.flatnonzero(lead(scores) < self.margin)
            rows = (unsure[:, None] * self._k + np.arange(self._k)).ravel()
            asked = self._refined.score(repeat(parents.take(unsure), self._k), candidates.take(rows))
            scores[unsure] = asked.reshape(-1, self._k)
        return candidates.take(np.arange(len(parents)) * self._k + scores.argmax(axis=1))


class WeightedMean(Composing):
    """Mean of the candidates with weights softmax(z / T), z the scores standardised within the state.

    Good values: T = .5. T → 0 is the argmax, T → ∞ the mean of K.
    """

    def __init__(
        self, proposer: Proposer, reward: RewardModel, domain: Domain, num_candidates: int, *, temperature: float = 0.5
    ) -> None:
        super().__init__(proposer, domain, num_candidates)
        if not temperature > 0:
            raise ValueError(
                f"WeightedMean: expected a temperature above 0, got {temperature}. Use Select for the argmax."
            )
        self._reward, self.temperature = metered_reward(reward, domain), temperature

    def reduce(self, parents: PDEStates, candidates: PDEStates, streams: Rng) -> PDEStates:
        scores = self._reward.score(repeat(parents, self._k), candidates).reshape(-1, self._k)
        weights = softmax_weights(scores, self.temperature)
        return self._combined(parents, candidates, weighted_mean(self._sets(candidates), weights), streams)


class Patchwork(Composing):
    """Each patch from the candidate that scores highest there, or a blend of all by softmax(z / T), patch by patch.

    Args:
        reward: with ``score_map(parents, children) -> [n, p, q]``, for example the convolutional reward model.
        patch: cells of a patch along an axis; the score map is averaged over patches.
        temperature: T of the blend; 0 takes the best.
        smooth: interpolate weights between the centres of patches, so that there are no seams.

    Raises:
        ValueError: the reward has no score map, or map and grid do not divide into patches.
    """

    def __init__(
        self,
        proposer: Proposer,
        reward: Any,
        domain: Domain,
        num_candidates: int,
        *,
        patch: int = 8,
        temperature: float = 0.0,
        smooth: bool = True,
    ) -> None:
        super().__init__(proposer, domain, num_candidates)
        if not hasattr(reward, "score_map"):
            raise ValueError(
                f"Patchwork: expected a reward model with a score map, got {type(reward).__name__}. Use a trained cnn."
            )
        self._reward = metered_reward(_Mapped(reward), domain)
        self.patch, self.temperature, self.smooth = patch, temperature, smooth

    def reduce(self, parents: PDEStates, candidates: PDEStates, streams: Rng) -> PDEStates:
        sets = self._sets(candidates)
        self._reward.score(repeat(parents, self._k), candidates)
        maps = self._reward.inner.maps  # type: ignore[attr-defined]
        height, width = sets.shape[3:]
        local = pooled(maps, height, width, self.patch).reshape(len(parents), self._k, -1)
        flat = local.transpose(0, 2, 1).reshape(-1, self._k)
        if self.temperature:
            weights = softmax_weights(flat, self.temperature)
        else:
            weights = np.eye(self._k)[np.where(np.isfinite(flat), flat, WORST).argmax(axis=1)]
        grid = (height // self.patch, width // self.patch)
        weights = weights.reshape(len(parents), *grid, self._k).transpose(0, 3, 1, 2)
        weights = refine(weights, self.patch, smooth=self.smooth)
        fields = np.where(np.isfinite(sets), sets, 0.0)
        return self._combined(parents, candidates, (weights[:, :, None] * fields).sum(axis=1), streams)


class _Mapped:
    """Scores by the map and keeps the map, so that the meter sees one scoring."""

    def __init__(self, reward: Any) -> None:
        self.reward, self.num_parameters = reward, reward.num_parameters
        self.maps = np.zeros((0, 1, 1))
        if hasattr(reward, "charged_tokens"):
            self.charged_tokens = reward.charged_tokens

    def score(self, parents: PDEStates, children: PDEStates) -> Float[np.ndarray, " n"]:
        self.maps = self.reward.score_map(parents, children)
        return self.maps.mean(axis=(1, 2), dtype=np.float64)


def lead(scores: Float[np.ndarray, "n k"]) -> Float[np.ndarray, " n"]:
    """Best minus second best, in standard deviations of the state's scores; 0 where all are equal."""
    top = np.sort(scores, axis=1)[:, -2:]
    deviation = scores.std(axis=1)
    return (top[:, 1] - top[:, 0]) / np.where(deviation > 0, deviation, 1.0)


def softmax_weights(scores: Float[np.ndarray, "n k"], temperature: float) -> Float[np.ndarray, "n k"]:
    """softmax(z / T), z standardised over the candidates that can be used; the others weigh 0."""
    good = np.isfinite(scores) & (scores > WORST)
    count = np.maximum(good.sum(axis=1, keepdims=True), 1)
    filled = np.where(good, scores, 0.0)
    mean = filled.sum(axis=1, keepdims=True) / count
    centred = np.where(good, scores - mean, 0.0)
    deviation = np.sqrt((centred**2).sum(axis=1, keepdims=True) / count)
    z = centred / np.where(deviation > 0, deviation, 1.0) / temperature
    weights = np.exp(z - np.where(good, z, -np.inf).max(axis=1, keepdims=True, initial=-700.0)) * good
    return np.where(
        good.any(axis=1, keepdims=True),
        weights / np.maximum(weights.sum(1, keepdims=True), TINY),
        1.0 / scores.shape[1],
    )


def uniform_weights(good: Bool[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """Equal weights of the good ones; of all where none is."""
    usable = good | ~good.any(axis=1, keepdims=True)
    return usable / usable.sum(axis=1, keepdims=True)


def weighted_mean(
    sets: Float[np.ndarray, "n k c h w"], weights: Float[np.ndarray, "n k"]
) -> Float[np.ndarray, "n c h w"]:
    """Σ_k w_k x_k; a candidate of weight 0 does not spoil the sum with what it has instead of numbers."""
    used = np.where(weights[:, :, None, None, None] > 0, sets, 0.0)
    return np.einsum("nk,nkchw->nchw", weights, used)


def pooled(maps: Float[np.ndarray, "m p q"], height: int, width: int, patch: int) -> Float[np.ndarray, "m r s"]:
    """Maps averaged over patches of patch x patch cells of the grid."""
    rows, columns = maps.shape[1:]
    if height % patch or width % patch or rows % (height // patch) or columns % (width // patch):
        raise ValueError(
            f"Patchwork: expected a patch that divides the grid {height} x {width} and is a multiple of the cells a "
            f"value of the score map stands for ({height // rows}), got {patch}."
        )
    r, s = height // patch, width // patch
    return maps.reshape(len(maps), r, rows // r, s, columns // s).mean(axis=(2, 4), dtype=np.float64)


def refine(weights: Float[np.ndarray, "n k r s"], patch: int, *, smooth: bool) -> Float[np.ndarray, "n k h w"]:
    """Weights a patch to weights a cell: constant in the patch, or linear between centres, periodic. Sums stay 1."""
    fine = weights.repeat(patch, axis=2).repeat(patch, axis=3)
    if not smooth:
        return fine
    offset = (np.arange(patch) + 0.5) / patch - 0.5  # place in the patch, from −½ to ½
    for axis, repeats in ((2, weights.shape[2]), (3, weights.shape[3])):
        shape = [1, 1, 1, 1]
        shape[axis] = -1
        t = np.tile(offset, repeats).reshape(shape)
        before, after = np.roll(fine, patch, axis), np.roll(fine, -patch, axis)
        fine = fine * (1 - np.abs(t)) + before * np.maximum(-t, 0) + after * np.maximum(t, 0)
    return fine
