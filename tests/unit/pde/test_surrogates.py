import sys

import numpy as np
import pytest
import torch

from pde_world import surrogate, training_trajectories
from stepward.core.seeding import Rng
from stepward.core.storage import Folder
from stepward.domains.pde.surrogates import (
    CorrectedSettings,
    Draws,
    FNOSettings,
    RowNoise,
    SurrogateFit,
    UNetSettings,
    ViTSettings,
    build_surrogate,
    fit_surrogate,
    load_surrogate,
    losses,
    save_surrogate,
    storage,
)

TINY = [UNetSettings(width=8, dropout=0.2), ViTSettings(width=16, depth=2, num_heads=2)]


def noise(n, seed=0):
    return RowNoise.from_rng(Rng.from_seed(seed, n, "noise"))


def awake(settings):
    """A surrogate whose last layer, which starts at 0, has weights."""
    torch.manual_seed(0)
    network = build_surrogate(settings).eval()
    torch.nn.init.normal_(network.project.weight, std=0.1)
    return network


def fields(n=3, size=16):
    return torch.from_numpy(np.random.default_rng(0).normal(size=(n, 4, size, size)).astype(np.float32))


def test_row_noise_draws_the_numbers_of_the_rng():
    rng, drawn = Rng.from_seed(3, 5, "x"), noise(5)
    drawn = RowNoise.from_rng(Rng.from_seed(3, 5, "x"))
    assert np.array_equal(drawn.uniform(7).numpy(), rng.uniform(7))
    assert np.allclose(drawn.normal(2, 3).numpy().reshape(5, 6), rng.normal(6), atol=1e-6)
    assert np.array_equal(drawn.take(slice(1, 3)).uniform(4).numpy(), rng.take(np.array([1, 2])).uniform(4))


def test_keep_keeps_its_share_independently_of_the_batch():
    kept = noise(4).keep(0.7, 50, 101)
    count = kept.numel()
    assert set(kept.unique().tolist()) == {0.0, 1.0}
    assert abs(float(kept.mean()) - 0.7) < 5 * np.sqrt(0.21 / count) + 2**-16
    assert torch.equal(noise(4).take(slice(2, 3)).keep(0.7, 50, 101)[0], kept[2])


@pytest.mark.parametrize("settings", TINY, ids=lambda s: s.kind)
def test_a_fresh_surrogate_is_persistence(settings):
    x = fields()
    assert torch.equal(build_surrogate(settings).eval()(x), x)


def test_the_unet_moves_with_the_flow():
    """Circular padding everywhere: moved input, moved output, by any multiple of the coarsest patch."""
    network, x = awake(TINY[0]), fields()
    moved = network(x.roll((4, 8), dims=(2, 3)))
    assert torch.allclose(moved, network(x).roll((4, 8), dims=(2, 3)), atol=1e-5)
    assert not torch.allclose(moved, network(x), atol=1e-3)


@pytest.mark.parametrize("settings", TINY, ids=lambda s: s.kind)
def test_dropout_is_a_matter_of_the_row_and_off_without_draws(settings):
    network, x = awake(settings), fields()
    plain = network(x)
    assert torch.equal(plain, network(x))
    first = network(x, Draws(noise(3), dropout=True))
    assert torch.equal(first, network(x, Draws(noise(3), dropout=True)))
    assert not torch.allclose(first, plain, atol=1e-4)
    alone = network(x[1:2], Draws(noise(3).take(slice(1, 2)), dropout=True))
    assert torch.allclose(alone[0], first[1], atol=1e-5)


@pytest.mark.parametrize("settings", TINY, ids=lambda s: s.kind)
def test_latent_noise_grows_with_sigma(settings):
    network, x = awake(settings), fields()
    with torch.inference_mode():
        away = [float((network(x, Draws(noise(3), latent_sigma=s)) - network(x)).norm()) for s in (1e-3, 2e-3)]
    assert away[1] == pytest.approx(2 * away[0], rel=0.1) and away[0] > 0


def test_the_papers_vit_has_about_five_million_parameters():
    assert build_surrogate(ViTSettings()).num_parameters == pytest.approx(5e6, rel=0.1)


def test_the_default_unet_has_about_a_quarter_of_a_million():
    assert build_surrogate(UNetSettings()).num_parameters == pytest.approx(2.5e5, rel=0.15)


