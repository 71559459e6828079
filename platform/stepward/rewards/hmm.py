"""A hidden Markov model of the steps as a baseline: what a sequence of steps alone says about success.

Notation: K hidden states, start probabilities π [K], transition matrix A [K, K] (rows sum to 1), emission likelihoods
B_k(o). The filtered posterior after observations o_1 … o_T is what the past alone says of the hidden state now:

    α_1 ∝ π · B(o_1),    α_{t+1} ∝ (α_t A) · B(o_{t+1})         (Rabiner 1989, equations 19 and 20, normalised)

and the score is Σ_k α_T(k) h_k with a success head h. Before any observation the posterior is π. Everything here works
for any emission: a model hands over log B and the rest is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Real


def filtered_posterior(
    log_emission: Float[np.ndarray, "n steps k"],
    lengths: Int[np.ndarray, " n"],
    start: Float[np.ndarray, " k"],
    transition: Float[np.ndarray, "k k"],
) -> Float[np.ndarray, "n k"]:
    """α_T of n sequences of different lengths, by the forward algorithm, all sequences together.

    Args:
        log_emission: log B_k(o_t), padded on the right; what stands in the padding is never read.
        lengths: number of observations T of each sequence, 0 <= T <= steps. T = 0 gives `start`.
        start, transition: π and A.
    """
    posterior = np.tile(start, (len(lengths), 1))
    for t in range(int(lengths.max(initial=0))):
        rows = np.flatnonzero(lengths > t)
        prior = posterior[rows] @ transition if t else posterior[rows]
        with np.errstate(divide="ignore"):  # a state that cannot be has log 0 = −inf, and keeps it
            joint = np.log(prior) + log_emission[rows, t]
        weight = np.exp(joint - joint.max(axis=1, keepdims=True))
        posterior[rows] = weight / weight.sum(axis=1, keepdims=True)
    return posterior


def success_head(
    posterior: Float[np.ndarray, "n k"],
    successes: Real[np.ndarray, " n"],
    num_rollouts: Real[np.ndarray, " n"],
    prior_count: float = 0.5,
) -> Float[np.ndarray, " k"]:
    """h_k = (Σ_i α_ik S_i + c) / (Σ_i α_ik M_i + 2c): success share of every hidden state.

    Args:
        posterior: α of labelled sequences.
        successes, num_rollouts: S and M of their continuations.
        prior_count: c; ½ is Jeffreys' prior, under which a state nobody visits gets ½.
    """
    return (successes @ posterior + prior_count) / (num_rollouts @ posterior + 2 * prior_count)


def categorical_log_emission(
    symbols: Int[np.ndarray, "n steps"], emission: Float[np.ndarray, "k v"]
) -> Float[np.ndarray, "n steps k"]:
    """Log B_k(o) = log emission[k, o]; negative symbols are padding."""
    with np.errstate(divide="ignore"):
        return np.log(emission).T[np.maximum(symbols, 0)]


def fit_categorical_hmm(
    symbols: Int[np.ndarray, "n steps"],
    lengths: Int[np.ndarray, " n"],
    *,
    num_states: int,
    num_symbols: int,
    seed: int,
    num_iterations: int = 20,
    num_starts: int = 4,
    max_sequences: int = 1_500,
) -> dict[str, Float[np.ndarray, ...]]:
    """π, A and the emission matrix [K, V] of a categorical HMM, by Baum–Welch (hmmlearn).

    Baum–Welch climbs to the nearest optimum, and often that is one where all states are alike. So several random starts
    run for a few iterations on a third of the sequences, and the likeliest goes on with all of them.

    Args:
        symbols: observations in 0 .. V − 1, padded on the right.
        lengths: observations of each sequence; empty ones say nothing and are left out.
        num_states, num_symbols: K and V.
        seed: of the random starts, and of the sequences drawn where there are too many.
        num_iterations: of the likeliest start, at most.
        num_starts: random starts.
        max_sequences: sequences used at most. The K² + K V parameters do not need more, and an iteration costs 0.1 to
            0.3 ms a sequence.

    Returns:
        {"start", "transition", "emission"}.
    """
    model = _baum_welch(
        partial(_categorical, num_states, num_symbols),
        symbols[:, :, None],
        lengths,
        seed=seed,
        num_iterations=num_iterations,
        num_starts=num_starts,
        max_sequences=max_sequences,
    )
    transition = with_exits(model.transmat_)
    return {"start": model.startprob_, "transition": transition, "emission": model.emissionprob_}


def gaussian_log_emission(
    vectors: Real[np.ndarray, "n steps d"], mean: Float[np.ndarray, "k d"], variance: Float[np.ndarray, "k d"]
) -> Float[np.ndarray, "n steps k"]:
    """Log N(o; μ_k, diag σ²_k), with the squares multiplied out so that it is two matrix products."""
    squares = vectors**2 @ (1 / variance).T - 2 * vectors @ (mean / variance).T + (mean**2 / variance).sum(axis=1)
    return -0.5 * (squares + np.log(2 * np.pi * variance).sum(axis=1))


def fit_gaussian_hmm(
    vectors: Real[np.ndarray, "n steps d"],
    lengths: Int[np.ndarray, " n"],
    *,
    num_states: int,
    seed: int,
    num_iterations: int = 20,
    num_starts: int = 2,
    max_sequences: int = 1_500,
) -> dict[str, Float[np.ndarray, ...]]:
    """π, A, means and variances [K, D] of an HMM with diagonal Gaussians: as `fit_categorical_hmm`.

    Args:
        vectors: observations, padded on the right.

    Returns:
        {"start", "transition", "mean", "variance"}.
    """
    model = _baum_welch(
        partial(_gaussian, num_states),
        vectors,
        lengths,
        seed=seed,
        num_iterations=num_iterations,
        num_starts=num_starts,
        max_sequences=max_sequences,
    )
    variance = np.diagonal(model.covars_, axis1=1, axis2=2).copy()
    transition = with_exits(model.transmat_)
    return {"start": model.startprob_, "transition": transition, "mean": model.means_, "variance": variance}


def with_exits(transition: Float[np.ndarray, "k k"]) -> Float[np.ndarray, "k k"]:
    """A, where states that were only ever seen last, whose rows hmmlearn leaves at 0, go anywhere alike."""
    never_left = transition.sum(axis=1, keepdims=True) == 0
    return np.where(never_left, 1 / len(transition), transition)


def _baum_welch(
    create: Callable[..., Any],
    observations: Real[np.ndarray, "n steps d"],
    lengths: Int[np.ndarray, " n"],
    *,
    seed: int,
    num_iterations: int,
    num_starts: int,
    max_sequences: int,
) -> Any:
    """The hmmlearn model that the likeliest of several random starts leads to."""
    used = np.flatnonzero(lengths > 0)
    if not len(used):
        raise ValueError("HMM: expected sequences with at least one step, got none.")
    used = np.random.default_rng(seed).permutation(used)[:max_sequences]

    def climb(model: Any, rows: np.ndarray) -> Any:
        valid = np.arange(observations.shape[1]) < lengths[rows][:, None]
        return model.fit(observations[rows][valid], lengths[rows])

    some = used[: -(-len(used) // 3)]
    starts = [create(n_iter=10, random_state=seed * num_starts + start) for start in range(num_starts)]
    first = max((climb(model, some) for model in starts), key=lambda model: model.monitor_.history[-1])
    return climb(create(n_iter=num_iterations, random_state=seed, first=first), used)


def _categorical(num_states: int, num_symbols: int, *, first: Any = None, **options: float) -> Any:
    """An hmmlearn model that starts at random, or from the parameters of `first`."""
    from hmmlearn.hmm import CategoricalHMM

    init = "ste" if first is None else ""
    model = CategoricalHMM(num_states, n_features=num_symbols, init_params=init, **options)
    if first is not None:
        model.startprob_, model.emissionprob_ = first.startprob_, first.emissionprob_
        model.transmat_ = with_exits(first.transmat_)
    return model


def _gaussian(num_states: int, *, first: Any = None, **options: float) -> Any:
    """As `_categorical`, with diagonal Gaussians."""
    from hmmlearn.hmm import GaussianHMM

    init = "stmc" if first is None else ""
    model = GaussianHMM(num_states, covariance_type="diag", init_params=init, **options)
    if first is not None:
        model.startprob_, model.means_ = first.startprob_, first.means_
        model.transmat_ = with_exits(first.transmat_)
        model.covars_ = np.diagonal(first.covars_, axis1=1, axis2=2)
    return model


def expected_success(
    log_emission: Float[np.ndarray, "n steps k"], lengths: Int[np.ndarray, " n"], weights: Mapping[str, np.ndarray]
) -> Float[np.ndarray, " n"]:
    """Σ_k α_T(k) h_k, with π, A and h in `weights` as "start", "transition" and "success"."""
    return filtered_posterior(log_emission, lengths, weights["start"], weights["transition"]) @ weights["success"]
