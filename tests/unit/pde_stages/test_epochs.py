"""The epoch loops of surrogates and of ranking reward models: stopped anywhere and taken up, they end the same."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pde_world import training_trajectories
from stepward.core.storage import Folder
from stepward.domains.pde.ranked_labels import Rankings, read_rankings, subset_of
from stepward.domains.pde.rewards import CNNSettings, FeatureCriticSettings
from stepward.domains.pde.rewards.fitting import RewardFit, ranking_epochs
from stepward.domains.pde.rewards.ranking_objectives import TwoHinge
from stepward.domains.pde.surrogates import LatentSettings, SurrogateFit, UNetSettings, build_surrogate
from stepward.domains.pde.surrogates.fitting import surrogate_epochs
from stepward.train import Checkpoint, seeded_module

SURROGATES = {
    "unet": UNetSettings(width=4, dropout=0.1),
    "latent": LatentSettings(hidden=8, latent_dim=4, decoder_hidden=8, decoder_layers=1, depth=1, num_heads=2),
}


def surrogate_run(kind: str, start: Checkpoint | None = None) -> list[Checkpoint]:
    network = seeded_module(lambda: build_surrogate(SURROGATES[kind]), 0)
    fit = SurrogateFit(epochs=3 if kind == "unet" else 5, batch_size=8, learning_rate=3e-3)
    steps = surrogate_epochs(network, training_trajectories()[:2], fit, seed=0, judge=lambda _: 1.0, start=start)
    return list(steps)


@pytest.mark.parametrize("kind", list(SURROGATES))
def test_a_surrogate_that_goes_on_ends_with_the_same_weights(kind: str, tmp_path: Path) -> None:
    whole = []
    network = seeded_module(lambda: build_surrogate(SURROGATES[kind]), 0)
    fit = SurrogateFit(epochs=3 if kind == "unet" else 5, batch_size=8, learning_rate=3e-3)
    loop = surrogate_epochs(network, training_trajectories()[:2], fit, seed=0, judge=lambda _: 1.0)
    for number, checkpoint in enumerate(loop):
        (tmp_path / str(number)).mkdir()
        checkpoint.save(tmp_path / str(number))
        whole.append(checkpoint.progress.history[-1])
    last = Checkpoint.load(tmp_path / str(number)).weights
    for stopped in range(number):
        again = surrogate_run(kind, Checkpoint.load(tmp_path / str(stopped)))
        assert len(again) == number - stopped
        assert all(torch.equal(again[-1].weights[name], last[name]) for name in last), f"stopped after {stopped}"
    assert len({row["stage"] for row in whole}) == (1 if kind == "unet" else 6)


FIT = RewardFit(objective=TwoHinge(margin=0.2), num_epochs=4, batch_size=4, learning_rate=3e-3)


@pytest.fixture(scope="module")
def rankings(store: Path) -> Rankings:
    return read_rankings(Folder(str(store / "pde/label/default")), "train", horizons=(1, 2))


@pytest.mark.parametrize("learner", [CNNSettings(width=4, depth=1), FeatureCriticSettings(hidden=4)])
def test_a_reward_model_that_goes_on_ends_with_the_same_weights(
    learner: CNNSettings | FeatureCriticSettings, rankings: Rankings, tmp_path: Path
) -> None:
    def run(start: Checkpoint | None) -> list[Checkpoint]:
        module = seeded_module(learner.module, 0)
        return list(ranking_epochs(module, rankings.data, rankings.data, FIT, seed=0, start=start))

    whole = run(None)
    module = seeded_module(learner.module, 0)
    next(iter(ranking_epochs(module, rankings.data, rankings.data, FIT, seed=0))).save(tmp_path)
    again = run(Checkpoint.load(tmp_path))
    assert len(again) == 3
    assert all(torch.equal(again[-1].weights[n], whole[-1].weights[n]) for n in whole[-1].weights)
    assert again[-1].progress.history == whole[-1].progress.history


def test_the_kept_epoch_orders_most_validation_pairs(rankings: Rankings) -> None:
    plan = FIT.model_copy(update={"num_epochs": 12, "learning_rate": 1e-2})
    module = seeded_module(CNNSettings(width=8, depth=2).module, 0)
    *_, last = ranking_epochs(module, rankings.data, rankings.data, plan, seed=0)
    pairs = [row["pairs"] for row in last.progress.history]
    assert last.progress.best_epoch == 1 + int(np.argmax(pairs)) and max(pairs) > 0.6, "learns what it was shown"
    assert np.allclose([row["validation_loss"] for row in last.progress.history], 1 - np.array(pairs))


def test_rankings_leave_out_states_without_an_error_that_late(store: Path, rankings: Rankings) -> None:
    folder = Folder(str(store / "pde/label/default"))
    late = read_rankings(folder, "train", horizons=(1, 2), horizon=2)
    assert 0 < len(late) < len(rankings), "the last step of a trajectory has no error two steps on"
    assert not any(name.endswith("@3") for name in late.ids) and any(name.endswith("@3") for name in rankings.ids)
    assert np.isfinite(late.data.errors).all()
    with pytest.raises(ValueError, match=r"expected one of the labelled \[1, 2\], got 4"):
        read_rankings(folder, "train", horizons=(1, 2), horizon=4)
    with pytest.raises(ValueError, match="rankings of split 'holdout', got none"):
        read_rankings(folder, "holdout", horizons=(1, 2))


def test_a_smaller_subset_is_part_of_a_larger_one(rankings: Rankings) -> None:
    small, large = (subset_of(rankings, num, 0) for num in (2, 4))
    assert len(small) == 2 and set(small.ids) < set(large.ids)
    row = rankings.ids.index(small.ids[0])
    assert np.array_equal(small.data.candidates[0], rankings.data.candidates[row])