@pytest.mark.parametrize("settings", TINY, ids=lambda s: s.kind)
@pytest.mark.parametrize(
    ("shape", "message"),
    [((1, 4, 16, 18), r"expected fields \[n, 4, H, W\]"), ((1, 3, 16, 16), "fields of 4 channels, got 3")],
)
def test_grids_that_do_not_divide_and_wrong_channels_are_named(settings, shape, message):
    with pytest.raises(ValueError, match=message):
        build_surrogate(settings)(torch.zeros(shape))


def test_scales_are_those_of_the_data_and_bad_data_are_named():
    network, data = build_surrogate(TINY[0]), training_trajectories()
    network.fit_scales(data)
    assert np.allclose(network.mean[:, 0, 0], data.mean(axis=(0, 1, 3, 4)), atol=1e-5)
    steps = np.diff(data, axis=1)
    assert np.allclose(network.step_scale[:, 0, 0], np.sqrt((steps**2).mean(axis=(0, 1, 3, 4))), rtol=1e-4)
    broken = data.copy()
    broken[5, 2, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"\[5\]"):
        network.fit_scales(broken)


def test_training_beats_persistence_on_held_out_trajectories():
    from pde_world import PROBLEMS
    from stepward.domains.pde.references import trajectories

    data = torch.from_numpy(np.stack(trajectories(PROBLEMS.references("test", 0))))
    before, after = data[:, :-1].flatten(0, 1), data[:, 1:].flatten(0, 1)
    network = surrogate()
    with torch.inference_mode():
        error = float(losses.one_step(network, before, after))
    persistence = float(((before - after) / network.step_scale).pow(2).mean())
    assert error < 0.9 * persistence


def test_pushforward_has_the_gradient_of_its_last_step_alone():
    network, window = awake(TINY[0]), torch.stack([fields(2) + i for i in range(3)], dim=1)
    gradients = []
    start = network(window[:, 0]).detach()
    for loss in (losses.pushforward(network, window), losses.one_step(network, start, window[:, 2])):
        network.zero_grad()
        loss.backward()
        gradients.append(network.lift.weight.grad.clone())
    assert torch.allclose(*gradients, rtol=1e-5) and gradients[0].abs().sum() > 0


def test_unrolled_over_two_frames_is_one_step_and_short_windows_are_errors():
    network, window = awake(TINY[0]), torch.stack([fields(2), fields(2) + 1], dim=1)
    assert float(losses.unrolled(network, window).detach()) == pytest.approx(
        float(losses.one_step(network, *window.unbind(1)).detach()), rel=1e-6
    )
    for loss in (losses.pushforward, losses.unrolled):
        with pytest.raises(ValueError, match="2 frames"):
            loss(network, window[:, :1])


def test_the_fair_crps_of_a_normal_ensemble_is_its_expectation():
    """E|X − y| − E|X − X'| / 2 = √(2/π) − 1/√π for X ~ N(0, 1) and y = 0, without bias for any number of members."""
    generator = torch.Generator().manual_seed(0)
    expected = np.sqrt(2 / np.pi) - 1 / np.sqrt(np.pi)
    for members in (2, 5):
        samples = torch.randn(members, 100, 1, 20, 20, generator=generator)
        got = float(losses.crps(samples, torch.zeros(100, 1, 20, 20), torch.ones(1)))
        assert abs(got - expected) < 5 * 0.9 / np.sqrt(100 * 400)  # the deviation of a term is below .9
    with pytest.raises(ValueError, match="2 members"):
        losses.crps(samples[:1], torch.zeros(100, 1, 20, 20), torch.ones(1))


def test_training_with_the_crps_beats_persistence_and_gives_codes_a_meaning():
    """The CRPS of a single answer is its absolute error, so persistence is one of the forecasts compared."""
    network, data = surrogate(0.0, 4), torch.from_numpy(training_trajectories())
    before, after = data[:, :-1].flatten(0, 1), data[:, 1:].flatten(0, 1)
    with torch.inference_mode():
        draws = [Draws(noise(len(before), seed), code=True) for seed in range(4)]
        members = torch.stack([network(before, d) for d in draws])
        score = float(losses.crps(members, after, network.step_scale))
        spread = (members[0] - members[1]).norm() / (after - before).norm()
    assert score < 0.95 * float(((before - after) / network.step_scale).abs().mean())
    assert network.stochastic == {"latent", "code"} and float(spread) > 1e-3


