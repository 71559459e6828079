import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from stepward.evaluate import compare_frontiers, frontier_area, outcomes_at_cost, pareto_mask, solve_frontier

COSTS = np.array([3.0, 10.0, 10.0, 50.0, np.inf])


def test_solve_rate_at_budgets():
    points = solve_frontier(COSTS, np.array([2, 10, 50, 1000]))
    assert [p.num_solved for p in points] == [0, 3, 4, 4]  # a budget includes its own last unit
    assert [p.solve_rate for p in points] == [0.0, 0.6, 0.8, 0.8]
    expected = stats.binomtest(3, 5).proportion_ci(method="wilson")
    assert (points[1].low, points[1].high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert points[0].low == 0.0
    assert points[0].high > 0.3


def test_area_is_the_integral_of_the_curve():
    grid = (np.arange(200_000) + 0.5) / 200_000 * 60
    curve = np.mean([p.solve_rate for p in solve_frontier(COSTS, grid[::1000])])
    assert frontier_area(COSTS, max_budget=60).mean() == pytest.approx(curve, abs=1 / 200)  # one cell of the grid
    log_grid = np.exp(np.linspace(np.log(2), np.log(200), 401))
    log_curve = np.mean([p.solve_rate for p in solve_frontier(COSTS, log_grid)])
    area = frontier_area(COSTS, min_budget=2, max_budget=200, scale="log")
    assert area.mean() == pytest.approx(log_curve, abs=1 / 400 + 1 / 401)


def test_area_ends():
    np.testing.assert_array_equal(
        frontier_area(np.array([0.0, 10.0, np.inf, 5.0]), max_budget=10), [1.0, 0.0, 0.0, 0.5]
    )
    with pytest.raises(ValueError, match="min_budget > 0"):
        frontier_area(COSTS, max_budget=10, scale="log")


def test_compare_frontiers_is_paired_and_adjusted_over_the_table():
    generator = np.random.default_rng(0)
    slow = generator.integers(1, 200, 300).astype(float)
    fast = np.ceil(slow / 2)
    rows = compare_frontiers(
        {"fast": fast, "slow": slow, "same": slow}, "slow", np.array([10.0, 100.0]), rng=np.random.default_rng(1)
    )
    assert [(r.budget, r.comparison.arm) for r in rows] == [
        (10.0, "fast"),
        (10.0, "same"),
        (100.0, "fast"),
        (100.0, "same"),
    ]
    gained = ((fast <= 100) & (slow > 100)).mean()
    assert rows[2].comparison.difference == pytest.approx(gained)
    assert rows[2].comparison.low > 0
    assert rows[2].comparison.holm_p_value == pytest.approx(4 * rows[2].comparison.p_value)
    assert rows[1].comparison.holm_p_value == 1.0


def test_outcomes_at_matched_cost():
    outcomes = np.array([[1, 1, 0], [0, 1, 0], [1, 1, 1]])
    costs = np.array([4.0, 1.0, 16.0])  # out of order
    np.testing.assert_array_equal(outcomes_at_cost(1.0, costs, outcomes), [0, 1, 0])
    np.testing.assert_array_equal(outcomes_at_cost(16.0, costs, outcomes), [1, 1, 1])
    np.testing.assert_allclose(outcomes_at_cost(2.0, costs, outcomes), [0.5, 1, 0])  # half way in the logarithm
    with pytest.raises(ValueError, match=r"within the measured range \[1, 16\]"):
        outcomes_at_cost(32.0, costs, outcomes)
    np.testing.assert_array_equal(outcomes_at_cost(4.0, costs[:1], outcomes[:1]), [1, 1, 0])


small = arrays(np.float64, 6, elements=st.integers(0, 4).map(float))


@given(small, small)
def test_pareto_mask_is_its_definition(costs, rates):
    expected = [
        not any(
            costs[j] <= costs[i] and rates[j] >= rates[i] and (costs[j], rates[j]) != (costs[i], rates[i])
            for j in range(6)
        )
        for i in range(6)
    ]
    np.testing.assert_array_equal(pareto_mask(costs, rates), expected)


def test_bad_costs_and_names():
    with pytest.raises(ValueError, match="cost >= 0"):
        solve_frontier(np.array([np.nan]), np.array([1.0]))
    with pytest.raises(ValueError, match="Unknown arm"):
        compare_frontiers({"a": COSTS}, "b", np.array([1.0]), rng=np.random.default_rng(0))
