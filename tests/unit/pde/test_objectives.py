import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr

from stepward.domains.pde.rewards.objectives import (
    OBJECTIVES,
    bradley_terry,
    listwise,
    regression,
    two_hinge,
)
from stepward.statistics.candidates import ranking_metrics

ERRORS = torch.tensor([[0.1, 0.4, 0.2, 0.8, 0.3]], dtype=torch.float64)  # best 0, median 4, worst 3


def scores(*values):
    return torch.tensor([values], dtype=torch.float64)


@pytest.mark.parametrize(
    ("best", "median", "worst", "loss"),
    [
        (1.0, 0.5, 0.0, 0.0),
        (0.0, 0.0, 0.0, 0.4),
        (0.3, 0.2, 0.1, 0.2),
        (0.0, 0.5, 1.0, 0.7 + 0.7),
        (1.0, 0.0, 0.0, 0.2),
    ],
)
def test_two_hinge_looks_at_best_median_and_worst(best, median, worst, loss):
    assert float(two_hinge(scores(best, 99, -99, worst, median), ERRORS, 0.2)) == pytest.approx(loss)


def test_bradley_terry_of_two_is_the_logistic_loss_of_their_difference():
    errors = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    assert float(bradley_terry(scores(0.7, 0.2), errors)) == pytest.approx(np.log1p(np.exp(-0.5)))
    assert float(bradley_terry(scores(3, 3, 3, 3, 3), ERRORS)) == pytest.approx(np.log(2))


def test_bradley_terry_leaves_out_near_ties_and_states_of_nothing_else():
    errors = torch.tensor([[1.0, 1.01, 2.0]], dtype=torch.float64)
    got = float(bradley_terry(scores(0, 5, 1), errors, min_gap=0.02))
    assert got == pytest.approx((np.log1p(np.exp(1)) + np.log1p(np.exp(-4))) / 2)
    assert float(bradley_terry(scores(0, 5, 1), torch.ones(1, 3, dtype=torch.float64))) == 0


def test_listwise_is_least_at_its_target():
    logs = -ERRORS.log()
    target = (logs - logs.mean()) / logs.std(correction=0)
    least = float(listwise(target, ERRORS))
    entropy = -float((target.softmax(1) * target.log_softmax(1)).sum())
    assert least == pytest.approx(entropy)
    for step in (0.1, -0.1):
        assert float(listwise(target + step * torch.arange(5), ERRORS)) > least


def test_regression_is_zero_at_the_logarithm_of_the_error():
    assert float(regression(-ERRORS.log10(), ERRORS)) == pytest.approx(0, abs=1e-15)
    assert float(regression(-ERRORS.log10() + 2, ERRORS)) == pytest.approx(4)


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
@given(
    arrays(np.int64, (2, 6), elements=st.integers(-20, 20)),
    st.permutations(range(6)),
    st.permutations(range(1, 7)),
)
def test_objectives_do_not_care_in_which_order_siblings_come(name, values, order, errors):
    s, e = torch.from_numpy(values / 8), torch.tensor([errors, errors[::-1]], dtype=torch.float64)
    assert torch.allclose(OBJECTIVES[name](s, e), OBJECTIVES[name](s[:, order], e[:, order]), atol=1e-9)


@pytest.mark.parametrize("name", ["two_hinge", "bradley_terry", "listwise"])
def test_ranking_objectives_are_blind_to_a_constant_and_regression_is_not(name):
    s = scores(0.3, -1, 2, 0.5, 0.1)
    assert torch.allclose(OBJECTIVES[name](s, ERRORS), OBJECTIVES[name](s + 7, ERRORS))
    assert not torch.allclose(regression(s, ERRORS), regression(s + 7, ERRORS))


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_every_objective_pulls_the_better_candidate_up(name):
    """Descent from equal scores orders all candidates rightly; two_hinge orders the three it sees."""
    s = torch.zeros(1, 5, dtype=torch.float64, requires_grad=True)
    for _ in range(300):
        (gradient,) = torch.autograd.grad(OBJECTIVES[name](s, ERRORS).sum(), s)
        s = (s - 0.05 * gradient).detach().requires_grad_(True)
    found = ranking_metrics(s.detach().numpy(), ERRORS.numpy())
    assert float(found["triplet"][0]) == 1
    assert name == "two_hinge" or float(found["pairs"][0]) == 1


def test_metrics_of_perfect_reversed_and_constant_scores():
    """A constant score orders nothing, also where candidates are stored best first."""
    at_random = float((ERRORS / ERRORS.min()).log10().mean())
    cases = [(-ERRORS, ERRORS, (1, 1, 1, 0)), (ERRORS, ERRORS, (0, 0, -1, np.log10(8)))]
    cases += [(0 * ERRORS, errors, (0, 0.5, 0, at_random)) for errors in (ERRORS, ERRORS.sort().values)]
    for scores, errors, expected in cases:
        found = ranking_metrics(scores.numpy(), errors.numpy())
        for name, value in zip(("triplet", "pairs", "spearman", "regret"), expected, strict=True):
            assert float(found[name][0]) == pytest.approx(value), name


def test_tied_scores_share_their_ranks_and_the_choice():
    errors = np.array([[1.0, 10.0, 100.0, 1000.0]])
    found = ranking_metrics(np.array([[2.0, 2.0, 1.0, 1.0]]), errors)
    assert float(found["spearman"][0]) == pytest.approx(spearmanr([2, 2, 1, 1], [-1, -10, -100, -1000]).statistic)
    assert float(found["regret"][0]) == pytest.approx(0.5), "one or ten times the least error, each as likely"


def test_random_scores_have_the_metrics_of_chance():
    s, e = np.random.default_rng(0).random((2, 4000, 9))
    found = ranking_metrics(s, e)
    for name, chance in (("triplet", 1 / 6), ("pairs", 0.5), ("spearman", 0.0)):
        error = float(found[name].std()) / np.sqrt(4000)
        assert abs(float(found[name].mean()) - chance) < 5 * error, name