def test_training_is_a_function_of_its_seed():
    def train(seed):
        torch.manual_seed(0)
        network = build_surrogate(UNetSettings(width=4, dropout=0.1))
        return fit_surrogate(network, training_trajectories()[:2], SurrogateFit(epochs=1, batch_size=4), seed=seed)

    assert train(0) == train(0) != train(1)


def test_weights_come_back_and_those_of_another_architecture_are_refused(tmp_path):
    folder = Folder(str(tmp_path))
    save_surrogate(folder, surrogate(), surrogate().settings)
    x = fields()
    assert torch.equal(load_surrogate(str(tmp_path), "cpu")(x), surrogate()(x))
    folder.write_json("surrogate.json", {"kind": "unet", "settings": {"width": 12}})
    with pytest.raises(ValueError, match="another architecture"):
        load_surrogate(str(tmp_path))
    with pytest.raises(ValueError, match="expected a trained surrogate"):
        load_surrogate(str(tmp_path / "nowhere"))


class Doubling(UNetSettings):
    kind: str = "doubling"

    def build(self):
        class Double(torch.nn.Module):
            def forward(self, x):
                return 2 * x

        return Double()


def test_a_users_own_module_comes_by_entry_point(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "plugins", lambda group: {"doubling": Doubling} if group == "surrogates" else {})
    network = build_surrogate(Doubling())
    save_surrogate(Folder(str(tmp_path)), network, Doubling())
    assert torch.equal(load_surrogate(str(tmp_path), "cpu")(fields()), 2 * fields())


def test_a_module_that_changes_the_shape_is_named():
    network = storage.Wrapped(torch.nn.AvgPool2d(2), 4)
    with pytest.raises(ValueError, match="AvgPool2d: expected fields like its input"):
        network(fields())


def test_a_corrector_begins_as_its_base_leaves_it_alone_and_learns(tmp_path):
    settings = CorrectedSettings(base=surrogate().settings, width=8, depth=2)
    network, data = build_surrogate(settings), torch.from_numpy(training_trajectories())
    network.base.load_state_dict(surrogate().state_dict())
    before, after = data[:, :-1].flatten(0, 1), data[:, 1:].flatten(0, 1)
    assert torch.equal(network.eval()(before), surrogate()(before))
    history = fit_surrogate(network, training_trajectories(), SurrogateFit(epochs=4, batch_size=8, learning_rate=4e-3))
    base = {
        name: tensor for name, tensor in network.base.state_dict().items() if "scale" not in name and name != "mean"
    }
    assert all(torch.equal(tensor, surrogate().state_dict()[name]) for name, tensor in base.items())
    with torch.inference_mode():
        errors = [float(losses.one_step(n, before, after)) for n in (network, surrogate())]
    assert errors[0] < errors[1] and history[-1] < history[0]
    save_surrogate(Folder(str(tmp_path)), network, settings)
    assert torch.equal(load_surrogate(str(tmp_path), "cpu")(before), network(before))


def test_a_corrector_has_the_budget_of_the_reward_model():
    from stepward.domains.pde.rewards import CNNSettings

    corrector = sum(p.numel() for p in build_surrogate(CorrectedSettings()).correcting())
    assert corrector == pytest.approx(sum(p.numel() for p in CNNSettings().module().parameters()), rel=0.15)


def test_the_fno_of_its_package_trains_and_is_found_again(tmp_path):
    pytest.importorskip("neuralop", reason="the extra fno is not installed")
    torch.manual_seed(0)
    settings = FNOSettings(modes=4, width=8, depth=2)
    network = build_surrogate(settings)
    losses = fit_surrogate(network, training_trajectories(), SurrogateFit(epochs=4, batch_size=8, learning_rate=4e-3))
    assert losses[-1] < losses[0]
    save_surrogate(Folder(str(tmp_path)), network, settings)
    now = torch.from_numpy(training_trajectories()[:3, 0].copy())
    assert torch.equal(load_surrogate(str(tmp_path), "cpu")(now), network(now))
    moved = network(torch.roll(now, 5, dims=3)).roll(-5, dims=3)
    assert torch.allclose(moved, network(now), atol=1e-4)


def test_a_network_whose_package_is_missing_says_which(monkeypatch):
    monkeypatch.setitem(sys.modules, "neuralop", None)
    monkeypatch.setitem(sys.modules, "neuralop.models", None)
    with pytest.raises(ValueError, match=r"the package neuraloperator, which is not installed: pip install"):
        FNOSettings().build()
