"""The hidden-Markov baseline of math: what it can tell from words, what it cannot, and the Gaussian emission itself."""

import numpy as np
import pytest
from safetensors.numpy import load, save
from scipy.stats import multivariate_normal, norm

from stepward.core.wing import Fittable
from stepward.domains.math.rewards.hmm import MathHMM
from stepward.domains.math.states import MathDomain, MathStates, roots
from stepward.rewards.hmm import fit_gaussian_hmm, gaussian_log_emission
from stepward.testing.contracts import check_reward


def solutions(texts: list[str]) -> MathStates:
    question = np.array([f"q{i % 3}" for i in range(len(texts))], object)
    steps = np.array([text.count("\n") for text in texts])
    states = roots(question, question).replace(text=np.array(texts, object), num_steps=steps)
    return states.replace(problem=np.arange(len(texts)) % 3)


def labelled(num: int = 240) -> tuple[MathStates, np.ndarray, np.ndarray]:
    """Solutions of one to four lines, all calm or all wild: calm ones succeed in .9 of rollouts, wild ones in .2."""
    generator = np.random.default_rng(0)
    calm = generator.integers(0, 2, num)
    words = {1: ["so we add", "so we sum"], 0: ["maybe i guess", "maybe i think"]}
    texts = []
    for kind in calm:
        lines = [f"{generator.choice(words[kind])} {generator.integers(10)}" for _ in range(generator.integers(1, 5))]
        texts.append("".join(line + "\n" for line in lines))
    share = np.where(calm == 1, 0.9, 0.2)
    return solutions(texts), generator.binomial(16, share).astype(float), share


@pytest.mark.parametrize("emission", ["gaussian", "categorical"])
def test_recovers_the_success_shares_of_two_kinds_of_solutions(emission):
    """Each share is a mean over about 120 x 16 rollouts (se .01), beside errors of the few lines told wrongly."""
    states, successes, share = labelled()
    settings = MathHMM(emission=emission, num_states=2, vocabulary_size=20)
    assert isinstance(settings, Fittable)
    weights = settings.fit(states, successes, np.full(len(states), 16.0), seed=0)
    reward = settings.reward(load(save(weights)))  # as an artifact keeps them
    scores = reward.score(states, states)
    for kind in (0.9, 0.2):
        assert abs(np.median(scores[share == kind]) - kind) < 0.05
    check_reward(reward, MathDomain(), states.take(np.arange(9)), states.take(np.arange(9)), tolerance=1e-9)
    bare = solutions(["", "", ""])
    np.testing.assert_allclose(reward.score(bare, bare), float(weights["start"] @ weights["success"]))
    again = settings.fit(states, successes, np.full(len(states), 16.0), seed=0)
    for name, array in weights.items():
        np.testing.assert_array_equal(array, again[name])


def test_only_the_last_lines_count():
    states, successes, _ = labelled(60)
    settings = MathHMM(num_states=2, vocabulary_size=20, last_steps=2)
    reward = settings.reward(settings.fit(states, successes, np.full(len(states), 16.0), seed=0))
    same_end = solutions(
        ["so we add 1\nso we sum 2\n", "maybe i guess 3\nso we add 1\nso we sum 2\n", "maybe i think 5\n"]
    )
    scores = reward.score(same_end, same_end)
    assert scores[0] == scores[1] != scores[2]


def test_gaussian_emission_is_the_density():
    generator = np.random.default_rng(0)
    vectors, mean = generator.normal(size=(4, 3, 5)), generator.normal(size=(2, 5))
    variance = generator.uniform(0.1, 2, (2, 5))
    found = gaussian_log_emission(vectors, mean, variance)
    for k in range(2):
        expected = multivariate_normal(mean[k], np.diag(variance[k])).logpdf(vectors)
        np.testing.assert_allclose(found[..., k], expected, rtol=1e-9)


def test_gaussian_fit_recovers_its_parameters():
    """Two states that alternate, at −2 and 2 with deviation .5: within four standard errors of 600 numbers each."""
    generator = np.random.default_rng(1)
    state = (generator.integers(0, 2, (300, 1)) + np.arange(4)) % 2
    vectors = 4.0 * state[..., None] - 2 + 0.5 * generator.normal(size=(300, 4, 1))
    weights = fit_gaussian_hmm(vectors, np.full(300, 4), num_states=2, seed=0)
    order = np.argsort(weights["mean"][:, 0])
    tolerance = 4 * 0.5 / np.sqrt(600)
    np.testing.assert_allclose(weights["mean"][order, 0], [-2, 2], atol=tolerance)
    np.testing.assert_allclose(np.sqrt(weights["variance"][order, 0]), 0.5, atol=tolerance / np.sqrt(2))
    np.testing.assert_allclose(weights["transition"][order][:, order], [[0, 1], [1, 0]], atol=0.01)
    assert norm.sf(4, scale=0.5) < 1e-12  # no observation is told wrongly, so the transitions are exact


def test_refuses_what_cannot_be():
    with pytest.raises(ValueError, match="num_symbols would have no effect"):
        MathHMM(num_symbols=8)
    bare = solutions(["", "", ""])
    with pytest.raises(ValueError, match="bare questions only"):
        MathHMM().fit(bare, np.ones(3), np.ones(3), seed=0)
