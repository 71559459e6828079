from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepward.evaluate import compare_arms, holm, mcnemar, paired_comparison, sign_flip_test


def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    ("wins", "losses", "expected"),
    [
        (10, 2, 2 * (1 + 12 + 66) / 4096),  # P(B(12, 1/2) <= 2), twice: .0386
        (8, 1, 2 * (1 + 9) / 512),
        (5, 5, 1.0),  # capped: twice the tail exceeds 1
        (0, 0, 1.0),
        (0, 6, 2 / 64),
    ],
)
def test_mcnemar_by_hand(wins, losses, expected):
    assert mcnemar(wins, losses) == pytest.approx(expected, rel=1e-12)


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_the_binomial_sum_and_symmetric(wins, losses):
    n, k = wins + losses, min(wins, losses)
    expected = min(1.0, 2 * sum(comb(n, i) for i in range(k + 1)) / 2**n)
    assert mcnemar(wins, losses) == pytest.approx(expected)


def test_holm_of_the_textbook():
    # Wright 1992, "Adjusted p-values for simultaneous inference", the logic of table 1: .01 .04 .03 .005 of four tests.
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values):
    p, alpha = np.array(p_values), 0.05
    rejected = np.zeros(len(p), bool)
    for i, row in enumerate(np.argsort(p, kind="stable")):  # Holm's own words: stop at the first that is too large
        if p[row] * (len(p) - i) > alpha:
            break
        rejected[row] = True
    np.testing.assert_array_equal(holm(p) <= alpha, rejected)


def test_holm_rejects_nan():
    with pytest.raises(ValueError, match="p-values"):
        holm(np.array([0.1, np.nan]))


def test_sign_flip_exact_by_hand():
    # Sums of ±1 ±2 ±3 ±4 reach |10| in 2 of 16 patterns, |8| in 2 more.
    assert sign_flip_test(np.array([1.0, 2.0, 3.0, 4.0]), rng=rng()) == 2 / 16
    assert sign_flip_test(np.array([-1.0, 2.0, 3.0, 4.0]), rng=rng()) == 4 / 16
    assert sign_flip_test(np.zeros(5), rng=rng()) == 1.0


def test_sign_flip_by_chance_agrees_with_exact():
    values = np.random.default_rng(1).normal(0.4, 1, size=12)
    exact = sign_flip_test(values, rng=rng(), num_flips=2**12)
    sampled = sign_flip_test(values, rng=rng(), num_flips=2**12 - 1)
    assert abs(sampled - exact) < 4 * np.sqrt(exact * (1 - exact) / 4095) + 1 / 4096


def test_sign_flip_keeps_its_level():
    generator, trials = np.random.default_rng(2), 1_000
    p = [sign_flip_test(x, rng=generator, num_flips=199) for x in generator.normal(size=(trials, 25))]
    assert abs(np.mean(np.array(p) <= 0.05) - 0.05) < 3 * np.sqrt(0.05 * 0.95 / trials)


def test_table_of_arms():
    reference = np.repeat([1, 0], [60, 40])
    better = reference.copy()
    better[60:80] = 1
    better[:2] = 0
    graded = reference * 0.5
    table = compare_arms({"better": better, "base": reference, "graded": graded}, "base", rng=rng())
    assert [row.arm for row in table] == ["better", "graded"]
    first, second = table
    assert (first.test, second.test) == ("mcnemar", "sign-flip")
    assert (first.num_pairs, first.num_discordant) == (100, 22)
    assert (first.mean, first.reference_mean) == (0.78, 0.60)
    assert first.difference == pytest.approx(0.18)
    assert first.low < 0.18 < first.high
    assert first.p_value == pytest.approx(2 * (1 + 22 + 231) / 2**22)
    assert second.p_value == pytest.approx(1 / 10_001)
    assert {row.arm: row.holm_p_value for row in table} == {
        "better": pytest.approx(max(2 * min(first.p_value, second.p_value), first.p_value)),
        "graded": pytest.approx(max(2 * min(first.p_value, second.p_value), second.p_value)),
    }


def test_agreement_on_every_problem_is_not_certainty():
    same = np.ones(100, int)
    row = paired_comparison(same, same, rng=rng())
    # The exact 95 % bound of a probability never seen in 100: (1 - u)^100 = .025.
    assert (1 - row.high) ** 100 == pytest.approx(0.025)
    assert row.low == -row.high
    assert row.p_value == 1.0
    wins = paired_comparison(same, 0 * same, rng=rng())
    assert wins.high == 1.0
    assert wins.low == pytest.approx(1 - 2 * row.high)


def test_bool_outcomes_are_welcome():
    row = paired_comparison(np.array([True, True, False]), np.array([True, False, False]), rng=rng())
    assert (row.test, row.num_discordant) == ("mcnemar", 1)


def test_errors_name_the_arms():
    with pytest.raises(ValueError, match=r"Unknown arm 'bas'.*base"):
        compare_arms({"base": np.ones(3)}, "bas", rng=rng())
    with pytest.raises(ValueError, match="'short' and 'base'"):
        compare_arms({"base": np.ones(3), "short": np.ones(2)}, "base", rng=rng())
