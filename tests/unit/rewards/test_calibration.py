import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression

from stepward.rewards.budget_calibration import BudgetCalibration
from stepward.rewards.calibration import IsotonicCalibration, TemperatureScaling
from stepward.rewards.calibrators import calibrate, calibrator_from_dict, fit_calibrators


def labels(generator, truths, rollouts):
    m = np.full(len(truths), rollouts)
    return generator.binomial(m, truths), m


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("scores_are", ["logits", "probabilities"])
def test_recovers_a_known_temperature(temperature, scores_are):
    generator = np.random.default_rng(0)
    truth_logits = generator.normal(0, 1.5, 4_000)
    successes, m = labels(generator, expit(truth_logits), 16)
    scores = truth_logits * temperature
    fitted = TemperatureScaling.fit(
        scores if scores_are == "logits" else expit(scores), successes, m, scores_are=scores_are
    )
    # Fisher information of β = 1 / T: Σ M p (1 - p) z², so the error of T is T² / sqrt of it.
    p = expit(truth_logits)
    standard_error = temperature**2 / np.sqrt((m * p * (1 - p) * scores**2).sum())
    assert abs(fitted.temperature - temperature) < 4 * standard_error


def test_many_rollouts_weigh_more():
    scores = np.array([1.0, 1.0])
    few_then_many = TemperatureScaling.fit(scores, np.array([1, 60]), np.array([1, 100]), scores_are="logits")
    assert few_then_many.apply(scores)[0] == pytest.approx(61 / 101)


def test_temperature_has_bounds():
    z = np.array([-1.0, 1.0])
    separable = TemperatureScaling.fit(z, np.array([0, 8]), np.array([8, 8]), scores_are="logits")
    backwards = TemperatureScaling.fit(z, np.array([8, 0]), np.array([8, 8]), scores_are="logits")
    assert separable.temperature == pytest.approx(0.01)
    assert backwards.temperature == pytest.approx(100.0)
    np.testing.assert_allclose(backwards.apply(z), 0.5, atol=0.01)


@given(arrays(np.float64, 20, elements=st.floats(0.001, 0.999)), st.floats(0.5, 20))
def test_temperature_keeps_the_order(probabilities, temperature):
    calibrated = TemperatureScaling(temperature).apply(probabilities)
    assert (np.diff(calibrated[np.argsort(probabilities)]) >= 0).all()
    np.testing.assert_allclose(logit(calibrated) * temperature, logit(probabilities), rtol=1e-4, atol=1e-4)


@given(st.lists(st.tuples(st.integers(-4, 4), st.integers(0, 8), st.integers(8, 12)), min_size=1, max_size=30))
def test_isotonic_agrees_with_scikit_learn(rows):
    x, s, m = np.array(rows).T
    scores = x.astype(float)
    fitted = IsotonicCalibration.fit(scores, s, m)
    reference = IsotonicRegression(out_of_bounds="clip").fit(scores, s / m, sample_weight=m)
    grid = np.linspace(-6, 6, 49)
    np.testing.assert_allclose(fitted.apply(grid), reference.predict(grid), atol=1e-9)
    assert (np.diff(fitted.apply(grid)) >= 0).all()
    assert fitted.apply(scores).mean() >= 0
    # The fit keeps the total: Σ M p = Σ S.
    assert (m * fitted.apply(scores)).sum() == pytest.approx(s.sum(), abs=1e-6)


def test_isotonic_learns_any_monotone_curve():
    generator = np.random.default_rng(1)
    distance = generator.uniform(0, 10, 5_000)  # a heuristic, not a probability
    truth = np.exp(-distance)
    successes, m = labels(generator, truth, 32)
    fitted = IsotonicCalibration.fit(-distance, successes, m)
    # Isotonic error goes as (σ² slope / n)^(1/3): below .02 here on average, against .27 of the best constant.
    assert np.abs(fitted.apply(-distance) - truth).mean() < 0.02
    assert len(fitted.scores) < 500  # plateaus keep their two ends only


@pytest.mark.parametrize(
    "fitted",
    [
        TemperatureScaling(1.7, "logits"),
        TemperatureScaling(0.1 + 0.2),
        IsotonicCalibration((-1.0, 0.1 + 0.2), (0.25, 1 / 3)),
        BudgetCalibration((-3, 2), (0.1 + 0.2, 2.0), (1 / 3, -1.0)),
    ],
)
def test_survives_json(fitted):
    assert calibrator_from_dict(json.loads(json.dumps(fitted.to_dict()))) == fitted


