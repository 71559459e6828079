"""Composite, ensemble and calibrated models: their algebra, and that only their parts are charged."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit

from stepward.core.cost import Ledger, metered_reward
from stepward.domains.walk.states import Walk, advance, roots
from stepward.rewards import Calibrated, Composite, Ensemble, Part
from stepward.rewards.calibration import TemperatureScaling

DOMAIN = Walk()


class Fixed:
    """Scores by row number, and how often it was asked."""

    def __init__(self, *scores, num_parameters=0):
        self.scores, self.num_parameters, self.calls = np.array(scores), num_parameters, 0

    def score(self, parents, children):
        self.calls += 1
        return self.scores[: len(children)]


def steps(num=3):
    parents = roots(np.arange(num), np.arange(num) + 20, 8)
    return parents, advance(parents, np.zeros(num, np.int64))


weights = st.floats(0.01, 100)


@given(weights, weights, weights)
def test_composite_is_the_normalised_sum(a, b, scale):
    parents, children = steps()
    x, y = np.array([0.1, 0.5, 0.9]), np.array([-3.0, 2.0, 7.0])
    made = Composite({"x": Part(Fixed(*x), a), "y": Part(Fixed(*y), b)}, DOMAIN)
    np.testing.assert_allclose(made.score(parents, children), (a * x + b * y) / (a + b), rtol=1e-9, atol=1e-12)
    scaled = Composite({"x": Part(Fixed(*x), a * scale), "y": Part(Fixed(*y), b * scale)}, DOMAIN)
    np.testing.assert_allclose(scaled.score(parents, children), made.score(parents, children), rtol=1e-9, atol=1e-12)


def test_one_part_is_that_model_and_a_part_of_weight_zero_is_not_evaluated():
    parents, children = steps()
    used, unused = Fixed(0.2, 0.4, 0.6), Fixed(9.0, 9.0, 9.0)
    made = Composite({"used": Part(used, 3.0), "unused": Part(unused, 0.0)}, DOMAIN)
    np.testing.assert_allclose(made.score(parents, children), used.scores)
    assert unused.calls == 0
    assert list(made.components(parents, children)) == ["used"]


def test_log_parts_make_a_product_of_experts():
    parents, children = steps()
    p, q = np.array([0.2, 0.4, 0.6]), np.array([0.9, 0.1, 0.5])
    parts = {"p": Part(Fixed(*p), 1.0, "log"), "q": Part(Fixed(*q), 3.0, "log")}
    np.testing.assert_allclose(np.exp(Composite(parts, DOMAIN).score(parents, children)), p**0.25 * q**0.75)


def test_transforms_stay_finite_at_the_edges():
    parents, children = steps()
    for transform in ("log", "logit", "negative_log_cost"):
        made = Composite({"p": Part(Fixed(0.0, 1.0, 0.5), 1.0, transform)}, DOMAIN)
        scores = made.score(parents, children)
        assert np.isfinite(scores).all()


@pytest.mark.parametrize("weights", [{"a": 0.0}, {"a": -1.0, "b": 2.0}, {"a": np.nan}, {}])
def test_bad_weights(weights):
    with pytest.raises(ValueError, match="expected finite weights"):
        Composite({name: Part(Fixed(1.0), weight) for name, weight in weights.items()}, DOMAIN)


def test_unknown_transform_lists_the_known_ones():
    with pytest.raises(ValueError, match="logit"):
        Composite({"a": Part(Fixed(1.0), 1.0, "logits")}, DOMAIN)


def test_ensemble_reductions():
    parents, children = steps()
    members = [Fixed(0.0, 1.0, 5.0), Fixed(2.0, 1.0, 1.0)]
    mean, low, bound = (
        Ensemble(members, DOMAIN, reduction=r, num_deviations=2.0).score(parents, children)
        for r in ("mean", "min", "lower_bound")
    )
    np.testing.assert_allclose(mean, [1, 1, 3])
    np.testing.assert_allclose(low, [0, 1, 1])
    np.testing.assert_allclose(bound, [1 - 2 * 1, 1, 3 - 2 * 2])  # population deviations 1, 0, 2


def test_ensemble_of_copies_is_the_model():
    parents, children = steps()
    for reduction in ("mean", "min", "lower_bound"):
        made = Ensemble([Fixed(0.3, 0.1, 0.2)] * 3, DOMAIN, reduction=reduction)
        np.testing.assert_allclose(made.score(parents, children), [0.3, 0.1, 0.2])


def test_bad_ensembles():
    with pytest.raises(ValueError, match="at least one member"):
        Ensemble([], DOMAIN)
    with pytest.raises(ValueError, match="lower_bound"):
        Ensemble([Fixed(1.0)], DOMAIN, reduction="max")
    with pytest.raises(ValueError, match="num_deviations"):
        Ensemble([Fixed(1.0)], DOMAIN, num_deviations=-1.0)


def test_calibrated_scores_are_probabilities():
    parents, children = steps()
    p = np.array([0.1, 0.5, 0.9])
    made = Calibrated(Fixed(*p), TemperatureScaling(2.0), DOMAIN)
    np.testing.assert_allclose(made.score(parents, children), expit(logit(p) / 2))


def test_only_the_parts_are_charged():
    """Seven parameters a row and three, each charged once, however deeply they are wrapped."""
    parents, children = steps()
    inner = Ensemble([Fixed(0.1, 0.2, 0.3, num_parameters=7)], DOMAIN)
    outer = Composite(
        {"a": Part(Calibrated(inner, TemperatureScaling(1.0), DOMAIN)), "b": Part(Fixed(1, 1, 1, num_parameters=3))},
        DOMAIN,
    )
    with Ledger(3).recording() as ledger:
        metered_reward(outer, DOMAIN).score(parents, children)
    np.testing.assert_array_equal(ledger.spent["scored"], 2.0)
    np.testing.assert_array_equal(ledger.spent["flops"], 2.0 * (7 + 3))
