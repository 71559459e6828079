import numpy as np
import pytest
from hmmlearn.hmm import CategoricalHMM

from stepward.rewards.hmm import (
    categorical_log_emission,
    expected_success,
    filtered_posterior,
    fit_categorical_hmm,
    fit_gaussian_hmm,
    success_head,
)

K, V = 4, 6


def random_hmm(seed):
    generator = np.random.default_rng(seed)
    return {
        "start": generator.dirichlet(np.ones(K)),
        "transition": generator.dirichlet(np.ones(K), K),
        "emission": generator.dirichlet(np.ones(V), K),
    }


def ragged(seed, num=50, steps=12):
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, steps + 1, num)
    symbols = generator.integers(0, V, (num, steps))
    symbols[np.arange(steps) >= lengths[:, None]] = -1
    return symbols, lengths


def posterior_of(weights, symbols, lengths):
    log_emission = categorical_log_emission(symbols, weights["emission"])
    return filtered_posterior(log_emission, lengths, weights["start"], weights["transition"])


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_hmmlearn_at_the_last_position(seed):
    """There the smoothed posterior, which hmmlearn gives, knows no future and is the filtered one."""
    weights, (symbols, lengths) = random_hmm(seed), ragged(seed)
    model = CategoricalHMM(K, n_features=V)
    model.startprob_, model.transmat_ = weights["start"], weights["transition"]
    model.emissionprob_ = weights["emission"]
    ours = posterior_of(weights, symbols, lengths)
    for row, length in enumerate(lengths):
        theirs = model.predict_proba(symbols[row, :length, None])[-1]
        np.testing.assert_allclose(ours[row], theirs, atol=1e-10)


def test_is_the_filtered_posterior_and_not_the_smoothed_one():
    """What follows must not change what was known: the posterior of a prefix is that of the prefix alone."""
    weights, (symbols, lengths) = random_hmm(0), ragged(0)
    prefix = np.maximum(lengths - 2, 0)
    cut = np.where(np.arange(symbols.shape[1]) < prefix[:, None], symbols, -1)
    np.testing.assert_array_equal(posterior_of(weights, symbols, prefix), posterior_of(weights, cut, prefix))


def test_no_observation_is_the_start_distribution():
    weights = random_hmm(1)
    posterior = posterior_of(weights, np.full((2, 5), -1), np.zeros(2, np.int64))
    np.testing.assert_array_equal(posterior, np.tile(weights["start"], (2, 1)))


def test_long_sequences_do_not_underflow():
    weights = random_hmm(2)
    symbols = np.random.default_rng(0).integers(0, V, (3, 5_000))
    posterior = posterior_of(weights, symbols, np.full(3, 5_000))
    np.testing.assert_allclose(posterior.sum(axis=1), 1.0)


def test_states_that_cannot_be_stay_impossible():
    weights = {"start": np.array([1.0, 0.0]), "transition": np.eye(2), "emission": np.array([[0.5, 0.5], [0.0, 1.0]])}
    np.testing.assert_array_equal(posterior_of(weights, np.array([[1, 1]]), np.array([2])), [[1.0, 0.0]])


def test_success_head_of_known_states():
    """With certain states the head is the smoothed share of each: (S + 1/2) / (M + 1)."""
    posterior = np.eye(3)[[0, 0, 1]]
    head = success_head(posterior, np.array([3, 5, 0]), np.array([8, 8, 4]))
    np.testing.assert_allclose(head, [8.5 / 17, 0.5 / 5, 0.5])  # nobody was in the last one


def test_expected_success_mixes_the_heads():
    weights = random_hmm(3) | {"success": np.array([0.0, 1.0, 0.25, 0.5])}
    symbols, lengths = ragged(3)
    log_emission = categorical_log_emission(symbols, weights["emission"])
    expected = posterior_of(weights, symbols, lengths) @ weights["success"]
    np.testing.assert_allclose(expected_success(log_emission, lengths, weights), expected)


def test_fit_recovers_a_planted_model():
    """Two states that keep to themselves, one of symbols {0, 1} and one of {2, 3}: told apart by a single symbol."""
    generator = np.random.default_rng(0)
    state = generator.integers(0, 2, 300)
    symbols = 2 * state[:, None] + generator.integers(0, 2, (300, 6))
    lengths = np.full(300, 6)
    weights = fit_categorical_hmm(symbols, lengths, num_states=2, num_symbols=4, seed=0)
    posterior = posterior_of(weights, symbols, lengths)
    assert posterior.max(axis=1).min() > 0.99
    head = success_head(posterior, 10 * state, np.full(300, 10))
    np.testing.assert_allclose(np.sort(head), [0, 1], atol=0.01)


def test_fit_is_a_function_of_the_seed_and_needs_steps():
    symbols, lengths = ragged(5, num=60)
    fits = [
        fit_categorical_hmm(symbols, lengths, num_states=2, num_symbols=V, seed=1, num_iterations=3, max_sequences=100)
        for _ in range(2)
    ]
    for name, array in fits[0].items():
        np.testing.assert_array_equal(array, fits[1][name])
    with pytest.raises(ValueError, match="at least one step"):
        fit_categorical_hmm(symbols, np.zeros_like(lengths), num_states=2, num_symbols=V, seed=0)


def test_a_state_that_is_only_ever_last_does_not_stop_the_fit():
    """Every sequence ends in a place that occurs nowhere else: its state is never left but needs a row of sum 1."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 6, 200)
    vectors = rng.normal(0, 0.1, (200, 6, 2))
    vectors[np.arange(200), lengths - 1] += 50.0
    for seed in range(3):
        weights = fit_gaussian_hmm(vectors, lengths, num_states=3, seed=seed)
        assert np.allclose(weights["transition"].sum(axis=1), 1)
        last = np.abs(weights["mean"] - 50).sum(axis=1).argmin()
        assert np.allclose(weights["transition"][last], 1 / 3)
