import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from stepward.core.seeding import GOLDEN, Rng, stable_hash

ids = st.lists(st.text(max_size=8), min_size=1, max_size=20, unique=True)


@given(ids, st.integers(0, 2**31), st.randoms())
def test_a_row_does_not_depend_on_its_neighbours(row_ids, seed, random):
    together = dict(zip(row_ids, Rng.from_ids(seed, row_ids, "p").uniform(3).tolist(), strict=True))
    shuffled = random.sample(row_ids, len(row_ids))
    for row_id in shuffled:
        assert Rng.from_ids(seed, [row_id], "p").uniform(3)[0].tolist() == together[row_id]


@given(ids)
def test_drawing_in_pieces_is_drawing_at_once(row_ids):
    pieces = Rng.from_ids(0, row_ids, "p")
    first, second = pieces.uniform(2), pieces.uniform(3)
    assert np.array_equal(np.hstack([first, second]), Rng.from_ids(0, row_ids, "p").uniform(5))


def test_splitmix64_reference_outputs():
    """The first three outputs of SplitMix64 seeded with 1234567, as published with Vigna's splitmix64.c."""
    expected = np.array([6457827717110365317, 3203168211198807973, 9817491932198370423], np.uint64)
    uniform = Rng(np.array([1234567], np.uint64)).uniform(3)[0]
    assert np.array_equal(uniform, ((expected >> np.uint64(11)).astype(float) + 0.5) * 2.0**-53)
    assert int(GOLDEN) == 0x9E3779B97F4A7C15


def test_streams_of_different_purpose_seed_and_fork_differ():
    base = Rng.from_ids(0, ["a", "b"], "label")
    others = [
        Rng.from_ids(1, ["a", "b"], "label"),
        Rng.from_ids(0, ["a", "b"], "mine"),
        base.fork(0),
        base.fork(1),
        base.fork(-1),
    ]
    drawn = [tuple(rng.uniform(1)[:, 0]) for rng in [Rng.from_ids(0, ["a", "b"], "label"), *others]]
    assert len({value for pair in drawn for value in pair}) == 2 * len(drawn)


def test_repeat_is_row_major_and_its_rows_are_independent():
    rng = Rng.from_ids(3, range(50), "p")
    draws = rng.repeat(40).uniform(1).reshape(50, 40)
    assert np.array_equal(rng.take([7]).repeat(40).uniform(1)[:, 0], draws[7])
    assert len(np.unique(draws)) == draws.size


@pytest.mark.parametrize("across", ["rows", "draws"])
def test_uniform_is_uniform_along_streams_and_across_them(across):
    num = 20_000
    rng = Rng.from_seed(5, num, "p") if across == "rows" else Rng.from_seed(5, 1, "p")
    sample = rng.uniform(1 if across == "rows" else num).ravel()
    assert stats.kstest(sample, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(sample[:-1], sample[1:])[0, 1]) < 4 / np.sqrt(num)


def test_normal_integers_and_choice_have_their_distributions():
    rng = Rng.from_seed(6, 4000, "p")
    assert stats.kstest(rng.normal(2).ravel(), "norm").pvalue > 1e-3
    whole = rng.integers(-2, 3, 2).ravel()
    assert stats.chisquare(np.bincount(whole + 2, minlength=5)).pvalue > 1e-3
    probabilities = np.array([0.1, 0.0, 0.6, 0.3])
    picks = rng.choice(np.tile(probabilities, (4000, 1)), 3).ravel()
    counts = np.bincount(picks, minlength=4)
    assert counts[1] == 0
    assert stats.chisquare(counts[[0, 2, 3]], probabilities[[0, 2, 3]] * picks.size).pvalue > 1e-3


def test_stable_hash_is_a_constant_of_nature():
    assert stable_hash("walk split", 3, -7) == stable_hash("walk split", 3, -7)
    assert stable_hash("a", "b") != stable_hash("ab")
