import numpy as np
import pytest
from scipy import stats

from stepward.evaluate import INTERVALS, binomial_interval, coverage, expected_coverage, randomised_coverage


@pytest.mark.parametrize(("method", "theirs"), [("wilson", "wilson"), ("clopper_pearson", "exact")])
def test_agrees_with_scipy(method, theirs):
    low, high = binomial_interval(np.arange(13), np.array([12]), method=method)
    for k in range(13):
        expected = stats.binomtest(k, 12).proportion_ci(0.95, theirs)
        assert low[k] == pytest.approx(expected.low, abs=1e-12)
        assert high[k] == pytest.approx(expected.high, abs=1e-12)


def test_jeffreys_of_the_literature():
    # Brown, Cai, DasGupta 2001, table 5: n = 7, x = 0 .. 3 (the end at x = 0 modified to 0).
    low, high = binomial_interval(np.arange(4), np.array([7]), method="jeffreys")
    np.testing.assert_allclose(low, [0.0, 0.016, 0.065, 0.139], atol=5.1e-4)
    np.testing.assert_allclose(high[1:], [0.501, 0.648, 0.766], atol=5.1e-4)
    assert high[0] == pytest.approx(stats.beta.ppf(0.975, 0.5, 7.5))


def test_names_the_methods_and_rejects_impossible_counts():
    with pytest.raises(ValueError, match=r"jeffreys.*wilson"):
        binomial_interval(np.array([1]), np.array([2]), method="wald")
    with pytest.raises(ValueError, match="successes <= num_trials"):
        binomial_interval(np.array([3]), np.array([2]))


@pytest.mark.parametrize("method", INTERVALS)
def test_expected_coverage_is_the_plain_sum_over_counts(method):
    truths, rollouts = np.array([0.001, 0.2, 0.5, 0.93, 0.9999]), np.array([64, 7, 64, 7, 30])
    found = expected_coverage(truths, rollouts, method=method)
    for p, m, value in zip(truths, rollouts, found, strict=True):
        low, high = binomial_interval(np.arange(m + 1), np.array([m]), method=method)
        inside = (low <= p) & (p <= high)
        assert value == pytest.approx(stats.binom.pmf(np.arange(m + 1), m, p)[inside].sum(), abs=1e-12)


def test_which_interval_means_what_it_says():
    truths, rollouts = np.random.default_rng(0).random(20_000), np.full(20_000, 64)
    for method, low, high in (("wilson", 0.945, 0.955), ("jeffreys", 0.945, 0.955), ("clopper_pearson", 0.96, 1.0)):
        assert low < expected_coverage(truths, rollouts, method=method).mean() < high
    assert expected_coverage(truths, rollouts, method="clopper_pearson").min() >= 0.95


def half_certain(n):
    """Values as a search tree has them: a third at 0 or 1 exactly, many close to an end."""
    generator = np.random.default_rng(1)
    truths = np.where(generator.random(n) < 0.33, generator.integers(0, 2, n), generator.beta(0.3, 0.3, n))
    return truths, generator.binomial(64, truths), np.full(n, 64)


def test_coverage_leaves_certain_rows_out():
    truths, successes, rollouts = half_certain(12_000)
    found = coverage(truths, successes, rollouts)
    assert found.num_certain == np.isin(truths, (0.0, 1.0)).sum()
    assert found.num_rows == 12_000 - found.num_certain
    assert abs(found.rate - found.expected) < 3 * found.standard_error
    assert abs(found.rate - 0.95) < 0.01


def test_coverage_notices_wrong_labels():
    truths, _, rollouts = half_certain(12_000)
    # Each rollout shared by two labels: as many successes on average, but only half the trials behind them.
    doubled = 2 * np.random.default_rng(2).binomial(32, truths)
    found = coverage(truths, doubled, rollouts)
    assert found.rate < found.expected - 10 * found.standard_error


def test_randomised_coverage_is_exact_for_every_truth():
    for truth in (0.0, 0.003, 0.4, 1.0):
        truths, rollouts = np.full(4_000, truth), np.full(4_000, 16)
        successes = np.random.default_rng(3).binomial(16, truths)
        found = randomised_coverage(truths, successes, rollouts, rng=np.random.default_rng(4))
        assert abs(found.rate - 0.95) < 3 * found.standard_error


def test_impossible_labels_are_not_covered():
    found = randomised_coverage(np.zeros(50), np.ones(50, int), np.full(50, 8), rng=np.random.default_rng(0))
    assert found.rate == 0.0


def test_no_interior_row_is_nan_and_a_truth_beyond_one_is_an_error():
    assert np.isnan(coverage(np.array([0.0, 1.0]), np.array([0, 8]), np.array([8, 8])).rate)
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        coverage(np.array([1.5]), np.array([8]), np.array([8]))
