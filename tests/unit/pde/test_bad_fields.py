"""What a user may hand over by mistake is a sentence, and nothing of it reaches a matrix product."""

import re

import numpy as np
import pytest
import torch

from pde_world import roots, surrogate, training_trajectories
from stepward.core.config import override
from stepward.core.seeding import Rng
from stepward.core.wing import find_wing
from stepward.domains.pde.generators import (
    DeterministicGenerator,
    NoiseGenerator,
    NoiseSettings,
    StructuredGenerator,
    StructuredSettings,
    measure_headroom,
)
from stepward.domains.pde.rewards import CNNSettings, FeatureCriticSettings
from stepward.domains.pde.states import advance
from stepward.domains.pde.states import roots as begin
from stepward.domains.pde.surrogates import SurrogateFit, UNetSettings, ViTSettings, build_surrogate, fit_surrogate
from stepward.domains.pde.verifier import ReferenceVerifier
from stepward.evaluate.settings import evaluate_settings
from stepward.runtime.labelling import label_job, run_label

MORE = "expected fields of 4 channels, got 5. Train one with {}.num_channels=5"


def _with_a_channel_more(states):
    fields = np.concatenate([states.fields, states.fields[:, :1]], axis=1)
    return states.replace(fields=fields, deterministic=fields)


def _streams(states):
    return Rng.from_seed(0, len(states), "x")


@pytest.mark.parametrize("settings", [UNetSettings(width=4), ViTSettings(width=16, depth=1, num_heads=2)])
def test_a_channel_too_many_for_a_surrogate(settings):
    states, network = _with_a_channel_more(roots()), build_surrogate(settings)
    more = training_trajectories()[:, :, [0, 1, 2, 3, 0]]
    with pytest.raises(ValueError, match=re.escape(MORE.format("surrogate"))):
        fit_surrogate(network, more, SurrogateFit(epochs=1))
    with pytest.raises(ValueError, match=re.escape(MORE.format("surrogate"))):
        DeterministicGenerator(network.eval()).propose(states, num_candidates=2, rng=_streams(states))


@pytest.mark.parametrize("settings", [CNNSettings(width=4, depth=1), FeatureCriticSettings()])
def test_a_channel_too_many_for_a_reward_model(settings):
    states = _with_a_channel_more(roots())
    children = advance(states, states.fields, states.fields, np.arange(len(states), dtype=np.uint64))
    weights = {name: tensor.numpy() for name, tensor in settings.module().state_dict().items()}
    with pytest.raises(ValueError, match=re.escape(MORE.format("learner"))):
        settings.reward(weights).score(states, children)
    with pytest.raises(ValueError, match=re.escape(MORE.format("learner"))):
        settings.module().fit_scales(*[torch.from_numpy(states.fields.copy())] * 3)


def test_one_candidate_is_no_choice():
    proposer = StructuredGenerator(surrogate(), StructuredSettings())
    with pytest.raises(ValueError, match=r"2 candidates of each, got 4 and 1\. The best of one is no choice"):
        measure_headroom(
            roots(), proposer=proposer, verifier=ReferenceVerifier(), num_candidates=1, rng=_streams(roots())
        )


def test_a_surrogate_that_blows_up_has_no_headroom_to_measure():
    states = roots()
    wild = NoiseGenerator(surrogate(), NoiseSettings(schedule=(1e39,)))
    with pytest.raises(ValueError, match="got none for 4 of 4: the surrogate blows up there"):
        measure_headroom(states, proposer=wild, verifier=ReferenceVerifier(), num_candidates=4, rng=_streams(states))


def test_an_ensemble_of_one_is_none():
    one = {"guides": {"a": {"kind": "ensemble", "members": ["b"]}}}
    with pytest.raises(ValueError, match=r"guides\.members: .* at least 2 items"):
        override(evaluate_settings(find_wing("walk")), one, {})


def test_labels_without_their_surrogate_say_so_before_anything_starts(tmp_path):
    said = r"pretrain/default: expected a finished .* jobs/pretrain\.py domain=pde name=default"
    with pytest.raises(ValueError, match=said):
        run_label(label_job(find_wing("pde"))(store=str(tmp_path), tracking={"enabled": False}))


def test_a_grid_that_is_no_multiple_of_the_patches_is_named():
    with pytest.raises(ValueError, match=r"multiples of 4, got \(1, 4, 18, 18\)"):
        surrogate()(torch.zeros(1, 4, 18, 18))
    settings = CNNSettings(width=4, depth=1)
    with pytest.raises(ValueError, match=r"multiples of 2 \(patch x scales\), got \(17, 17\)"):
        settings.module()(*torch.zeros(3, 1, 4, 17, 17))


def test_fields_that_are_no_numbers_do_not_begin_a_rollout():
    fields = roots().fields.copy()
    fields[1, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"expected finite numbers, got others in rows \[1\]"):
        begin(fields, ["x"] * len(fields), np.zeros(len(fields), np.int64), np.ones(len(fields), np.int64))
