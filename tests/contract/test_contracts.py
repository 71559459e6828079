"""One set of contracts, held against every domain, proposer, reward model and search that is registered."""

import numpy as np
import pytest

from stepward.core.config import validate
from stepward.core.interfaces import Status
from stepward.core.wing import find_wing, wing_names
from stepward.search import SEARCHES
from stepward.testing import check_domain, check_proposer, check_reward, check_search
from stepward.testing.contracts import children_of

# wing -> how many candidates its contract asks each proposer kind for
CANDIDATES = {("walk", "enumerate"): 6, ("walk", "softmax"): 3}
SEARCH_SETTINGS = {
    "best_first": {"num_candidates": 3},
    "beam": {"width": 3, "num_candidates": 3},
    "best_of_n": {"num_samples": 3},
    "dvts": {"num_trees": 2, "num_candidates": 3},
    "particles": {"num_particles": 4, "potential": "exponential"},
}


def walk_partials():
    wing = find_wing("walk")
    problems, _ = wing.problems(num_train=40).problems("train", 0)
    return wing.states(wing.mining(per_problem=3).mine(problems, 0))


@pytest.fixture(scope="module")
def walk():
    states = walk_partials()
    wing = find_wing("walk")
    return wing, states, states.take(np.flatnonzero(wing.domain.status(states) == Status.OPEN))


def test_the_walk_is_an_installed_wing():
    assert "walk" in wing_names()


def test_domain(walk):
    wing, states, _ = walk
    check_domain(wing.domain, states)


@pytest.mark.parametrize("kind", sorted(find_wing("walk").proposers))
def test_proposers(walk, kind):
    wing, _, open_states = walk
    check_proposer(wing.proposers[kind]().build(), wing.domain, open_states, num_candidates=CANDIDATES["walk", kind])


@pytest.mark.parametrize("kind", sorted(find_wing("walk").rewards))
def test_untrained_rewards(walk, kind):
    wing, _, open_states = walk
    parents, children = children_of(open_states, wing.proposers["softmax"]().build(), 3)
    check_reward(wing.rewards[kind]().build(wing.domain), wing.domain, parents, children)


@pytest.mark.parametrize("kind", sorted(SEARCH_SETTINGS))
def test_searches(walk, kind):
    wing, _, open_states = walk
    search = validate(SEARCHES[kind], SEARCH_SETTINGS[kind])
    roots = open_states.take(np.arange(6)).replace(problem=np.arange(6))
    reward = wing.rewards["exact"]().build(wing.domain)
    check_search(search, wing.domain, wing.proposers["softmax"]().build(), reward, roots)


def test_a_broken_proposer_is_found_out(walk):
    """The contract itself can fail: a proposer that lets its rows depend on each other is caught."""
    wing, _, open_states = walk
    inner = wing.proposers["softmax"]().build()

    class Reordering:
        num_parameters = nfe = 0

        def propose(self, states, *, num_candidates, rng):
            shuffled = states.take(np.argsort(states.current, kind="stable"))
            return inner.propose(shuffled, num_candidates=num_candidates, rng=rng)

    with pytest.raises(AssertionError, match="propose"):
        check_proposer(Reordering(), wing.domain, open_states, num_candidates=3)
