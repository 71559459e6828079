"""The learned reward models of the walk: what they see, what they may claim for sure, what their weights make."""

from functools import lru_cache

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stepward.core.batch import repeat
from stepward.core.interfaces import Status
from stepward.core.wing import Fittable, Trainable
from stepward.domains.walk import wing
from stepward.domains.walk.rewards.features import features, num_features, reachable
from stepward.domains.walk.rewards.hmm import WalkHMM
from stepward.domains.walk.rewards.mlp import WalkMLP
from stepward.domains.walk.rewards.terminal import settled, undecided
from stepward.domains.walk.states import WalkStates, roots, successors
from stepward.rewards.hmm import categorical_log_emission, filtered_posterior
from stepward.testing.contracts import check_reward, children_of

RADIUS = 3_000


@lru_cache
def solvable(target):
    """[11, 6001]: whether any sequence of actions leads from each number to the target within 0 … 10 steps."""
    numbers = np.arange(-RADIUS, RADIUS + 1)
    after = successors(numbers)
    inside, found = np.abs(after) <= RADIUS, [numbers == target]
    for _ in range(10):
        found.append(found[-1] | (inside & found[-1][np.where(inside, after, 0) + RADIUS]).any(axis=1))
    return np.stack(found)


def states_at(current, target, left):
    current, target, left = (np.asarray(a, np.int64) for a in (current, target, left))
    return roots(current, target, 10).replace(steps_left=left)


def steps(num=200, seed=0):
    generator = np.random.default_rng(seed)
    parents = roots(generator.integers(-50, 51, num), generator.integers(-50, 51, num), 10)
    parents = parents.replace(steps_left=generator.integers(1, 11, num))
    open_ = parents.take(wing.domain.status(parents) == Status.OPEN)
    return children_of(open_, wing.proposers["enumerate"]().build(), 6)


def mlp(**settings):
    chosen = WalkMLP(**settings)
    torch.manual_seed(0)
    weights = {name: tensor.numpy() for name, tensor in chosen.module().state_dict().items()}
    return chosen.reward(weights), weights


@given(st.integers(-400, 400), st.integers(-50, 50), st.integers(0, 10))
def test_what_is_called_out_of_reach_cannot_be_solved(current, target, left):
    """The interval is sound: whenever any sequence of actions arrives, the state is reachable."""
    one = [np.array([n]) for n in (current, target, left)]
    if solvable(target)[left, current + RADIUS]:
        assert reachable(states_at(*one))[0]


def test_reach_by_brute_force():
    """The interval is the hull of the numbers within b steps, found by trying all sequences."""
    for start in (-9, -2, 0, 1, 5, 40):
        numbers = np.array([start])
        for left in range(1, 5):
            numbers = np.unique(np.r_[numbers, successors(numbers).ravel()])
            edges = np.array([numbers.min() - 1, numbers.min(), numbers.max(), numbers.max() + 1])
            found = reachable(states_at(np.full(4, start), edges, np.full(4, left)))
            assert found.tolist() == [False, True, True, False]


def test_settled_outcomes_are_exact_and_others_untouched():
    states = states_at([5, 5, 1_000, 5], [5, 9, 3, 9], [3, 0, 2, 4])  # arrived, no step left, too far, under way
    np.testing.assert_array_equal(settled(states, np.full(4, 0.3)), [1, 0, 0, 0.3])


@pytest.mark.parametrize("activation", ["relu", "silu", "gelu"])
def test_mlp_obeys_the_contract(activation):
    parents, children = steps()
    reward, _ = mlp(activation=activation, hidden_width=16, depth=2)
    check_reward(reward, wing.domain, parents, children, tolerance=1e-5)


def test_mlp_scores_are_the_network_s_probabilities_except_where_settled():
    parents, children = steps()
    reward, weights = mlp(hidden_width=8, depth=1, activation="relu")
    hidden = np.maximum(features(children) @ weights["layer0.weight"].T + weights["layer0.bias"], 0)
    logits = (hidden @ weights["output.weight"].T + weights["output.bias"])[:, 0]
    expected = settled(children, 1 / (1 + np.exp(-logits.astype(np.float64))))
    np.testing.assert_allclose(reward.score(parents, children), expected, atol=1e-5)
    assert reward.num_parameters == sum(array.size for array in weights.values())


