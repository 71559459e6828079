"""Losses against closed forms and against one another."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch.nn.functional import binary_cross_entropy_with_logits

from stepward.train import losses
from stepward.train.objectives import Binomial, Focal, HardBCE, Pairwise, SoftBCE

logit_arrays = arrays(np.float64, 12, elements=st.floats(-20, 20))
target_arrays = arrays(np.float64, 12, elements=st.floats(0, 1))


def tensors(*arrays_):
    return [torch.from_numpy(np.asarray(a, np.float64)) for a in arrays_]


@given(logit_arrays, target_arrays)
def test_bce_closed_form(z, y):
    p = 1 / (1 + np.exp(-z))
    expected = -y * np.log(p) - (1 - y) * np.log1p(-p)
    np.testing.assert_allclose(losses.bce(*tensors(z, y)).numpy(), expected, rtol=1e-6, atol=1e-8)


@given(
    logit_arrays, arrays(np.int64, 12, elements=st.integers(0, 8)), arrays(np.int64, 12, elements=st.integers(8, 64))
)
def test_binomial_is_m_times_bce(z, successes, m):
    """The likelihood of the counts and the soft loss differ by the weight M alone."""
    found = losses.binomial(*tensors(z, successes, m)).numpy()
    np.testing.assert_allclose(found, m * losses.bce(*tensors(z, successes / m)).numpy(), rtol=1e-9, atol=1e-9)


def test_binomial_gradient_is_m_p_minus_s():
    z, s, m = tensors([-1.0, 0.5, 2.0], [1, 4, 0], [2, 8, 3])
    z.requires_grad_()
    losses.binomial(z, s, m).sum().backward()
    np.testing.assert_allclose(z.grad.numpy(), (m * z.sigmoid() - s).detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize("objective", [SoftBCE(), Binomial()])
def test_proper_objectives_are_least_at_the_success_share(objective):
    """Three rows of one state with different M: the optimum is Σ w y / Σ w, for each objective's own weights."""
    s, m = np.array([1.0, 8.0, 20.0]), np.array([4.0, 16.0, 64.0])
    y, w = objective.targets(s, m)
    z = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    (objective.row_losses(z, torch.from_numpy(y), None) * torch.from_numpy(w)).sum().backward()
    best = (s.sum() / m.sum()) if isinstance(objective, Binomial) else (s / m).mean()
    z = torch.full((3,), float(np.log(best / (1 - best))), dtype=torch.float64, requires_grad=True)
    (objective.row_losses(z, torch.from_numpy(y), None) * torch.from_numpy(w)).sum().backward()
    assert abs(float(z.grad.sum())) < 1e-12
    np.testing.assert_allclose(w.mean(), 1.0)


def test_hard_targets_are_any_success_or_above_a_threshold():
    s, m = np.array([0, 1, 5, 8]), np.full(4, 8)
    np.testing.assert_array_equal(HardBCE().targets(s, m)[0], [0, 1, 1, 1])
    np.testing.assert_array_equal(HardBCE(threshold=0.5).targets(s, m)[0], [0, 0, 1, 1])


def test_label_smoothing():
    y = torch.tensor([0.0, 0.5, 1.0])
    np.testing.assert_allclose(losses.smooth(y, 0.1).numpy(), [0.05, 0.5, 0.95], rtol=1e-6)
    z = torch.tensor([2.0, -1.0, 0.3])
    found = SoftBCE(label_smoothing=0.1).row_losses(z, y, None)
    torch.testing.assert_close(found, binary_cross_entropy_with_logits(z, losses.smooth(y, 0.1), reduction="none"))


@given(logit_arrays, target_arrays)
def test_focal_of_gamma_zero_is_bce(z, y):
    torch.testing.assert_close(losses.focal(*tensors(z, y), 0.0), losses.bce(*tensors(z, y)))


def test_focal_of_hard_targets_is_the_published_form():
    """(1 − p_t)^γ (−log p_t), Lin et al. 2017."""
    z, y = tensors([-2.0, -0.1, 0.7, 3.0], [0, 1, 0, 1])
    p = z.sigmoid()
    right = torch.where(y == 1, p, 1 - p)
    torch.testing.assert_close(losses.focal(z, y, 2.0), -((1 - right) ** 2) * right.log())
    torch.testing.assert_close(Focal(gamma=2.0).row_losses(z, y, None), losses.focal(z, y, 2.0))


def test_pairwise_against_a_loop():
    generator = np.random.default_rng(0)
    groups = np.repeat([7, 3, 9, 4], [5, 1, 3, 4])
    z, y = generator.normal(size=13), generator.uniform(size=13)
    expected = np.zeros(13)
    for i in range(13):
        beaten = [j for j in range(13) if groups[i] == groups[j] and y[i] - y[j] > 0.2]
        if beaten:
            expected[i] = np.mean([np.log1p(np.exp(-(z[i] - z[j]))) for j in beaten])
    found = losses.pairwise(*tensors(z, y), torch.from_numpy(groups), 0.2)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-12)


def test_pairwise_objective_adds_alpha_times_the_pairs():
    z, y = tensors([0.0, 1.0, -1.0], [0.9, 0.1, 0.5])
    groups = torch.tensor([1, 1, 1])
    found = Pairwise(alpha=2.0, min_gap=0.3).row_losses(z, y, groups)
    torch.testing.assert_close(found, losses.bce(z, y) + 2 * losses.pairwise(z, y, groups, 0.3))


def test_no_pairs_no_loss():
    z, y = tensors([0.0, 1.0], [0.9, 0.1])
    assert losses.pairwise(z, y, torch.tensor([1, 2]), 0.0).sum() == 0
    assert losses.pairwise(z[:0], y[:0], torch.tensor([], dtype=torch.int64), 0.0).shape == (0,)
