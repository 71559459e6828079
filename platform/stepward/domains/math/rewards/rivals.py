"""The trivial rivals of math: logistic regressions on what anybody can count, learned from outcomes of the same labels.

Outcomes are finished solutions among the training labels, right or wrong: a small part of what a process reward model
learns from. Whoever claims that step labels, or a network, were needed must be better than these.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import lru_cache
from typing import ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import Field
from scipy.sparse import csr_array

from stepward.core.config import Config
from stepward.core.interfaces import Status
from stepward.core.rivals import FittedRival, Material
from stepward.core.seeding import Rng, mix_keys, stable_hash
from stepward.core.wing import Scale
from stepward.domains.math.states import MathDomain, MathStates, math_states
from stepward.rewards.logistic import fit_logistic, probabilities

__all__ = ["Counts", "LengthAndLikelihood", "Regressor", "WordPairs"]

Counts: TypeAlias = csr_array | np.ndarray
"""What a regression counts, one row a state, sparse or not."""
WORD = re.compile(r"[^\W\d_]+|\d+(?:[.,]\d+)*|[^\w\s]")


@runtime_checkable
class Featured(Protocol):
    """Settings that say what a regression counts in a text."""

    def features(self, states: MathStates) -> Counts:
        """One row a state, sparse or not."""
        ...


class OutcomeRegression(Config, ABC):
    """What both rivals share: the outcomes they learn from, and that their score is of the text as a whole."""

    SCALE: ClassVar[Scale] = "probability"

    max_outcomes: int = Field(20_000, ge=10, description="training outcomes, at most, drawn at random")

    def fit(self, material: Material) -> FittedRival:
        """Weights from training outcomes; validation outcomes choose C."""
        found = [self._outcomes(material, split) for split in ("train", "validation")]
        train, validation = ((self.features(states), right) for states, right in found)
        return fit_logistic(train, validation)

    def reward(self, weights: Mapping[str, np.ndarray]) -> OutcomeRegressor:
        """The reward model with these weights."""
        return OutcomeRegressor(self, weights)

    @abstractmethod
    def features(self, states: MathStates) -> Counts:
        """One row a state."""

    def _outcomes(self, material: Material, split: str) -> tuple[MathStates, Bool[np.ndarray, " n"]]:
        rows = material.rows(split)
        states = math_states(rows)
        finished = np.flatnonzero(MathDomain().status(states) == Status.COMPLETE)
        ids = [rows["id"][int(row)].as_py() for row in finished]
        order = np.argsort(Rng.from_ids(material.seed, ids, "outcomes").uniform(1)[:, 0], kind="stable")
        kept = np.sort(finished[order[: self.max_outcomes]])
        return states.take(kept), rows["successes"].to_numpy()[kept] > 0


class Regressor:
    """A probability by logistic regression on what its settings count in each child."""

    def __init__(self, settings: Featured, weights: Mapping[str, np.ndarray]) -> None:
        self._settings, self._weights = settings, weights
        self.num_parameters = 1  # of a feature: see `charged_tokens`

    def score(self, parents: MathStates, children: MathStates) -> Float[np.ndarray, " n"]:
        """Probabilities, row by row; parents count for nothing."""
        return probabilities(self._settings.features(children), self._weights)

    def charged_tokens(self, children: MathStates) -> Int[np.ndarray, " n"]:
        """Features that are not 0: one product and one sum each."""
        found = self._settings.features(children)
        return np.diff(found.indptr) if isinstance(found, csr_array) else (found != 0).sum(axis=1)


class OutcomeRegressor(Regressor):
    """The probability that a solution is right, read as a whole."""

    of_complete_states = True  # learned from whole solutions; of a beginning it says what it would of a whole one


class WordPairs(OutcomeRegression):
    """Which words a solution has, and which two of them stand together in a line, in any order; a number is a word."""

    kind: Literal["word_pairs"] = "word_pairs"
    num_features: int = Field(2**17, ge=2**8, description="words and pairs are hashed into so many")
    reach: int = Field(12, ge=0, description="words between two that still make a pair; 0: single words alone")

    def features(self, states: MathStates) -> Counts:
        """Presence of each word and pair, [n, num_features], sparse."""
        lines = [[line_features(line, self.reach) for line in text.split("\n")] for text in states.text]
        found = [np.unique(np.concatenate(features) % self.num_features) for features in lines]
        indptr = np.concatenate([[0], np.cumsum([len(row) for row in found])]).astype(np.int64)
        columns = np.concatenate([np.zeros(0, np.int64), *found]).astype(np.int64)
        shape = (len(found), self.num_features)
        return csr_array((np.ones(len(columns), np.float32), columns, indptr), shape=shape)


class LengthAndLikelihood(OutcomeRegression):
    """Length in tokens and lines, and log p of the whole and a token: what the proposer knows without a network."""

    kind: Literal["length_and_p"] = "length_and_p"

    def features(self, states: MathStates) -> Counts:
        """Of order 1, [n, 4]."""
        tokens, log_p = states.num_tokens.astype(np.float64), states.log_prob
        return np.stack([tokens / 100, states.num_steps / 10, log_p / 10, log_p / np.maximum(tokens, 1)], axis=1)


@lru_cache(maxsize=200_000)
def line_features(line: str, reach: int) -> Int[np.ndarray, " m"]:
    """Hashes of the words of a line and of their pairs; upper and lower case are one."""
    words = np.array([_word(word) for word in WORD.findall(line.lower())], np.uint64)
    parts = [words]
    for gap in range(1, reach + 1):
        first, second = words[:-gap], words[gap:]
        parts.append(mix_keys(np.minimum(first, second), 1) ^ mix_keys(np.maximum(first, second), 2))
    return np.unique(np.concatenate(parts) >> np.uint64(1)).astype(np.int64)


@lru_cache(maxsize=100_000)
def _word(word: str) -> int:
    return stable_hash("0" if word[0].isdigit() else word)
