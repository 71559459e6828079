"""Votes over the solutions of a search: examples by hand, and what holds for any of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepward.evaluate import best_of_n, majority_vote, oracle_bound, right_at, weighted_vote

# Problem 0: 7 twice, 5 twice (found first), 9 once. Problem 1: nothing. Problem 2: one solution. Found interleaved.
PROBLEM = np.array([0, 2, 0, 0, 0, 0])
ANSWER = np.array(["5", "3", "7", "9", "7", "5"], object)
VALUE = np.array([0.2, 0.1, 0.5, 0.8, 0.4, 0.1])
RIGHT = np.array([0, 1, 1, 0, 1, 0])


def test_by_hand():
    assert majority_vote(PROBLEM, ANSWER, 3).tolist() == [0, -1, 1]  # a tie of 5 and 7: 5 came first
    assert weighted_vote(PROBLEM, ANSWER, VALUE, 3).tolist() == [2, -1, 1]  # 7: .9, 9: .8, 5: .3
    assert best_of_n(PROBLEM, VALUE, 3).tolist() == [3, -1, 1]
    assert oracle_bound(PROBLEM, RIGHT, 3).tolist() == [True, False, True]
    assert right_at(weighted_vote(PROBLEM, ANSWER, VALUE, 3), RIGHT).tolist() == [True, False, True]
    assert right_at(majority_vote(PROBLEM, ANSWER, 3), RIGHT).tolist() == [False, False, True]


def test_ties_go_to_the_first_found():
    three = np.zeros(3, np.int64)
    assert best_of_n(three, np.array([0.5, 0.9, 0.9]), 1).tolist() == [1]
    assert weighted_vote(three, np.array(["z", "a", "a"], object), np.array([0.8, 0.4, 0.4]), 1).tolist() == [0]
    assert best_of_n(three, np.array([-2.0, -1.0, -1.0]), 1).tolist() == [1]
    assert best_of_n(three, np.full(3, -np.inf), 1).tolist() == [0]


def test_a_tie_is_not_broken_by_rounding():
    """.1 + .2 + .3 and .3 + .2 + .1 differ in the last bit."""
    answer = np.array(["b", "b", "b", "a", "a", "a"], object)
    weight = np.array([0.3, 0.2, 0.1, 0.1, 0.2, 0.3])
    assert sum(weight[:3]) != sum(weight[3:])
    assert weighted_vote(np.zeros(6, np.int64), answer, weight, 1).tolist() == [0]


def test_who_says_nothing_has_no_vote():
    answer = np.array(["", "", "4", ""], object)
    assert majority_vote(np.array([0, 0, 0, 1]), answer, 2).tolist() == [2, 3]


def test_answers_may_be_numbers():
    assert majority_vote(np.zeros(3, np.int64), np.array([4, 6, 6]), 1).tolist() == [1]


def test_no_solutions():
    none, nothing = np.zeros(0, np.int64), np.zeros(0)
    assert majority_vote(none, np.zeros(0, object), 2).tolist() == [-1, -1]
    assert best_of_n(none, nothing, 2).tolist() == [-1, -1]
    assert oracle_bound(none, nothing, 2).tolist() == [False, False]
    assert right_at(np.array([-1, -1]), nothing).tolist() == [False, False]


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abc"), st.integers(0, 8)), max_size=30))
def test_against_counting_one_problem_at_a_time(found):
    problem = np.array([row[0] for row in found], np.int64)
    answer = np.array([row[1] for row in found], object)
    weight = np.array([row[2] / 8 for row in found], np.float64)  # eighths: sums are exact
    chosen, right = weighted_vote(problem, answer, weight, 4), answer == "a"
    for p in range(4):
        mine = [i for i, row in enumerate(found) if row[0] == p]
        totals = {i: sum(weight[j] for j in mine if answer[j] == answer[i]) for i in mine}
        expected = max(mine, key=lambda i: (totals[i], -i)) if mine else -1
        assert chosen[p] == expected
    bound = oracle_bound(problem, right, 4)
    for choice in (chosen, majority_vote(problem, answer, 4), best_of_n(problem, weight, 4)):
        assert (right_at(choice, right) <= bound).all()


def test_refuses_what_cannot_be():
    with pytest.raises(ValueError, match="exponential"):
        weighted_vote(PROBLEM, ANSWER, np.log(VALUE), 3)
    with pytest.raises(ValueError, match="NaN"):
        best_of_n(PROBLEM, np.full(6, np.nan), 3)