def test_one_score_is_a_constant_map():
    fitted = IsotonicCalibration.fit(np.array([2.0, 2.0]), np.array([1, 2]), np.array([4, 4]))
    np.testing.assert_allclose(fitted.apply(np.array([-9.0, 2.0, 9.0])), 3 / 8)


@pytest.mark.parametrize("kind", [TemperatureScaling, IsotonicCalibration])
def test_refuses_impossible_labels(kind):
    with pytest.raises(ValueError, match="successes <= num_rollouts"):
        kind.fit(np.array([0.5]), np.array([9]), np.array([8]))
    with pytest.raises(ValueError, match="at least one"):
        kind.fit(np.zeros(0), np.zeros(0), np.zeros(0))


def test_refuses_what_it_cannot_read():
    with pytest.raises(ValueError, match="scores_are='logits'"):
        TemperatureScaling.fit(np.array([-3.0]), np.array([1]), np.array([2]))
    with pytest.raises(ValueError, match="NaN"):
        IsotonicCalibration((0.0,), (0.5,)).apply(np.array([np.nan]))
    with pytest.raises(ValueError, match=r"Unknown calibrator 'platt'.*isotonic"):
        calibrator_from_dict({"kind": "platt"})
    with pytest.raises(ValueError, match="non-decreasing"):
        calibrator_from_dict({"kind": "isotonic", "scores": [0.0, 1.0], "probabilities": [0.9, 0.1]})


def test_every_budget_gets_its_own_slope_and_shift():
    """Labels of p = σ(a z + c) with a, c of the budget: both are found again, and one map for all is not enough."""
    generator, num = np.random.default_rng(3), 4000
    budgets = np.repeat([1, 2, 5], num)
    slopes, shifts = (np.repeat(values, num) for values in ([0.5, 1.0, 2.0], [1.0, 0.0, -1.0]))
    z = generator.normal(size=3 * num)
    truths = expit(slopes * z + shifts)
    counts = labels(generator, truths, 16)
    found = fit_calibrators(expit(z), *counts, budgets)
    made = found["budget"]
    assert made.budgets == (1, 2, 5)
    np.testing.assert_allclose(made.slopes, [0.5, 1.0, 2.0], rtol=0.05)
    np.testing.assert_allclose(made.shifts, [1.0, 0.0, -1.0], atol=0.05)
    errors = {name: np.abs(calibrate(c, expit(z), budgets) - truths).mean() for name, c in found.items()}
    assert errors["budget"] < 0.01 < 0.1 < min(errors["temperature"], errors["isotonic"])


def test_few_rows_share_a_group_and_unseen_budgets_take_the_nearest():
    budgets = np.repeat([2, 3, 4, 9], [150, 150, 250, 30])
    z = np.random.default_rng(0).normal(size=len(budgets))
    counts = labels(np.random.default_rng(1), expit(z + (budgets >= 4)), 8)
    made = BudgetCalibration.fit(expit(z), *counts, budgets, min_rows=200)
    assert made.budgets == (2, 4), "2 and 3 together, 9 with 4"
    half, seen = np.full(4, 0.5), made.apply(np.array([0.5, 0.5]), np.array([2, 4]))
    np.testing.assert_array_equal(made.apply(half, np.array([0, 3, 7, 99])), seen[[0, 0, 1, 1]])


@given(arrays(float, 30, elements=st.floats(0, 1)), st.integers(0, 5))
def test_siblings_keep_their_order(scores, budget):
    made = BudgetCalibration((1, 3), (0.3, 4.0), (2.0, -1.0))
    ordered = made.apply(np.sort(scores), np.full(30, budget))
    assert (np.diff(ordered) >= 0).all() and ((ordered >= 0) & (ordered <= 1)).all()


def test_separable_labels_end_at_finite_parameters():
    made = BudgetCalibration.fit(np.array([0.1, 0.9] * 50), np.array([0, 8] * 50), np.full(100, 8), np.ones(100, int))
    low, high = made.apply(np.array([0.1, 0.9]), np.array([1, 1]))
    assert np.isfinite([*made.slopes, *made.shifts]).all() and low < 1e-3 and high > 1 - 1e-3


def test_budgets_are_asked_for():
    made = BudgetCalibration((0,), (1.0,), (0.0,))
    with pytest.raises(ValueError, match="how many steps a state has left"):
        calibrate(made, np.array([0.5]), None)
    with pytest.raises(ValueError, match="ascending budgets"):
        BudgetCalibration((2, 1), (1.0, 1.0), (0.0, 0.0))
    with pytest.raises(ValueError, match="slopes above 0"):
        BudgetCalibration((1,), (0.0,), (0.0,))
