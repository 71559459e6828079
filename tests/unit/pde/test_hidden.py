"""A constant that nobody is told: data, surrogates that are told it or read more frames, guesses, and looking back."""

from functools import lru_cache

import numpy as np
import pytest
import torch

from stepward.core.seeding import Rng
from stepward.core.wing import find_wing
from stepward.domains.pde.data import PDEMining, PDEProblems, pde_states
from stepward.domains.pde.flows import flow_of
from stepward.domains.pde.generators import GuessGenerator, GuessSettings
from stepward.domains.pde.rankings import Ranker, RankingContent, ranked_candidates
from stepward.domains.pde.references import constant_of, grid_of, trajectories
from stepward.domains.pde.rewards import CNNSettings, LookBack, RewardFit, fit_reward
from stepward.domains.pde.states import PDE, advance, seen
from stepward.domains.pde.steps import steps_of
from stepward.domains.pde.surrogates import Draws, SurrogateFit, UNetSettings, build_surrogate, fit_surrogate
from stepward.domains.pde.verifier import ReferenceVerifier
from stepward.evaluate.arms import Arm
from stepward.evaluate.trials import run_arm, trial_table
from stepward.rewards.factory import Oracle

VALUES = (0.001, 0.007, 0.05)
PROBLEMS = PDEProblems(
    families=("burgers",), constant=(0.001, 0.05), context=3, cells=16, num_steps=6, horizon=4, num_train=12, num_test=8
)


@lru_cache
def surrogate():
    """A U-Net that is told the viscosity, and has learned what it does."""
    names = PROBLEMS.references("train", 0)
    torch.manual_seed(2)
    network = build_surrogate(UNetSettings(num_channels=1, width=8, constants=VALUES))
    fit = SurrogateFit(epochs=15, batch_size=8, learning_rate=4e-3)
    told = np.array([constant_of(name) for name in names])
    fit_surrogate(network, np.stack(trajectories(names)), fit, constants=told)
    return network


def test_flows_differ_in_a_constant_that_their_grid_does_not_say():
    names = PROBLEMS.references("test", 0)
    constants = np.array([constant_of(name) for name in names])
    assert len(set(constants)) == len(names) and (constants > 0.001).all() and (constants < 0.05).all()
    assert all("nu" not in grid_of(name).parameters for name in names)
    assert flow_of(names[0]).name == names[0]
    known = PDEProblems(families=("burgers",), constant=(0.02, 0.02)).references("test", 0)[0]
    assert grid_of(known).parameters == {"nu": 0.02} and constant_of(known) == pytest.approx(0.02)
    energy = [np.stack(trajectories(names))[:, t].std(axis=(1, 2, 3)) for t in (0, 6)]
    assert np.corrcoef(constants, energy[1] / energy[0])[0, 1] < -0.5  # the more viscous decay


def test_a_hidden_gamma_does_not_show_in_the_first_frame():
    hidden = PDEProblems(families=("gaussian",), constant=(1.1, 2.0), cells=16, num_steps=2, horizon=2, num_test=3)
    plain = PDEProblems(families=("gaussian",), cells=16, num_steps=2, horizon=2, num_test=3)
    first, other = (np.stack(trajectories(p.references("test", 0))) for p in (hidden, plain))
    assert np.array_equal(first[:, 0], other[:, 0]) and not np.allclose(first[:, 2], other[:, 2], rtol=1e-3)
    assert [1.1 < constant_of(name) < 2 for name in hidden.references("test", 0)] == [True] * 3


def test_rollouts_remember_the_frames_before():
    table, _ = PROBLEMS.problems("test", 0)
    states, truth = pde_states(table), np.stack(trajectories(table["reference"].to_pylist()))
    assert (states.frame == 2).all() and np.array_equal(seen(states, 3), truth[:, :3])
    children = advance(states, truth[:, 3], truth[:, 3], np.zeros(8, np.uint64))
    assert np.array_equal(seen(children, 2), truth[:, 2:4]) and np.array_equal(children.history, truth[:, 1:3])
    mined = PDEMining(share=0.5).mine(table, 0)
    under_way = pde_states(mined)
    whole = trajectories(under_way.reference.tolist())
    expected = [frames[end - 2 : end + 1] for frames, end in zip(whole, under_way.frame, strict=True)]
    assert np.array_equal(seen(under_way, 3), np.stack(expected))
    with pytest.raises(ValueError, match=r"problems\.context=4"):
        seen(states, 4)


def test_a_surrogate_is_told_a_constant_by_a_soft_one_hot():
    network, fields = surrogate(), torch.randn(1, 1, 16, 16).repeat(3, 1, 1, 1)
    out = network(fields, Draws.told(torch.tensor([0.001, 0.004, 0.2], dtype=torch.float64)))
    assert not torch.allclose(out[0], out[1]) and not torch.allclose(out[1], out[2])
    assert torch.allclose(
        out[2:], network(fields[:1], Draws.told(torch.tensor([0.05]))), atol=1e-5
    )  # beyond: the last value
    assert torch.allclose(
        network(fields[:1]), network(fields[:1], Draws.told(torch.tensor([0.007]))), atol=1e-5
    )  # untold: middle


