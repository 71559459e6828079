import numpy as np
import pytest
import torch

from pde_world import training_trajectories
from stepward.core.seeding import Rng
from stepward.core.storage import Folder
from stepward.domains.pde.data import pde_states
from stepward.domains.pde.generators import TauGenerator, TauSettings
from stepward.domains.pde.surrogates import (
    LatentSettings,
    SurrogateFit,
    build_surrogate,
    fit_surrogate,
    load_surrogate,
    save_surrogate,
)
from stepward.domains.pde.surrogates.latent import losses
from stepward.domains.pde.surrogates.latent.decoder import cell_centres

SETTINGS = LatentSettings(hidden=16, depth=1, num_heads=2, decoder_hidden=32, decoder_layers=1)


@pytest.fixture(scope="module")
def stack():
    torch.manual_seed(0)
    network = build_surrogate(SETTINGS)
    fit = SurrogateFit(epochs=20, batch_size=8, learning_rate=5e-3)
    network.history = fit_surrogate(network, training_trajectories(), fit)
    return network


def test_training_measures_the_decoder_and_reconstruction_has_learned(stack):
    assert float(stack.decoder_error) < 0.9  # 1 is a decoder that gives the mean
    stack.settings = SETTINGS.model_copy(update={"max_reconstruction_error": 0.9})
    stack.ready()


def test_an_untrained_decoder_is_refused():
    network = build_surrogate(SETTINGS)
    with pytest.raises(ValueError, match="never measured"):
        TauGenerator(network, TauSettings())
    network.measure_decoder(torch.randn(4, 4, 16, 16))
    with pytest.raises(ValueError, match="untrained decoder mean"):
        TauGenerator(network, TauSettings())


def test_the_decoders_error_is_stored_with_the_weights(stack, tmp_path):
    save_surrogate(Folder(str(tmp_path)), stack, stack.settings)
    again = load_surrogate(str(tmp_path), "cpu")
    assert float(again.decoder_error) == float(stack.decoder_error)


def test_any_point_is_decoded_like_the_cells(stack):
    x = torch.from_numpy(training_trajectories()[:2, 0])
    with torch.inference_mode():
        z = stack.encode(x)
        cells = stack.decode(z, (16, 16)) * stack.scale + stack.mean
        points = stack.decode_at(z, cell_centres(16, 16)[[5, 200]], (16, 16))
    assert torch.allclose(points, cells.flatten(2)[:, :, [5, 200]].transpose(1, 2), atol=1e-5)


def test_queries_are_periodic(stack):
    points = torch.tensor([[0.1, 0.7]])
    assert torch.allclose(stack.decoder.encode(points), stack.decoder.encode(points + 1), atol=1e-5)


def test_tau_makes_candidates_that_differ_and_tau_0_is_the_deterministic_output(stack):
    from pde_world import roots

    states = roots()
    children = TauGenerator(stack, TauSettings()).propose(states, num_candidates=5, rng=Rng.from_seed(0, 4, "x"))
    sets = children.fields.reshape(4, 5, -1)
    assert (sets.std(axis=1).max(axis=1) > 0).all()
    still = TauGenerator(stack, TauSettings(low=0.0, high=0.0))
    same = still.propose(states, num_candidates=3, rng=Rng.from_seed(0, 4, "x"))
    assert np.allclose(same.fields, same.deterministic, atol=1e-6)


def test_tau_is_beta_distributed():
    """Beta(1.2, 1.2) has the mean 1/2 and the variance 1 / (4 (2 · 1.2 + 1))."""
    tau, num = losses.sample_tau(20_000, torch.Generator().manual_seed(0)), 20_000
    variance = 1 / (4 * (2 * 1.2 + 1))
    assert abs(float(tau.mean()) - 0.5) < 5 * np.sqrt(variance / num)
    assert abs(float(tau.var()) - variance) < 5 * variance * np.sqrt(2 / num)
    assert float(tau.min()) > 0 and float(tau.max()) < 1


def test_the_bridge_begins_at_the_prediction_and_ends_at_the_truth():
    p, y, noise = torch.randn(3, 2, 5, 4)
    for tau, end in ((0.0, p), (1.0, y)):
        assert torch.allclose(losses.bridge_point(p, y, torch.full((2,), tau), noise), end)


class Arrives(torch.nn.Module):
    """The corrector that knows the truth: from anywhere, all the way."""

    def __init__(self, truth):
        super().__init__()
        self.truth = truth

    def forward(self, z, tau, cond):
        return self.truth - z


class Stays(torch.nn.Module):
    def forward(self, z, tau, cond):
        return torch.zeros_like(z)


@pytest.mark.parametrize("levels", losses.LEVELS)
def test_the_right_corrector_is_consistent_and_another_is_not(levels):
    p, y, cond = torch.randn(3, 2, 5, 4)
    right = Arrives(y)
    noise, tau = torch.randn(2, 5, 4), torch.tensor([0.2, 0.6])
    assert float(losses.consistency(right, right, p, cond, levels)) < 1e-10
    assert float(losses.bridge(right, p, y, cond, tau, noise)) < 1e-10
    # the student that stays is wrong by what is left of the way: (1 − i/L) (y − p) at level i
    left = np.mean([(1 - i / levels) ** 2 for i in range(levels)]) * float((y - p).pow(2).mean())
    assert float(losses.consistency(Stays(), right, p, cond, levels)) == pytest.approx(left, rel=1e-4)
    with pytest.raises(ValueError, match="2 levels"):
        losses.consistency(right, right, p, cond, 1)


def test_the_states_of_a_mined_table_go_through_the_stack(stack):
    from pde_world import mined

    states = pde_states(mined(share=0.2))
    with torch.inference_mode():
        out = stack(torch.from_numpy(np.array(states.fields)))
    assert out.shape == states.fields.shape and torch.isfinite(out).all()
