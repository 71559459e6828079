"""Searches on one tree small enough to follow by hand; the order of expansion is written out.

              0
      1(.6)        2(.5)
  3(.2)  4(.9)  5(.8)  6(.7)
7✓.3 8✝  9✓.4 10✓.95  11✓.1 12✝  13✓.6 14✓.6
"""

import numpy as np
import pytest

from stepward.core.cost import Cost
from stepward.core.interfaces import Status
from stepward.core.seeding import Rng
from stepward.search import DVTS, Beam, BestFirst, BestOfN, Particles, Scoring
from stepward.testing import ReadScore, Tables, TableTree, TreeProposer

CHILDREN = np.zeros((15, 2), np.int64)
CHILDREN[:7] = np.arange(1, 15).reshape(7, 2)
SCORE = np.array([0, 0.6, 0.5, 0.2, 0.9, 0.8, 0.7, 0.3, 0.0, 0.4, 0.95, 0.1, 0.0, 0.6, 0.6])
STATUS = np.array([Status.OPEN] * 7 + [Status.COMPLETE] * 8, np.int8)
STATUS[[8, 12]] = Status.DEAD
TREE = Tables(CHILDREN, SCORE, STATUS)


def run(settings, **limits):
    """The result, and the expanded nodes that have children in the tree, in the order they were expanded."""
    domain = TableTree(TREE)
    found = settings(
        domain.roots(1),
        domain=domain,
        proposer=TreeProposer(TREE),
        reward=ReadScore(TREE),
        budget=Cost.limit(**(limits or {"expansions": 100})),
        rng=Rng.from_seed(0, 1, "golden"),
        keep_tree=True,
    )
    parents = found.tree.parent[1:]
    expanded = list(dict.fromkeys(found.tree.states(parents).node.tolist()))
    return found, expanded


def test_best_first_by_last_score():
    found, expanded = run(BestFirst(num_candidates=2))
    assert expanded == [0, 1, 4]  # 1 (.6) before 2 (.5), then 4 (.9), whose children are both complete
    assert found.states.node.tolist() == [9, 10]
    assert found.states.node[found.best[0]] == 10
    assert found.expansions.tolist() == [3, 3]


def test_best_first_by_product_turns_back():
    found, expanded = run(BestFirst(num_candidates=2, num_solutions=9, scoring=Scoring(aggregation="product")))
    # 1: .6, 2: .5; 1's children .12 and .54; 4 (.54) before 2 (.5); then 5 (.4), 6 (.35), 3 (.12)
    assert expanded == [0, 1, 4, 2, 5, 6, 3]
    assert found.value[found.best[0]] == pytest.approx(0.6 * 0.9 * 0.95)


def test_beam_of_two():
    found, expanded = run(Beam(width=2, num_candidates=2, num_solutions=9))
    assert expanded == [0, 1, 2, 4, 5]  # the level below is 3, 4, 5, 6: keep 4 (.9) and 5 (.8)
    assert found.states.node.tolist() == [9, 10, 11]


def test_dvts_is_greedy():
    found, expanded = run(DVTS(num_trees=1, num_candidates=2))
    assert expanded == [0, 1, 4]
    assert found.states.node.tolist() == [10]


def test_gates_cut_low_and_falling_steps():
    found, expanded = run(BestFirst(num_candidates=2, num_solutions=9, scoring=Scoring(min_score=0.55)))
    assert expanded == [0, 1, 4]  # 2 (.5) and 3 (.2) fall below .55, so does 9 (.4)
    assert found.states.node.tolist() == [10]
    found, expanded = run(BestFirst(num_candidates=2, num_solutions=9, scoring=Scoring(require_improvement=True)))
    assert expanded == [0, 1, 4, 2]  # 3 (.2) falls below 1 (.6); 5 and 6 are expanded, but all their children fall
    assert found.cost["expansions"][0] == 6
    assert found.states.node.tolist() == [10]


def test_sibling_z_scores_compare_choices_not_parents():
    settings = BestFirst(num_candidates=2, scoring=Scoring(normalise_siblings=True))
    found, _ = run(settings, expansions=2)
    values = {
        int(n): v for n, v in zip(found.tree.states(np.arange(len(found.tree))).node, found.tree.value, strict=True)
    }
    assert [values[n] for n in (1, 2, 3, 4)] == pytest.approx([1.0, -1.0, -1.0, 1.0])


def test_a_budget_of_two_expansions_expands_two():
    found, expanded = run(BestFirst(num_candidates=2), expansions=2)
    assert expanded == [0, 1]
    assert found.best[0] == -1 and not found.exhausted[0]
    found, expanded = run(BestFirst(num_candidates=2), proposals=5)
    assert expanded == [0, 1] and found.cost["proposals"][0] == 4


@pytest.mark.parametrize("score", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize(
    "settings",
    [
        BestFirst(num_candidates=2),
        Beam(width=2, num_candidates=2),
        DVTS(num_trees=2, num_candidates=2),
        BestOfN(num_samples=2),
        Particles(num_particles=2, potential="exponential"),
    ],
    ids=lambda settings: settings.kind,
)
def test_a_score_that_is_not_finite_is_refused_alike_by_every_search(settings, score):
    """−∞ closed a node in best-first search, was a low value in a beam, and made particles divide ∞ by ∞."""
    domain = TableTree(TREE)
    odd = ReadScore(Tables(CHILDREN, np.where(np.isin(np.arange(15), (1, 2)), score, SCORE), STATUS))
    with pytest.raises(ValueError, match="Expected finite scores"):
        settings(
            domain.roots(1), domain=domain, proposer=TreeProposer(TREE), reward=odd,
            budget=Cost.limit(expansions=9), rng=Rng.from_seed(0, 1, "golden"),
        )  # fmt: skip
