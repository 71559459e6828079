"""The contracts, held against the math domain with a model of random weights: every ending occurs often."""

import numpy as np
import pytest
import torch

from stepward.core.config import validate
from stepward.core.seeding import Rng
from stepward.domains.math import MathDomain, MathStates
from stepward.domains.math.states import roots
from stepward.search import SEARCHES
from stepward.testing import check_domain, check_proposer, check_reward, check_search
from stepward.testing.contracts import children_of
from unit.math.small_models import small_proposer

DOMAIN = MathDomain()
SEARCH_SETTINGS = {
    "best_first": {"num_candidates": 3},
    "beam": {"width": 3, "num_candidates": 3},
    "best_of_n": {"num_samples": 3},
    "dvts": {"num_trees": 2, "num_candidates": 3},
    "particles": {"num_particles": 4, "potential": "exponential"},
}


class Brevity:
    """Few tokens are better: whole numbers, so that scores are equal to the last bit in every batch."""

    num_parameters = 0

    def score(self, parents: MathStates, children: MathStates) -> np.ndarray:
        return -children.last_tokens.astype(np.float64)


@pytest.fixture(scope="module")
def proposer():
    torch.set_num_threads(1)
    return small_proposer()


@pytest.fixture(scope="module")
def questions() -> MathStates:
    texts = np.array(["a+1", "b", "1+2", "ab"], object)
    return roots(texts, np.full(4, "1", dtype=object))


def test_domain(proposer, questions):
    check_domain(DOMAIN, proposer.propose(questions, num_candidates=4, rng=Rng.from_seed(0, 4, "contract")))


def test_proposer(proposer, questions):
    check_proposer(proposer, DOMAIN, questions, num_candidates=3)


def test_reward(proposer, questions):
    parents, children = children_of(questions, proposer, 3)
    check_reward(Brevity(), DOMAIN, parents, children)


@pytest.mark.parametrize("kind", sorted(SEARCH_SETTINGS))
def test_searches(proposer, questions, kind):
    check_search(validate(SEARCHES[kind], SEARCH_SETTINGS[kind]), DOMAIN, proposer, Brevity(), questions)
