import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from stepward.evaluate import sibling_accuracy, sibling_spearman, spearman, top1_regret


def rng():
    return np.random.default_rng(0)


families = st.lists(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=6), min_size=1, max_size=8
)


def flatten(family_list, shuffle_seed=0):
    """Ragged families -> arrays in shuffled order, with gaps between the group ids."""
    rows = np.array([(p, t, 7 * g - 3) for g, members in enumerate(family_list) for p, t in members])
    p, t, g = np.random.default_rng(shuffle_seed).permutation(rows).T
    return p.astype(float), t.astype(float), g


@given(families)
def test_sibling_metrics_agree_with_a_loop_over_groups(family_list):
    rhos, accuracies, regrets = [], [], []
    for members in family_list:
        p, t = np.array(members, float).T
        if t.max() - t.min() <= 1:
            continue
        rhos.append(0.0 if p.min() == p.max() else stats.spearmanr(p, t).statistic)
        scores = [
            0.5 if p[i] == p[j] else float((p[i] > p[j]) == (t[i] > t[j]))
            for i in range(len(p))
            for j in range(i)
            if abs(t[i] - t[j]) > 1
        ]
        accuracies.append(np.mean(scores))
        regrets.append(t.max() - t[p == p.max()].mean())
    arrays = flatten(family_list)
    for metric, expected in (
        (sibling_spearman, rhos),
        (sibling_accuracy, accuracies),
        (top1_regret, regrets),
    ):
        found = metric(*arrays, rng=rng(), min_spread=1.0)
        assert found.num_units == len(expected)
        if expected:
            assert found.value == pytest.approx(np.mean(expected), abs=1e-12)
        else:
            assert np.isnan(found.value)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=30))
def test_spearman_agrees_with_scipy(rows):
    p, t = np.array(rows, float).T
    found = spearman(p, t)
    if t.min() == t.max():
        assert np.isnan(found)
    elif p.min() == p.max():
        assert found == 0.0
    else:
        assert found == pytest.approx(stats.spearmanr(p, t).statistic, abs=1e-12)


def test_order_within_a_family_is_told_from_order_between_families():
    truths = np.array([0.1, 0.2, 0.3, 0.7, 0.8, 0.9])
    backwards_inside = np.array([0.3, 0.2, 0.1, 0.9, 0.8, 0.7])
    groups = np.array([0, 0, 0, 1, 1, 1])
    assert spearman(backwards_inside, truths) > 0.5
    assert sibling_spearman(backwards_inside, truths, groups, rng=rng()).value == -1.0
    assert sibling_accuracy(backwards_inside, truths, groups, rng=rng()).value == 0.0
    assert top1_regret(backwards_inside, truths, groups, rng=rng()).value == pytest.approx(0.2)


def test_monotone_maps_and_infinite_scores_change_nothing():
    generator = np.random.default_rng(1)
    truths, groups = generator.random(60), np.repeat(np.arange(10), 6)
    scores = generator.random(60)
    scores[groups == 3] = 0.0
    unsolvable = np.where(scores < 0.3, -np.inf, scores)
    floored = np.where(scores < 0.3, 0.0, scores)
    for metric in (sibling_spearman, sibling_accuracy, top1_regret):
        assert metric(unsolvable, truths, groups, rng=rng()) == metric(floored, truths, groups, rng=rng())
        assert metric(np.exp(5 * scores), truths, groups, rng=rng()) == metric(scores, truths, groups, rng=rng())


def test_interval_over_groups_covers():
    """Pairs of siblings put right with probability .8: the accuracy of a group is a coin."""
    generator, trials, covered = np.random.default_rng(2), 200, 0
    groups = np.repeat(np.arange(150), 2)
    truths = np.tile([0.0, 1.0], 150)
    for _ in range(trials):
        right = np.repeat(generator.random(150) < 0.8, 2)
        found = sibling_accuracy(np.where(right, truths, 1 - truths), truths, groups, rng=generator)
        covered += found.low <= 0.8 <= found.high
    # Shares of 150 move in steps worth 1.2 % of coverage.
    assert abs(covered / trials - 0.95) < 3 * np.sqrt(0.95 * 0.05 / trials) + 0.012


def test_nan_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        spearman(np.array([np.nan, 1.0]), np.array([0.0, 1.0]))
