"""Lookahead on number walks, where every rollout can be followed by hand."""

import numpy as np
import pytest

from stepward.core.batch import repeat
from stepward.core.cost import Ledger, metered_reward
from stepward.core.interfaces import Status
from stepward.domains.walk.proposer import ActionEnumerator, SoftmaxWalker
from stepward.domains.walk.rewards.simple import DistanceReward, ExactReward
from stepward.domains.walk.states import Walk, advance, roots
from stepward.rewards import Lookahead
from stepward.testing.contracts import check_reward, children_of

DOMAIN = Walk()
DISTANCE = DistanceReward().build(DOMAIN)  # negative everywhere off the target


class AlwaysPlusOne:
    """A proposer without randomness: +1."""

    num_parameters = 0
    nfe = 0

    def propose(self, states, *, num_candidates, rng):
        return advance(repeat(states, num_candidates), np.zeros(len(states) * num_candidates, np.int64))


def steps(num=20, max_steps=6, seed=0):
    generator = np.random.default_rng(seed)
    parents = roots(generator.integers(-20, 20, num), generator.integers(21, 50, num), max_steps)
    return children_of(parents, ActionEnumerator(), 6)


def lookahead(inner=DISTANCE, proposer=None, **settings):
    return Lookahead(inner, proposer or SoftmaxWalker(), DOMAIN, **settings)


@pytest.mark.parametrize("reading", ["sum", "last"])
def test_depth_zero_is_the_inner_model(reading):
    parents, children = steps()
    scores = lookahead(depth=0, num_rollouts=3, reading=reading).score(parents, children)
    assert np.array_equal(scores, DISTANCE.score(parents, children))


def test_depth_changes_scores():
    parents, children = steps()
    assert (lookahead(depth=1).score(parents, children) != DISTANCE.score(parents, children)).any()


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_sum_of_negative_rewards_of_a_known_path(depth):
    """+1 per step towards a distant target: the rewards are -(d), -(d - 1), …, each discounted."""
    gamma = 0.5
    parents, children = steps(max_steps=20)
    gap = (children.target - children.current).astype(float)
    inside = gap > depth  # does not arrive within the rollout
    scores = lookahead(proposer=AlwaysPlusOne(), depth=depth, discount=gamma).score(parents, children)
    expected = sum(gamma**t * -(gap - t) for t in range(depth + 1))
    np.testing.assert_allclose(scores[inside], expected[inside], rtol=1e-12)
    # Every child is rolled forward, so no child is left with its own reward alone, best or worst.
    assert (scores[inside] < DISTANCE.score(parents, children)[inside]).all()


def test_order_of_children_under_negative_rewards_is_that_of_their_returns():
    """Adding rollouts to a few top children would push them below the others; adding them to all keeps the order."""
    parents, children = steps(num=1, max_steps=20)
    scores = lookahead(proposer=AlwaysPlusOne(), depth=3).score(parents, children)
    assert np.array_equal(np.argsort(scores), np.argsort(DISTANCE.score(parents, children)))


def test_last_is_the_discounted_reward_where_the_rollout_ends():
    parents, children = steps(max_steps=20)
    gap = (children.target - children.current).astype(float)
    scores = lookahead(proposer=AlwaysPlusOne(), depth=4, discount=0.9, reading="last").score(parents, children)
    far = gap > 4
    np.testing.assert_allclose(scores[far], 0.9**4 * -(gap[far] - 4), rtol=1e-12)
    # From one step below the target the rollout ends there, with reward 0 after one step.
    assert (scores[gap == 1] == 0).all()


def test_terminal_states_add_nothing():
    parents = roots(np.array([4, 4]), np.array([5, 9]), 1)
    children = advance(parents, np.array([0, 0]))  # one arrives, the other has no step left
    assert set(DOMAIN.status(children).tolist()) == {Status.COMPLETE, Status.DEAD}
    assert np.array_equal(lookahead(depth=5).score(parents, children), DISTANCE.score(parents, children))


def test_a_rollout_stops_adding_once_it_arrives():
    parents = roots(np.array([1]), np.array([4]), 10)
    children = advance(parents, np.array([0]))  # at 2, then 3, then 4 = target
    score = lookahead(proposer=AlwaysPlusOne(), depth=9).score(parents, children)
    assert score[0] == -2 - 1 - 0


def test_many_rollouts_average_to_the_value():
    """V^π is a martingale under the walker: its mean after h steps is V^π(state), so reading "last" estimates it."""
    parents, children = steps(num=8)
    exact = ExactReward().build(DOMAIN)
    values = exact.score(parents, children)
    rollouts = 400
    estimate = lookahead(exact, depth=2, num_rollouts=rollouts, reading="last").score(parents, children)
    # A mean of numbers in [0, 1] with mean V has a variance of at most V (1 - V) / n.
    error = np.sqrt(np.maximum(values * (1 - values), 1e-12) / rollouts)
    assert (np.abs(estimate - values) <= 4.5 * error + 1e-9).all()


def test_contract_and_independence_of_the_batch():
    parents, children = steps()
    check_reward(lookahead(depth=2, num_rollouts=2), DOMAIN, parents, children)


def test_seed_decides_the_rollouts():
    parents, children = steps()
    scores = [lookahead(depth=2, seed=seed).score(parents, children) for seed in (0, 0, 1)]
    assert np.array_equal(scores[0], scores[1])
    assert (scores[0] != scores[2]).any()


def test_rollouts_are_charged():
    """Far from the target no rollout ends early: R·h proposals a child, and 1 + R·h scored steps."""
    parents = repeat(roots(np.array([0, 1, 2]), np.array([50, 50, 50]), 20), 2)
    children = advance(parents, np.zeros(6, np.int64))
    depth, rollouts = 3, 2
    reward = metered_reward(lookahead(proposer=AlwaysPlusOne(), depth=depth, num_rollouts=rollouts), DOMAIN)
    with Ledger(3).recording() as ledger:
        reward.score(parents, children)
    np.testing.assert_array_equal(ledger.spent["proposals"], 2.0 * rollouts * depth)
    np.testing.assert_array_equal(ledger.spent["scored"], 2.0 * (1 + rollouts * depth))


@pytest.mark.parametrize(
    "settings",
    [{"depth": -1}, {"depth": 1, "discount": 0}, {"depth": 1, "num_rollouts": 0}, {"depth": 1, "reading": "max"}],
)
def test_bad_settings(settings):
    with pytest.raises(ValueError, match="expected"):
        lookahead(**settings)


def test_no_children_no_scores():
    parents, children = steps()
    none = np.zeros(0, np.int64)
    assert lookahead(depth=2).score(parents.take(none), children.take(none)).shape == (0,)


def test_streams_of_rollouts_differ():
    """Rollouts of one child are not copies of one another: with two the mean differs from either alone."""
    parents, children = steps(num=40)
    one = lookahead(depth=3, num_rollouts=1).score(parents, children)
    many = lookahead(depth=3, num_rollouts=8).score(parents, children)
    assert (one != many).mean() > 0.5
