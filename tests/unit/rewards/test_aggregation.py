import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stepward.rewards.aggregation import (
    AGGREGATIONS,
    aggregate,
    aggregation_named,
    gate_decrease,
    gate_threshold,
    sibling_z_score,
)

PLAIN = {
    "product": np.prod,
    "log_product": lambda path: float(np.sum(np.log(path))) if 0 not in path else -np.inf,
    "min": np.min,
    "mean": np.mean,
    "last": lambda path: path[-1],
    "sum": np.sum,
}
EMPTY = {"product": 1.0, "log_product": 0.0, "min": np.inf, "mean": 0.0, "last": 0.0, "sum": 0.0}

padded = arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 9)), elements=st.floats(0, 1, width=16))


@pytest.mark.parametrize("name", AGGREGATIONS)
@given(scores=padded, data=st.data())
def test_whole_paths_are_the_textbook_formula(name, scores, data):
    n, steps = scores.shape
    lengths = np.array(data.draw(st.lists(st.integers(0, steps), min_size=n, max_size=n)))
    scores[np.arange(steps) >= lengths[:, None]] = np.nan  # the padding is never read
    expected = [PLAIN[name](s[:k]) if k else EMPTY[name] for s, k in zip(scores, lengths, strict=True)]
    np.testing.assert_allclose(aggregate(name, scores, lengths), expected, rtol=1e-9, atol=1e-300)


@pytest.mark.parametrize("name", AGGREGATIONS)
@given(seed=st.integers(0, 2**16), depth=st.integers(1, 6))
def test_a_tree_search_gets_the_value_of_every_path(name, seed, depth):
    """Frontiers that fan out, die and merge order at random, as a beam's do: only parent indices link the levels."""
    generator = np.random.default_rng(seed)
    aggregation = AGGREGATIONS[name]
    state, paths = aggregation.start(3), [[] for _ in range(3)]
    for _ in range(depth):
        parents = generator.integers(0, len(paths), generator.integers(1, 8))
        scores = generator.random(len(parents)).astype(np.float32)
        before = state.copy()
        new_state = aggregation.extend(state[parents], scores)
        np.testing.assert_array_equal(state, before)
        state, paths = new_state, [[*paths[i], float(s)] for i, s in zip(parents, scores, strict=True)]
    assert state.shape == (len(paths), len(aggregation.empty))
    np.testing.assert_array_equal(
        aggregation.value(state), aggregate(name, np.array(paths), np.full(len(paths), depth))
    )


def test_values_do_not_share_memory_with_the_state():
    for aggregation in AGGREGATIONS.values():
        state = aggregation.extend(aggregation.start(2), np.array([0.5, 0.25]))
        aggregation.value(state)[:] = 7.0
        assert 7.0 not in state


def test_long_paths_are_still_told_apart_by_log_product():
    scores = np.stack([np.full(2_000, 0.5), np.full(2_000, 0.4)])
    lengths = np.array([2_000, 2_000])
    np.testing.assert_array_equal(aggregate("product", scores, lengths), [0.0, 0.0])
    better, worse = aggregate("log_product", scores, lengths)
    assert better > worse


def test_negative_rewards_add_up_but_have_no_product():
    rewards = np.array([[-3.0, 1.0]])
    assert aggregate("sum", rewards, np.array([2]))[0] == -2.0
    assert aggregate("mean", rewards, np.array([2]))[0] == -1.0
    with pytest.raises(ValueError, match=r"probabilities.*-3"):
        aggregate("product", rewards, np.array([2]))


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match=r"Unknown aggregation 'produkt'.*'mean'.*Did you mean 'product'"):
        aggregation_named("produkt")
    with pytest.raises(ValueError, match="NaN"):
        AGGREGATIONS["mean"].extend(AGGREGATIONS["mean"].start(1), np.array([np.nan]))
    with pytest.raises(ValueError, match=r"0 \.\. 2"):
        aggregate("mean", np.zeros((1, 2)), np.array([3]))


def test_z_score_by_hand():
    scores, groups = np.array([1.0, 10.0, 3.0, 10.0, 7.0]), np.array([5, 2, 5, 2, 8])
    np.testing.assert_array_equal(sibling_z_score(scores, groups), [-1.0, 0.0, 1.0, 0.0, 0.0])


@given(
    arrays(np.float64, 12, elements=st.floats(-100, 100, width=16)),
    st.lists(st.integers(-2, 3), min_size=12, max_size=12),
)
def test_z_scores_have_mean_0_and_deviation_1_in_every_set(scores, ids):
    groups = np.array(ids)
    z = sibling_z_score(scores, groups)
    for group in np.unique(groups):
        inside, raw = z[groups == group], scores[groups == group]
        if raw.min() == raw.max():
            np.testing.assert_array_equal(inside, 0.0)
        else:
            assert inside.mean() == pytest.approx(0, abs=1e-6)
            assert inside.std() == pytest.approx(1, abs=1e-6)
            assert (np.diff(inside[np.argsort(raw, kind="stable")]) >= 0).all()


def test_equal_scores_that_round_badly_are_0():
    np.testing.assert_array_equal(sibling_z_score(np.full(7, 0.1), np.zeros(7, int)), np.zeros(7))


def test_z_score_wants_gated_scores():
    with pytest.raises(ValueError, match="gates first"):
        sibling_z_score(np.array([-np.inf, 1.0]), np.array([0, 0]))


def test_gates():
    scores, parents = np.array([0.05, 0.10, 0.60, np.nan]), np.array([0.02, 0.30, -np.inf, 0.1])
    np.testing.assert_array_equal(gate_threshold(scores, 0.1), [False, True, True, False])
    np.testing.assert_array_equal(gate_decrease(scores, parents), [True, False, True, False])
    np.testing.assert_array_equal(gate_decrease(scores, parents, tolerance=0.2), [True, True, True, False])
    with pytest.raises(ValueError, match="tolerance >= 0"):
        gate_decrease(scores, parents, tolerance=-0.1)
