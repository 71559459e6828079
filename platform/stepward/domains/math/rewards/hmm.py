"""The hidden-Markov baseline of math: what the words of the last lines say about success, in the order they came.

A line is a vector: the counts of the most frequent words of the training lines, at length 1. The Gaussian variant
observes the vectors themselves; the categorical one the nearest of a codebook of them (vector quantisation, Rabiner
1989, section V.A).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float, Int, UInt8
from pydantic import Field, model_validator

from stepward.core.config import Config
from stepward.domains.math.states import MathStates
from stepward.rewards import hmm

__all__ = ["MathHMM", "MathHMMReward"]

_WORD = re.compile(r"[^\W\d_]+|\d+|[^\w\s]")


class MathHMM(Config):
    """A hidden Markov model over lines, with a success share for every hidden state."""

    kind: Literal["hmm"] = "hmm"
    emission: Literal["gaussian", "categorical"] = Field(
        "gaussian", description="what is observed of a line: its word vector, or the nearest entry of a codebook"
    )
    num_states: int = Field(12, ge=1, description="hidden states K")
    vocabulary_size: int = Field(512, ge=1, description="words counted in a line: the most frequent ones")
    last_steps: int = Field(5, ge=1, description="lines looked at, the last ones")
    num_symbols: int = Field(32, ge=2, description="entries of the codebook; of the categorical variant")
    num_iterations: int = Field(20, ge=1, description="iterations of Baum-Welch, at most")
    max_sequences: int = Field(1500, ge=1, description="solutions used for Baum-Welch; success shares use all")

    @model_validator(mode="after")
    def _no_setting_without_effect(self) -> MathHMM:
        default = type(self).model_fields["num_symbols"].default
        if self.emission == "gaussian" and self.num_symbols != default:
            raise ValueError("emission='gaussian': num_symbols would have no effect; leave it out")
        return self

    def fit(
        self, states: MathStates, successes: np.ndarray, num_rollouts: np.ndarray, seed: int
    ) -> dict[str, np.ndarray]:
        """Weights start [K], transition [K, K], success [K], the vocabulary, and those of the emission.

        Gaussian: mean and variance [K, V]. Categorical: codebook [C, V] and emission [K, C].
        """
        lines = _last_lines(states, self.last_steps)
        words = _frequent_words(lines, self.vocabulary_size)
        weights: dict[str, np.ndarray] = {"vocabulary": _packed(words)}
        vectors, lengths = _vectors(lines, words, self.last_steps)
        options = {
            "num_states": self.num_states,
            "seed": seed,
            "num_iterations": self.num_iterations,
            "max_sequences": self.max_sequences,
        }
        if self.emission == "gaussian":
            weights |= hmm.fit_gaussian_hmm(vectors, lengths, **options)
        else:
            weights["codebook"] = _codebook(vectors, lengths, self.num_symbols, seed)
            symbols = _nearest(vectors, weights["codebook"])
            num_symbols = len(weights["codebook"])
            weights |= hmm.fit_categorical_hmm(symbols, lengths, num_symbols=num_symbols, **options)
        emission = _log_emission(vectors, weights)
        posterior = hmm.filtered_posterior(emission, lengths, weights["start"], weights["transition"])
        return weights | {"success": hmm.success_head(posterior, successes, num_rollouts)}

    def reward(self, weights: Mapping[str, np.ndarray]) -> MathHMMReward:
        """The reward model with these weights."""
        return MathHMMReward(weights, self.last_steps)


class MathHMMReward:
    """Expected success share under the filtered posterior of the hidden state after the last lines."""

    def __init__(self, weights: Mapping[str, np.ndarray], last_steps: int) -> None:
        self._words = _unpacked(weights["vocabulary"])
        self._weights = {n: np.asarray(a, np.float64) for n, a in weights.items() if n != "vocabulary"}
        self._last_steps = last_steps
        self.num_parameters = sum(array.size for array in self._weights.values())

    def score(self, parents: MathStates, children: MathStates) -> Float[np.ndarray, " n"]:
        """Probability of success given the last lines."""
        vectors, lengths = _vectors(_last_lines(children, self._last_steps), self._words, self._last_steps)
        return hmm.expected_success(_log_emission(vectors, self._weights), lengths, self._weights)


def _log_emission(vectors: Float[np.ndarray, "n t v"], weights: Mapping[str, np.ndarray]) -> Float[np.ndarray, "n t k"]:
    if "codebook" in weights:
        return hmm.categorical_log_emission(_nearest(vectors, weights["codebook"]), weights["emission"])
    return hmm.gaussian_log_emission(vectors, weights["mean"], weights["variance"])


def _last_lines(states: MathStates, num: int) -> list[list[str]]:
    return [steps[-num:] for steps in states.steps()]


def _words_of(line: str) -> list[str]:
    return _WORD.findall(line.lower())


def _frequent_words(lines: Sequence[Sequence[str]], size: int) -> list[str]:
    """The most frequent words, in the order of the alphabet where they are equally frequent."""
    counts = Counter(word for row in lines for line in row for word in _words_of(line))
    if not counts:
        raise ValueError("HMM: expected labelled solutions with at least one line, got bare questions only.")
    return sorted(counts, key=lambda word: (-counts[word], word))[:size]


def _vectors(
    lines: Sequence[Sequence[str]], words: Sequence[str], width: int
) -> tuple[Float[np.ndarray, "n t v"], Int[np.ndarray, " n"]]:
    """Word counts of every line at length 1, zero where no word is known; and the number of lines."""
    column = {word: i for i, word in enumerate(words)}
    found = np.zeros((len(lines), width, len(words)), np.float32)
    for i, row in enumerate(lines):
        for t, line in enumerate(row):
            for word in _words_of(line):
                if word in column:
                    found[i, t, column[word]] += 1
    norm = np.linalg.norm(found, axis=2, keepdims=True)
    return found / np.maximum(norm, 1), np.array([len(row) for row in lines], np.int64)


def _codebook(
    vectors: Float[np.ndarray, "n t v"], lengths: Int[np.ndarray, " n"], size: int, seed: int
) -> Float[np.ndarray, "c v"]:
    """Centres of k-means; fewer than asked for where there are fewer different lines."""
    from sklearn.cluster import KMeans

    observed = vectors[np.arange(vectors.shape[1]) < lengths[:, None]]
    distinct = len(np.unique(observed, axis=0))
    centres: np.ndarray = KMeans(min(size, distinct), n_init=1, random_state=seed).fit(observed).cluster_centers_
    return centres


def _nearest(vectors: Float[np.ndarray, "n t v"], codebook: Float[np.ndarray, "c v"]) -> Int[np.ndarray, "n t"]:
    return ((codebook**2).sum(axis=1) - 2 * vectors @ codebook.T).argmin(axis=2)


def _packed(words: Sequence[str]) -> UInt8[np.ndarray, " b"]:
    """Words as bytes, since weights are arrays of numbers; no word holds a line break."""
    return np.frombuffer("\n".join(words).encode(), np.uint8).copy()


def _unpacked(packed: UInt8[np.ndarray, " b"]) -> list[str]:
    return bytes(packed).decode().split("\n")
