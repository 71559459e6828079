import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stepward.evaluate import (
    brier_score,
    debiased_brier,
    equal_mass_bins,
    expected_calibration_error,
    reliability_curve,
)


def rng():
    return np.random.default_rng(0)


def test_brier_by_hand():
    assert brier_score(np.array([0.2, 0.9]), np.array([0.0, 0.5])) == pytest.approx((0.04 + 0.16) / 2)


@pytest.mark.parametrize("rollouts", [2, 8, 64])
def test_debiased_brier_is_unbiased_whatever_the_number_of_rollouts(rollouts):
    generator = np.random.default_rng(1)
    truths = generator.beta(0.4, 0.4, 200)
    predictions = np.clip(truths + generator.normal(0, 0.1, 200), 0, 1)
    m = np.full(200, rollouts)
    estimates = [debiased_brier(predictions, generator.binomial(m, truths), m) for _ in range(500)]
    plain = np.mean([brier_score(predictions, generator.binomial(m, truths) / m) for _ in range(100)])
    standard_error = np.std(estimates) / np.sqrt(500)
    truth = brier_score(predictions, truths)
    assert abs(np.mean(estimates) - truth) < 3 * standard_error
    assert plain - truth == pytest.approx(np.mean(truths * (1 - truths)) / rollouts, rel=0.2)


def test_one_rollout_cannot_be_debiased():
    with pytest.raises(ValueError, match="num_rollouts >= 2"):
        debiased_brier(np.array([0.5]), np.array([1]), np.array([1]))


def test_scores_that_are_no_probabilities_are_refused():
    with pytest.raises(ValueError, match=r"predictions in \[0, 1\].*-3"):
        brier_score(np.array([-3.0]), np.array([1.0]))


def test_bins_of_distinct_predictions_have_equal_mass():
    bins = equal_mass_bins(np.random.default_rng(2).permutation(60) / 60, 15)
    np.testing.assert_array_equal(np.bincount(bins), np.full(15, 4))


scores = arrays(np.float64, st.integers(1, 40), elements=st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.7, 0.9, 1.0]))


@given(scores, st.integers(1, 20), st.randoms(use_true_random=False))
def test_bins_are_well_defined(predictions, num_bins, random):
    bins = equal_mass_bins(predictions, num_bins)
    order = list(range(len(predictions)))
    random.shuffle(order)
    np.testing.assert_array_equal(equal_mass_bins(predictions[order], num_bins), bins[order])  # row order is nothing
    assert len(np.unique(np.stack([predictions, bins]), axis=1).T) == len(np.unique(predictions))  # ties share a bin
    assert (np.diff(bins[np.argsort(predictions, kind="stable")]) >= 0).all()
    assert set(bins) == set(range(bins.max() + 1))
    assert bins.max() < num_bins


def test_ece_by_hand():
    predictions, targets = np.array([0.1, 0.3, 0.6, 0.8]), np.array([0.0, 0.0, 1.0, 1.0])
    found = expected_calibration_error(predictions, targets, rng=rng(), num_bins=2)
    assert found.plug_in == pytest.approx(0.5 * 0.2 + 0.5 * 0.3)
    assert (found.num_bins, found.num_rows) == (2, 4)


def test_ece_of_exact_predictions_is_zero():
    values = np.linspace(0, 1, 100)
    found = expected_calibration_error(values, values, rng=rng())
    assert (found.plug_in, found.debiased, found.low, found.high) == (0.0, 0.0, 0.0, 0.0)


def miscalibrated(generator, n, amount):
    predictions = generator.random(n)
    truths = np.clip(predictions + amount * np.sin(2 * np.pi * predictions), 0, 1)
    return predictions, truths, (generator.random(n) < truths).astype(float)


@pytest.mark.parametrize("amount", [0.0, 0.05, 0.15])
def test_ece_interval_covers_and_debiasing_helps(amount):
    generator, trials, n = np.random.default_rng(3), 100, 1_000
    predictions, truths, _ = miscalibrated(generator, 300_000, amount)
    truth = expected_calibration_error(predictions, truths, rng=rng()).plug_in
    if amount == 0.0:
        truth = 0.0
    found = [
        expected_calibration_error(predictions, outcomes, rng=generator, num_resamples=200)
        for predictions, _, outcomes in (miscalibrated(generator, n, amount) for _ in range(trials))
    ]
    covered = np.mean([f.low <= truth <= f.high for f in found])
    # Stated coverage: 92 to 97 %, and more at perfect calibration, where the upper bound cannot miss.
    assert covered > 0.92 - 3 * np.sqrt(0.92 * 0.08 / trials)
    plug_in, debiased = (np.mean([getattr(f, name) for f in found]) - truth for name in ("plug_in", "debiased"))
    assert abs(debiased) < abs(plug_in) / 2 + 3 * np.std([f.debiased for f in found]) / np.sqrt(trials)


def test_reliability_of_hard_labels_is_wilson_by_bin():
    predictions = np.repeat([0.2, 0.8], 50)
    targets = np.r_[np.repeat([1.0, 0.0], [10, 40]), np.repeat([1.0, 0.0], [35, 15])]
    low_bin, high_bin = reliability_curve(predictions, targets, num_bins=2)
    assert (low_bin.num_rows, low_bin.mean_prediction, low_bin.mean_target) == (50, pytest.approx(0.2), 0.2)
    assert high_bin.mean_target == 0.7
    # Wilson at 10 of 50 (Newcombe 1998): .1124 to .3304; the sample variance, with n - 1, costs 1 / n at most.
    assert low_bin.low == pytest.approx(0.1124, abs=0.002)
    assert low_bin.high == pytest.approx(0.3304, abs=0.002)


def test_reliability_of_soft_labels_covers_the_mean_of_the_bin():
    generator, trials, covered, widths = np.random.default_rng(4), 400, 0, []
    for _ in range(trials):
        targets = generator.beta(8, 2, 40)  # mean .8, deviation .12: far less than a coin's .4
        (only,) = reliability_curve(np.full(40, 0.5), targets)
        covered += only.low <= 0.8 <= only.high
        widths.append(only.high - only.low)
    assert abs(covered / trials - 0.95) < 3 * np.sqrt(0.95 * 0.05 / trials)
    assert np.mean(widths) < 0.1  # a coin's Wilson interval of 40 rows is .25 wide


def test_bins_of_one_outcome_keep_their_width():
    (only,) = reliability_curve(np.full(20, 0.9), np.ones(20))
    assert only.high == 1.0
    assert only.low == pytest.approx(1 / (1 + 1.959964**2 / 20), abs=1e-6)  # Wilson at n of n
