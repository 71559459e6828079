import math

import numpy as np
import pytest

from stepward.core.cost import Combinator, Cost, Ledger, metered_proposer, metered_reward
from stepward.core.seeding import Rng
from stepward.testing import ReadScore, Tables, TableTree, TreeProposer

TABLES = Tables(
    children=np.array([[1, 2], [1, 2], [1, 2]]), score=np.array([0.0, 0.25, 0.75]), status=np.zeros(3, np.int8)
)
DOMAIN = TableTree(TABLES)


def test_a_proposal_is_charged_to_the_problem_of_each_child():
    states = DOMAIN.roots(3).take([0, 2, 2])
    proposer = metered_proposer(TreeProposer(TABLES), DOMAIN)
    with Ledger(3).recording() as ledger:
        proposer.propose(states, num_candidates=2, rng=Rng.from_seed(0, 3, "t"))
    assert ledger.spent["proposals"].tolist() == [2, 0, 4]
    assert ledger.spent["nfe"].tolist() == [2, 0, 4]
    assert ledger.spent["generated_tokens"].tolist() == [2, 0, 4]
    assert ledger.spent["flops"].tolist() == [2 * 10 * 2, 0, 2 * 10 * 4]  # 2 x 10 parameters x tokens
    assert ledger.spent["seconds"][2] == pytest.approx(2 * ledger.spent["seconds"][0])


def test_a_score_is_charged_and_tokens_can_be_counted_by_the_model():
    class Rereads(ReadScore):
        def charged_tokens(self, children):
            return np.full(len(children), 7)

    states = DOMAIN.roots(2)
    with Ledger(2).recording() as ledger:
        metered_reward(Rereads(TABLES), DOMAIN).score(states, states)
    assert ledger.spent["scored"].tolist() == [1, 1]
    assert ledger.spent["scored_tokens"].tolist() == [7, 7]
    assert ledger.spent["flops"].tolist() == [2 * 5 * 7] * 2


def test_wrapping_twice_charges_once_and_combinators_are_not_wrapped():
    proposer = metered_proposer(TreeProposer(TABLES), DOMAIN)
    assert metered_proposer(proposer, DOMAIN) is proposer

    class Sum(Combinator):
        def score(self, parents, children):
            return np.zeros(len(children))

    combinator = Sum()
    assert metered_reward(combinator, DOMAIN) is combinator


def test_nothing_is_charged_outside_of_a_recording():
    ledger = Ledger(1)
    metered_proposer(TreeProposer(TABLES), DOMAIN).propose(
        DOMAIN.roots(1), num_candidates=2, rng=Rng.from_seed(0, 1, "t")
    )
    assert ledger.total() == Cost()


def test_a_limit_closes_a_problem_when_any_kind_is_spent():
    ledger = Ledger(3)
    ledger.charge(np.array([0, 1, 1]), expansions=1.0, flops=np.array([5.0, 5.0, 5.0]))
    assert ledger.within(Cost.limit(expansions=2)).tolist() == [True, False, True]
    assert ledger.within(Cost.limit(expansions=9, flops=5)).tolist() == [False, False, True]


@pytest.mark.parametrize("limits", [{}, {"expansions": math.inf}, {"expansions": 0}, {"steps": 3}, {"flops": math.nan}])
def test_a_budget_that_limits_nothing_is_an_error(limits):
    with pytest.raises(ValueError, match="Budget"):
        Cost.limit(**limits)


def test_a_reward_that_reduces_over_the_batch_is_refused():
    class Mean(ReadScore):
        def score(self, parents, children):
            return super().score(parents, children).mean()

    with pytest.raises(ValueError, match="one score a child"):
        metered_reward(Mean(TABLES), DOMAIN).score(DOMAIN.roots(2), DOMAIN.roots(2))


def test_a_proposer_that_loses_children_is_refused():
    class Lossy(TreeProposer):
        def propose(self, states, **settings):
            return super().propose(states, **settings).take([0])

    with pytest.raises(ValueError, match="exactly k children"):
        metered_proposer(Lossy(TABLES), DOMAIN).propose(DOMAIN.roots(2), num_candidates=2, rng=Rng.from_seed(0, 2, "t"))
