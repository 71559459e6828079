"""The contracts, held against the domain pde: every proposer, every reward model, every search.

Networks round differently in batches of different size, so rewards are compared with a tolerance; keys are exact.
"""

import numpy as np
import pytest
import torch

from pde_world import mined, roots, surrogate
from stepward.core.config import validate
from stepward.core.interfaces import Status
from stepward.core.storage import Folder
from stepward.core.wing import Mining, ProblemSource, find_wing, wing_names
from stepward.domains.pde.data import pde_states
from stepward.domains.pde.rewards import CNNSettings, save_reward
from stepward.domains.pde.surrogates import (
    LatentSettings,
    SurrogateFit,
    UNetSettings,
    build_surrogate,
    fit_surrogate,
    save_surrogate,
)
from stepward.search import SEARCHES
from stepward.testing import check_domain, check_proposer, check_reward, check_search
from stepward.testing.contracts import children_of

SEARCH_SETTINGS = {
    "best_first": {"num_candidates": 3},
    "beam": {"width": 3, "num_candidates": 3},
    "best_of_n": {"num_samples": 3},
    "dvts": {"num_trees": 2, "num_candidates": 3},
    "particles": {"num_particles": 4, "potential": "exponential"},
    "mean_of_k": {"num_candidates": 3},
    "weighted_mean": {"num_candidates": 3},
    "patchwork": {"num_candidates": 3},
}
WING = find_wing("pde")
TOLERANCE = 1e-5  # float32 networks


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Folders of a U-Net, one with a random code, a latent stack, and a reward model."""
    folder = tmp_path_factory.mktemp("pde")
    save_surrogate(Folder(str(folder / "unet")), surrogate(), surrogate().settings)
    save_surrogate(Folder(str(folder / "code")), surrogate(0.0, 4), surrogate(0.0, 4).settings)
    settings = LatentSettings(
        hidden=8, depth=1, num_heads=2, decoder_hidden=8, decoder_layers=1, max_reconstruction_error=2.0
    )
    torch.manual_seed(0)
    stack = build_surrogate(settings)
    fit_surrogate(stack, mined_trajectories(), SurrogateFit(epochs=3, batch_size=8))
    save_surrogate(Folder(str(folder / "latent")), stack, settings)
    torch.manual_seed(1)
    told = UNetSettings(width=8, constants=(0.01, 0.1))
    save_surrogate(Folder(str(folder / "told")), build_surrogate(told), told)
    learner = CNNSettings(width=4, depth=1)
    save_reward(Folder(str(folder / "reward")), learner, learner.module())
    return folder


def mined_trajectories():
    from pde_world import training_trajectories

    return training_trajectories()[:2]


def proposer(kind, store):
    network = {"code": "code", "tau": "latent", "guess": "told"}.get(kind, "unet")
    settings: dict = {"kind": kind}
    if "surrogates" in WING.proposers[kind].model_fields:
        settings["surrogates"] = [str(store / name) for name in ("unet", "unet", "unet")]
    if "surrogate" in WING.proposers[kind].model_fields:
        settings["surrogate"] = str(store / network)
    if "generator" in WING.proposers[kind].model_fields:
        settings |= {"num_candidates": 3, "generator": {"kind": "structured", "surrogate": str(store / network)}}
    return validate(WING.proposers[kind], settings).build()


@pytest.fixture(scope="module")
def states():
    found = pde_states(mined(share=1.0))
    return found.take(np.flatnonzero(WING.domain.status(found) == Status.OPEN)).take(np.arange(10))


def test_pde_is_an_installed_wing_with_its_own_pieces():
    assert "pde" in wing_names() and find_wing("pde").name == "pde"
    assert isinstance(WING.problems(), ProblemSource) and isinstance(WING.mining(), Mining)


def test_domain(states):
    check_domain(WING.domain, states)


@pytest.mark.parametrize("kind", sorted(WING.proposers))
def test_proposers(states, store, kind):
    check_proposer(proposer(kind, store), WING.domain, states, num_candidates=3)


@pytest.mark.parametrize("kind", sorted(WING.rewards))
def test_untrained_rewards(states, store, kind):
    if kind == "look_back":
        pytest.skip("reads frames and a guess, which these states have not: see test_hidden")
    settings = {"folder": str(store / "reward")} if kind == "saved" else {}
    reward = WING.rewards[kind](**settings).build(WING.domain)
    parents, children = children_of(states, proposer("structured", store), 3)
    if getattr(reward, "of_siblings", False):
        pytest.skip("a score depends on the siblings: see test_rewards_pde")
    check_reward(reward, WING.domain, parents, children, tolerance=TOLERANCE)


@pytest.mark.parametrize("kind", sorted(WING.learners))
def test_learned_rewards(states, store, kind):
    learner = WING.learners[kind]()
    reward = learner.reward({name: tensor.numpy() for name, tensor in learner.module().state_dict().items()})
    parents, children = children_of(states, proposer("structured", store), 3)
    check_reward(reward, WING.domain, parents, children, tolerance=TOLERANCE)


class Flat:
    """A reward whose map is its score everywhere: the same to the last bit in every batch, which a network's is not."""

    num_parameters = 0

    def __init__(self, inner):
        self.inner = inner

    def score(self, parents, children):
        return self.inner.score(parents, children)

    def score_map(self, parents, children):
        return np.broadcast_to(self.inner.score(parents, children)[:, None, None], (len(children), 8, 8))


@pytest.mark.parametrize("kind", sorted(SEARCHES))
def test_searches(store, kind):
    reward = WING.rewards["random"]().build(WING.domain)
    if kind == "patchwork":
        reward = Flat(reward)
    search = validate(SEARCHES[kind], SEARCH_SETTINGS[kind])
    check_search(search, WING.domain, proposer("structured", store), reward, roots())


def test_a_surrogate_that_is_not_there_says_how_to_get_one(tmp_path):
    settings = WING.proposers["structured"](surrogate=str(tmp_path / "none"))
    with pytest.raises(ValueError, match=r"expected a trained surrogate.*Train one"):
        settings.build()
