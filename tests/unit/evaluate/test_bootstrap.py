import numpy as np
import pytest
from scipy import stats

from stepward.evaluate import bootstrap_mean
from stepward.statistics.bootstrap import bootstrap_saving


def test_agrees_with_an_independent_implementation():
    values = np.random.default_rng(0).exponential(size=60) - 0.8
    ours = bootstrap_mean(values, rng=np.random.default_rng(1), num_resamples=40_000)
    theirs = stats.bootstrap((values,), np.mean, method="BCa", n_resamples=40_000, rng=np.random.default_rng(2))
    # Monte-Carlo error of a bootstrap quantile: sqrt(q (1 - q) / B) / density, density from the normal limit.
    standard_error = values.std() / np.sqrt(len(values))
    density = stats.norm.pdf(2.2) / standard_error  # BCa levels lie within 2.2 deviations here
    tolerance = 4 * np.sqrt(2) * np.sqrt(0.025 * 0.975 / 40_000) / density
    assert ours.value == pytest.approx(values.mean(), rel=1e-12)
    assert abs(ours.low - theirs.confidence_interval.low) < tolerance
    assert abs(ours.high - theirs.confidence_interval.high) < tolerance


def test_covers_the_true_mean_of_skewed_data_as_often_as_it_says():
    rng, trials = np.random.default_rng(3), 400
    samples = rng.exponential(size=(trials, 200))
    covered = 0
    for sample in samples:
        interval = bootstrap_mean(sample, rng=rng, num_resamples=1_000)
        covered += interval.low <= 1.0 <= interval.high
    assert abs(covered / trials - 0.95) < 3 * np.sqrt(0.95 * 0.05 / trials)


def test_covers_a_difference_of_paired_solve_rates():
    rng, trials = np.random.default_rng(4), 400
    kinds = rng.choice([1.0, -1.0, 0.0], p=[0.12, 0.05, 0.83], size=(trials, 300))
    intervals = [bootstrap_mean(kind, rng=rng, num_resamples=1_000) for kind in kinds]
    covered = np.mean([i.low <= 0.07 <= i.high for i in intervals])
    # Differences move in steps of 1/300, which is worth about 1 % of coverage beside the standard error.
    assert abs(covered - 0.95) < 3 * np.sqrt(0.95 * 0.05 / trials) + 0.01


def test_few_distinct_values_are_resampled_with_the_same_law():
    values = np.repeat([0.0, 1.0, 5.0], [70, 20, 10])
    shaken = values + np.linspace(0, 1e-9, 100)  # all distinct: drawn one by one instead of as counts
    fast = bootstrap_mean(values, rng=np.random.default_rng(5), num_resamples=40_000)
    slow = bootstrap_mean(shaken, rng=np.random.default_rng(6), num_resamples=40_000)
    standard_error = values.std() / 10
    tolerance = 4 * np.sqrt(2 * 0.025 * 0.975 / 40_000) / (stats.norm.pdf(2.4) / standard_error) + 0.01  # 0.01: ties
    assert abs(fast.low - slow.low) < tolerance
    assert abs(fast.high - slow.high) < tolerance


def test_same_generator_state_same_interval():
    values = np.random.default_rng(7).normal(size=50)
    assert bootstrap_mean(values, rng=np.random.default_rng(8)) == bootstrap_mean(values, rng=np.random.default_rng(8))


def test_equal_values_give_a_point_and_none_give_nan():
    point = bootstrap_mean(np.full(9, 0.1), rng=np.random.default_rng(0))
    assert (point.value, point.low, point.high, point.num_units) == (0.1, 0.1, 0.1, 9)
    nothing = bootstrap_mean(np.zeros(0), rng=np.random.default_rng(0))
    assert np.isnan(nothing.value)
    assert nothing.num_units == 0


def test_rejects_what_has_no_mean():
    with pytest.raises(ValueError, match="finite"):
        bootstrap_mean(np.array([1.0, np.nan]), rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="confidence"):
        bootstrap_mean(np.array([1.0, 2.0]), rng=np.random.default_rng(0), confidence=95.0)


def test_a_share_saved_is_never_above_one():
    """As a mean of differences over a denominator that stood still its interval ended at 110 %."""
    rng = np.random.default_rng(0)
    reference = rng.exponential(size=8) ** 3
    values = 0.05 * reference * rng.random(8)
    found = bootstrap_saving(values, reference, rng=rng, num_resamples=4_000)
    assert found.value == pytest.approx(1 - values.sum() / reference.sum())
    assert found.low < found.value < found.high <= 1.0
    naive = bootstrap_mean((reference - values) / reference.mean(), rng=np.random.default_rng(0), num_resamples=4_000)
    assert naive.high > 1.0, "the case that went wrong"


def test_a_share_saved_has_the_interval_of_an_independent_implementation():
    rng = np.random.default_rng(1)
    reference = rng.exponential(size=60) + 0.2
    values = reference * rng.uniform(0.5, 1.2, 60)

    def share(a, b, axis=-1):
        return 1 - a.sum(axis=axis) / b.sum(axis=axis)

    ours = bootstrap_saving(values, reference, rng=np.random.default_rng(2), num_resamples=40_000)
    theirs = stats.bootstrap(
        (values, reference), share, paired=True, vectorized=True, n_resamples=40_000, rng=np.random.default_rng(3)
    )
    # as above; the standard error is that of the independent draw
    tolerance = 4 * np.sqrt(2) * np.sqrt(0.025 * 0.975 / 40_000) * theirs.standard_error / stats.norm.pdf(2.2)
    assert abs(ours.low - theirs.confidence_interval.low) < tolerance
    assert abs(ours.high - theirs.confidence_interval.high) < tolerance


def test_a_share_that_is_the_same_of_every_problem_is_a_point_and_of_nothing_is_undefined():
    reference = np.array([1.0, 2.0, 4.0])
    same = bootstrap_saving(reference / 4, reference, rng=np.random.default_rng(0))
    assert same.low == same.high == same.value == pytest.approx(0.75)
    assert np.isnan(bootstrap_saving(reference[:0], reference[:0], rng=np.random.default_rng(0)).value)
