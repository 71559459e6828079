import math

import numpy as np
import pytest
from scipy import stats

from stepward.evaluate import (
    detectable_mean_difference,
    detectable_rate_difference,
    mcnemar,
    mcnemar_power,
    sign_flip_test,
)


def test_power_is_how_often_the_test_rejects():
    generator, trials = np.random.default_rng(0), 2_000
    n, discordance, effect = 150, 0.2, 0.08
    wins, losses, _ = generator.multinomial(n, [0.14, 0.06, 0.8], size=trials).T
    rejected = np.mean([mcnemar(w, k) <= 0.05 for w, k in zip(wins.tolist(), losses.tolist(), strict=True)])
    power = mcnemar_power(n, effect, discordance=discordance)
    assert abs(rejected - power) < 3 * np.sqrt(power * (1 - power) / trials)


def test_size_is_at_most_the_level():
    for n in (5, 6, 40, 300):
        assert mcnemar_power(n, 0.0, discordance=0.3) <= 0.05
    assert mcnemar_power(5, 1.0, discordance=1.0) == 0.0  # five discordant pairs cannot reach p = .05
    assert mcnemar_power(6, 1.0, discordance=1.0) == pytest.approx(1.0)  # six of one kind: p = .03


def test_detectable_rate_difference_has_the_power_asked_for():
    found = detectable_rate_difference(1_000, discordance=0.1, power=0.8)
    assert mcnemar_power(1_000, found.effect, discordance=0.1) == pytest.approx(0.8, abs=1e-4)
    # Connor 1987, n = (z_a √ψ + z_b √(ψ - δ²))² / δ², for the asymptotic test; the exact one needs a little more.
    z_a, z_b, d = stats.norm.isf(0.025), stats.norm.isf(0.2), found.effect
    approximate = (z_a * math.sqrt(0.1) + z_b * math.sqrt(0.1 - d**2)) ** 2 / d**2
    assert 0.85 * 1_000 < approximate < 1_000
    assert "0.0" in str(found)
    assert "1000 paired problems" in str(found)


def test_many_comparisons_need_larger_effects():
    one, six = (detectable_rate_difference(500, discordance=0.1, num_comparisons=m).effect for m in (1, 6))
    assert six > one
    assert six == detectable_rate_difference(500, discordance=0.1, alpha=0.05 / 6).effect


def test_too_few_problems_find_nothing():
    found = detectable_rate_difference(20, discordance=0.05)
    assert math.isinf(found.effect)
    assert "too few problems" in str(found)


def test_detectable_mean_difference_against_simulation():
    found = detectable_mean_difference(40, standard_deviation=2.0, power=0.8)
    # Cohen: n = 40 pairs, power .80 at .05 two-sided: d = .4543 (noncentral t).
    assert found.effect / 2.0 == pytest.approx(0.454, abs=0.001)
    generator, trials = np.random.default_rng(1), 600
    p = [
        sign_flip_test(x, rng=generator, num_flips=999) for x in generator.normal(found.effect, 2.0, size=(trials, 40))
    ]
    assert abs(np.mean(np.array(p) <= 0.05) - 0.8) < 3 * np.sqrt(0.16 / trials)


@pytest.mark.parametrize("bad", [{"discordance": 0.0}, {"discordance": 0.1, "alpha": 5.0}])
def test_rejects_impossible_plans(bad):
    with pytest.raises(ValueError, match="Expected"):
        detectable_rate_difference(100, **bad)
