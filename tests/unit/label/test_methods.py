"""Adaptive counts, the search for the first error, and outcomes of samples, against truth that is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from stepward.label.methods import Adaptive, FirstError, Fixed, Outcome, Samples, jeffreys_width


class Coins:
    """Rows that succeed with probability `rate`; remembers what was asked of it."""

    def __init__(self, rate: list[float]) -> None:
        self.rate, self.asked = np.array(rate), []

    def flips(self, row: int, num: int, part: int) -> np.ndarray:
        return np.random.default_rng([row, part]).random(num) < self.rate[row]

    def __call__(self, rows: np.ndarray, num: int, part: int) -> np.ndarray:
        self.asked += [(int(row), num, part) for row in rows]
        return np.array([self.flips(row, num, part).sum() for row in rows], np.int64)


def test_fixed_gives_every_row_the_limit() -> None:
    counts = Fixed().count(3, 10, Coins([0.0, 0.5, 1.0]), None)
    assert counts.num_rollouts.tolist() == [10, 10, 10]
    assert counts.successes[[0, 2]].tolist() == [0, 10]
    assert counts.origin is None


def test_width_of_the_interval() -> None:
    """The textbook interval: quantiles of the posterior under Jeffreys' prior, closed at 0 and at 1."""
    width = jeffreys_width(10, 0.9)
    posterior = beta(3.5, 7.5)
    assert width[3] == pytest.approx(posterior.ppf(0.95) - posterior.ppf(0.05))
    assert width[0] == pytest.approx(beta(0.5, 10.5).ppf(0.95))
    np.testing.assert_allclose(width, width[::-1])


def test_adaptive_rolls_out_until_it_knows_and_no_further() -> None:
    rates = [0.0, 0.05, 0.3, 0.5, 0.9, 1.0] * 20
    coins, method, limit = Coins(rates), Adaptive(width=0.3, step=4), 30
    counts = method.count(len(rates), limit, coins, None)
    for row, (successes, num) in enumerate(zip(counts.successes, counts.num_rollouts, strict=True)):
        seen = np.concatenate([coins.flips(row, min(4, limit - 4 * part), part) for part in range(8)])
        looks = [n for n in [*range(4, limit, 4), limit] if jeffreys_width(n, 0.9)[seen[:n].sum()] <= 0.3]
        assert num == (looks[0] if looks else limit)
        assert successes == seen[:num].sum()
    assert counts.num_rollouts[::6].max() < counts.num_rollouts[3::6].min(), "certain rows take fewer"
    assert len(set(coins.asked)) == len(coins.asked), "no random number is used twice"
    assert sum(num for _, num, _ in coins.asked) == counts.num_rollouts.sum()


def chain(first: int, length: int) -> np.ndarray:
    return np.arange(first, first + length)


@given(data=st.data())
def test_first_error_is_found_in_few_tries(data: st.DataObject) -> None:
    """Where success ends for good somewhere, every label says "any success" rightly, after at most log₂ T + 1 tries."""
    lengths = data.draw(st.lists(st.integers(1, 20), min_size=1, max_size=6))
    errors = [data.draw(st.integers(0, length - 1)) for length in lengths]
    starts = np.cumsum([0, *lengths])
    good = np.concatenate([np.arange(n) < error for n, error in zip(lengths, errors, strict=True)])
    paths = [chain(start, n) for start, n in zip(starts, lengths, strict=False)]
    coins = Coins(good.astype(float).tolist())
    samples = Samples(paths, np.zeros(len(paths), bool), np.ones(len(paths), np.int64))
    counts = FirstError().count(len(good), 8, coins, samples)
    assert ((counts.successes > 0) == good).all()
    for start, length in zip(starts, lengths, strict=False):
        tried = [row for row, _, _ in coins.asked if start <= row < start + length]
        assert len(tried) == len(set(tried)) <= np.ceil(np.log2(length)) + 1
    assert counts.origin is not None
    own = np.array(counts.origin) == "rollouts"
    assert sorted(row for row, _, _ in coins.asked) == np.flatnonzero(own).tolist()
    assert (counts.num_rollouts == np.where(own, 8, 1)).all()


def test_beginnings_of_right_solutions_are_known_and_shared_rows_tried_once() -> None:
    """Rows 0-1-2 lead to a right end 3 and, by 4-5-6, to a wrong end 7; another wrong end, 8, follows row 5."""
    paths = [np.array([0, 1, 2, 3]), np.array([0, 1, 4, 5, 6, 7]), np.array([0, 1, 4, 5, 8])]
    samples = Samples(paths, np.array([True, False, False]), np.array([2, 1, 3]))
    coins = Coins([1, 1, 1, 1, 1, 0, 0, 0, 0])
    counts = FirstError().count(9, 4, coins, samples)
    assert counts.successes.tolist() == [2, 2, 2, 2, 4, 0, 0, 0, 0]
    assert counts.num_rollouts.tolist() == [6, 6, 2, 2, 4, 4, 1, 1, 3]
    by = {"s": "samples", "r": "rollouts", "i": "inferred"}
    assert counts.origin == [by[letter] for letter in "ssssrriss"]
    assert sorted(row for row, _, _ in coins.asked) == [4, 5]


def test_a_success_found_later_wins_over_a_failure_guessed_from() -> None:
    """Row 1 succeeds in no rollout, but row 2, which comes after it, does: row 0 is good all the same."""
    paths = [np.array([0, 1, 2, 3, 4, 5, 6]), np.array([0, 1, 7])]
    samples = Samples(paths, np.array([False, False]), np.array([1, 1]))
    coins = Coins([1, 0, 1, 1, 0, 0, 0, 0])
    counts = FirstError().count(8, 4, coins, samples)
    assert counts.successes[0] > 0
    assert counts.successes[3] == 4 and counts.successes[[4, 5, 6, 7]].tolist() == [0, 0, 0, 0]


def test_outcomes_of_the_samples() -> None:
    paths = [np.array([0, 1, 2]), np.array([0, 1, 3]), np.array([0, 4])]
    samples = Samples(paths, np.array([True, False, False]), np.array([3, 1, 2]))
    coins = Coins([0.5] * 5)
    counts = Outcome().count(5, 99, coins, samples)
    assert counts.successes.tolist() == [3, 3, 3, 0, 0]
    assert counts.num_rollouts.tolist() == [6, 4, 3, 1, 2]
    assert not coins.asked
    with pytest.raises(ValueError, match=r"1 of 6 rows have none"):
        Outcome().count(6, 99, coins, samples)