def test_mlp_pieces_make_no_difference():
    parents, children = steps(1000)
    reward, _ = mlp(hidden_width=16)
    whole = reward.score(parents, children)
    reward.ROWS = 7
    np.testing.assert_allclose(reward.score(parents, children), whole, atol=1e-6)


def test_features_are_bounded_and_tell_states_apart():
    generator = np.random.default_rng(0)
    near = states_at(
        generator.integers(-100, 100, 2000), generator.integers(-50, 51, 2000), generator.integers(0, 11, 2000)
    )
    far = states_at([2**40, -(2**40), 51_200], [50, -50, 0], [20, 20, 10])
    for states in (near, far):
        shown = features(states)
        assert shown.shape == (len(states), num_features())
        assert shown.dtype == np.float32
        assert np.abs(shown).max() <= 6
    different = np.unique(np.stack([near.current, near.target, near.steps_left]), axis=1).shape[1]
    assert len(np.unique(features(near), axis=0)) == different


def test_features_after_each_action_follow_the_actions():
    """The column that says "this action hits the target" is 1 for just the actions that do."""
    current = np.array([4, 4, 4, 7, -7])
    target = np.array([5, 8, 7, 3, -4])
    shown = features(states_at(current, target, np.full(5, 3)))
    hits = (successors(current) == target[:, None]).astype(np.float32)
    columns = [[j for j in range(shown.shape[1]) if np.array_equal(shown[:, j], hits[:, a])] for a in range(6)]
    assert all(columns)


def walks(num=300, seed=0):
    problems, _ = wing.problems(num_train=num).problems("train", seed)
    return wing.states(wing.mining(per_problem=2).mine(problems, seed))


def test_hmm_success_shares_add_up_to_the_labels():
    """Σ_k (rollouts of state k + 2c) h_k is the number of all successes, and c for every state."""
    states = walks()
    states = states.take(undecided(states))  # the rest is settled, not learned
    last = states.actions[np.arange(len(states)), np.maximum(states.depth - 1, 0)]
    truth = np.where(last <= 2, 0.9, 0.1)
    m = np.full(len(states), 64)
    successes = np.random.default_rng(0).binomial(m, truth)
    chosen = WalkHMM(num_states=4, num_iterations=2, num_starts=2, max_sequences=150)
    weights = chosen.fit(states, successes, m, seed=0)
    log_emission = categorical_log_emission(states.actions.astype(np.int64), weights["emission"])
    posterior = filtered_posterior(log_emission, states.depth, weights["start"], weights["transition"])
    np.testing.assert_allclose(
        (posterior.sum(axis=0) * 64 + 1) @ weights["success"], successes.sum() + 4 * 0.5, rtol=1e-9
    )
    scores = chosen.reward(weights).score(states, states)
    assert ((scores >= 0) & (scores <= 1)).all()


def test_hmm_obeys_the_contract_and_starts_from_its_start():
    parents, children = steps(30)
    weights = WalkHMM(num_states=2, num_iterations=1, num_starts=1, max_sequences=50).fit(
        walks(60), np.full(120, 3), np.full(120, 8), seed=0
    )
    reward = WalkHMM(num_states=2).reward(weights)
    check_reward(reward, wing.domain, parents, children, tolerance=1e-12)
    untouched = roots(np.array([1]), np.array([9]), 10)
    np.testing.assert_allclose(reward.score(untouched, untouched), weights["start"] @ weights["success"])


def test_learners_are_registered():
    assert isinstance(wing.learners["mlp"](), Trainable)
    assert isinstance(wing.learners["hmm"](), Fittable)
    assert not isinstance(wing.learners["mlp"](), Fittable)


def test_states_have_no_influence_on_one_another_through_repeats():
    parents, _ = steps(20)
    reward, _ = mlp(hidden_width=8)
    doubled = repeat(parents, 2)
    scores = reward.score(doubled, doubled).reshape(-1, 2)
    np.testing.assert_allclose(scores[:, 0], scores[:, 1], atol=1e-6)
    assert isinstance(doubled, WalkStates)
