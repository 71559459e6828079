import numpy as np
import pytest

from stepward.evaluate import any_success, parallelism_dividend


def test_product_by_hand():
    ids, predicted = any_success(np.array([0.5, 0.2, 1.0, 0.5, 0.0, 0.1]), np.array([4, 9, 9, 4, 2, 2]))
    np.testing.assert_array_equal(ids, [2, 4, 9])
    np.testing.assert_allclose(predicted, [0.1, 0.75, 1.0])


def test_tiny_probabilities_keep_their_digits():
    assert any_success(np.full(3, 1e-18), np.zeros(3, int))[1][0] == pytest.approx(3e-18, rel=1e-12)


def test_independent_candidates_pay_what_the_product_promises():
    generator = np.random.default_rng(0)
    probabilities, groups = generator.beta(1, 4, 6_000), generator.integers(0, 1_500, 6_000)
    found = parallelism_dividend(
        probabilities, generator.random(6_000) < probabilities, groups, rng=np.random.default_rng(1)
    )
    # Variance of the excess given the probabilities: that of independent coins.
    chance = any_success(probabilities, groups)[1]
    standard_error = np.sqrt((chance * (1 - chance)).sum()) / len(chance)
    assert abs(found.excess.value) < 3 * standard_error
    assert found.excess.value == pytest.approx(found.realised - found.predicted)
    assert found.predicted > found.single + 0.2


def test_candidates_that_fail_together_are_found_out():
    generator = np.random.default_rng(2)
    groups = np.repeat(np.arange(500), 4)
    together = np.repeat(generator.random(500) < 0.5, 4)  # all four or none
    found = parallelism_dividend(np.full(2_000, 0.5), together, groups, rng=np.random.default_rng(3))
    assert found.predicted == pytest.approx(1 - 0.5**4)
    assert found.single == 0.5
    assert found.excess.high < -0.3


def test_refuses_scores_and_counts():
    with pytest.raises(ValueError, match="probabilities"):
        any_success(np.array([1.5]), np.array([0]))
    with pytest.raises(ValueError, match="0/1 successes"):
        parallelism_dividend(np.array([0.5]), np.array([7]), np.array([0]), rng=np.random.default_rng(0))