def test_a_surrogate_of_two_frames_reads_both():
    network = build_surrogate(UNetSettings(num_channels=1, width=8, frames=2))
    data = np.stack(trajectories(PROBLEMS.references("train", 0)))
    losses = fit_surrogate(network, data, SurrogateFit(epochs=3, batch_size=8, learning_rate=4e-3))
    assert losses[-1] < losses[0]
    frames = torch.from_numpy(data[:2, :2]).flatten(1, 2)
    other = frames.clone()
    other[:, 0] += 0.1
    assert not torch.allclose(network(frames), network(other))
    with pytest.raises(ValueError, match="2 frames of 1 channels"):
        network(frames[:, :1])


def test_candidates_are_guesses_that_may_be_kept():
    states = pde_states(PROBLEMS.problems("test", 0)[0])
    streams = Rng.from_seed(0, 8, "test")
    children = GuessGenerator(surrogate(), GuessSettings()).propose(states, num_candidates=3, rng=streams)
    assert np.allclose(children.guess.reshape(8, 3), VALUES)
    keeping = GuessGenerator(surrogate(), GuessSettings()).rollout_policy()
    again = keeping.propose(children, num_candidates=2, rng=Rng.from_seed(0, 24, "test"))
    assert np.array_equal(again.guess, np.repeat(children.guess, 2))
    told = GuessGenerator(surrogate(), GuessSettings(is_told=True)).propose(states, num_candidates=1, rng=streams)
    assert np.allclose(told.guess, [constant_of(name) for name in states.reference])
    with pytest.raises(ValueError, match="none with is_told"):
        GuessSettings(is_told=True, value=0.01).build()


def test_looking_back_beats_a_constant_and_stays_below_the_oracle():
    """The regime in which choosing has something to verify, on a small scale."""
    wing, table = find_wing("pde"), PROBLEMS.problems("test", 0)[0]
    truth = ReferenceVerifier("fixed_nrmse")
    generator = GuessGenerator(surrogate(), GuessSettings())
    steady = [GuessGenerator(surrogate(), GuessSettings(value=value)) for value in VALUES]

    def error(proposer, guide):
        ran = run_arm(
            table, Arm(guide="any"), guide=guide, proposer=proposer, wing=wing, seed=0, num_candidates=3, keep_tree=True
        )
        trials = trial_table(ran, wing, headline=wing.verifier().measures[-1])
        return np.array(trials["fixed_nrmse"].to_pylist()).mean()

    best = min(error(one, Oracle(truth)) for one in steady)
    looked = error(generator, LookBack(surrogate(), 2))
    assert error(generator, Oracle(truth)) <= looked < best


def test_a_reward_model_reads_frames_and_learns_from_labels_of_guesses():
    table, _ = PROBLEMS.problems("train", 0)
    content = RankingContent(num_candidates=3, num_kept=3, horizons=(1, 2), convention="fixed_nrmse")
    generator = GuessGenerator(surrogate(), GuessSettings())
    ranker = Ranker(
        content, domain=PDE(), proposer=generator, verifier=ReferenceVerifier("fixed_nrmse"),
        policy=generator.rollout_policy(),
    )  # fmt: skip
    [labels] = ranker(PDEMining(share=0.7).mine(table, 0))
    _, data = ranked_candidates(labels, horizon=2, horizons=(1, 2))
    assert data.frames(np.arange(2)).shape == (2, 3, 16, 16) and sorted(set(data.guesses.ravel())) == pytest.approx(
        VALUES
    )
    parents, children = steps_of(data, np.arange(len(data)))
    scores = LookBack(surrogate()).score(parents, children).reshape(-1, 3)
    assert (scores.argmax(axis=1) == data.errors.argmin(axis=1)).mean() > 0.5
    torch.manual_seed(2)
    learner = CNNSettings(num_channels=1, width=8, depth=2, frames=3)
    fit = RewardFit(num_epochs=15, batch_size=8, learning_rate=5e-3)
    fitted = fit_reward(learner, data, data, fit)
    assert fitted.history[-1]["pairs"] > 0.7
    reward = learner.reward(fitted.best)
    assert np.isfinite(reward.score(parents, children)).all()
    with pytest.raises(ValueError, match="frames"):
        learner.reward(fitted.best).score(parents.replace(history=parents.history[:, :1]), children)


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="burgers alone"):
        PDEProblems(families=("burgers", "kelvin"))
    with pytest.raises(ValueError, match="1 < low <= high"):
        PDEProblems(constant=(0.9, 1.4))
    with pytest.raises(ValueError, match="increasing"):
        UNetSettings(constants=(0.1, 0.1))
    with pytest.raises(ValueError, match="context takes"):
        PDEProblems(context=3, num_steps=4, horizon=4).problems("test", 0)
    states = pde_states(PROBLEMS.problems("test", 0)[0])
    blind = advance(states, states.fields, states.fields, np.zeros(8, np.uint64))
    with pytest.raises(ValueError, match="proposer of kind guess"):
        LookBack(surrogate()).score(states, blind)
    with pytest.raises(ValueError, match="knows 'guess'"):
        GuessGenerator(build_surrogate(UNetSettings(num_channels=1)), GuessSettings())
