"""The contracts as checks: each raises AssertionError with what was broken. Run them on a plug-in of yours.

They look at behaviour only: shapes, row order, independence of rows, determinism, and that inputs stay as they were.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from stepward.core.batch import Batch, repeat
from stepward.core.cost import Cost
from stepward.core.interfaces import Domain, Proposer, RewardModel, Search, Status
from stepward.core.seeding import Rng


def check_domain(domain: Domain, states: Batch) -> None:
    """`states`: at least three states, of at least two problems."""
    n = len(states)
    assert n >= 3 and len(np.unique(states.problem)) >= 2, "give at least three states of at least two problems"
    order = np.arange(n)[::-1]
    for name in ("status", "keys", "step_tokens"):
        values = getattr(domain, name)(states)
        assert np.shape(values) == (n,), f"{name}: expected shape ({n},), got {np.shape(values)}"
        assert np.array_equal(getattr(domain, name)(states.take(order)), values[order]), f"{name}: rows depend on order"
    assert np.isin(domain.status(states), list(Status)).all(), "status: expected values of Status"
    assert domain.keys(states).dtype == np.uint64, "keys: expected uint64"
    assert (domain.step_tokens(states) >= 0).all(), "step_tokens: expected at least 0"
    both = type(states).concat([states, states.take(order)])
    assert len(both) == 2 * n and np.array_equal(both.problem[n:], states.problem[order]), "concat or take lose rows"
    assert len(states.take(np.zeros(0, np.int64))) == 0, "take: no indices must give no states"
    assert len(states.take(np.arange(n) < 2)) == 2, "take: expected boolean masks to work"


def check_proposer(proposer: Proposer, domain: Domain, states: Batch, *, num_candidates: int) -> None:
    """`states`: at least three open states, of at least two problems."""
    n, k = len(states), num_candidates
    assert n >= 3 and len(np.unique(states.problem)) >= 2, "give at least three states of at least two problems"
    assert (domain.status(states) == Status.OPEN).all(), "give open states"
    assert proposer.num_parameters >= 0 and proposer.nfe >= 0, "num_parameters and nfe: expected at least 0"
    before = domain.keys(states).copy()
    children = proposer.propose(states, num_candidates=k, rng=_streams(n))
    assert len(children) == n * k, f"propose: expected {n} x {k} children, got {len(children)}"
    assert np.array_equal(children.problem, np.repeat(states.problem, k)), "propose: children change their problem"
    assert np.array_equal(domain.keys(states), before), "propose: the parents were changed in place"
    again = proposer.propose(states, num_candidates=k, rng=_streams(n))
    assert np.array_equal(domain.keys(again), domain.keys(children)), "propose: the same streams give other children"
    some = np.array([n - 1, 0])
    fewer = proposer.propose(states.take(some), num_candidates=k, rng=_streams(n).take(some))
    rows = (some[:, None] * k + np.arange(k)).ravel()
    assert np.array_equal(domain.keys(fewer), domain.keys(children)[rows]), "propose: a row depends on its neighbours"


def check_reward(reward: RewardModel, domain: Domain, parents: Batch, children: Batch, *, tolerance: float = 0) -> None:
    """`parents`, `children`: at least three steps. `tolerance`: absolute, where rounding depends on the batch."""
    n = len(children)
    assert n >= 3 and len(parents) == n, "give at least three steps"
    assert reward.num_parameters >= 0, "num_parameters: expected at least 0"
    scores = np.asarray(reward.score(parents, children))
    assert scores.shape == (n,), f"score: expected shape ({n},), got {scores.shape}"
    assert not np.isnan(scores).any(), "score: NaN"
    order = np.arange(n)[::-1]
    turned = np.asarray(reward.score(parents.take(order), children.take(order)))
    assert np.allclose(turned, scores[order], rtol=0, atol=tolerance), "score: rows depend on order"
    one = np.asarray(reward.score(parents.take(order[:1]), children.take(order[:1])))
    assert np.allclose(one, scores[-1:], rtol=0, atol=tolerance), "score: a row depends on its neighbours"
    none = np.zeros(0, np.int64)
    assert np.shape(reward.score(parents.take(none), children.take(none))) == (0,), "score: no steps, no scores"


def check_search(
    search: Search, domain: Domain, proposer: Proposer, reward: RewardModel, roots: Batch, *, expansions: int = 12
) -> None:
    """`roots`: at least two problems. `proposer` and `search` must agree on the number of candidates."""
    n = len(roots)
    assert n >= 2, "give at least two problems"
    parts: dict[str, Any] = {
        "domain": domain,
        "proposer": proposer,
        "reward": reward,
        "budget": Cost.limit(expansions=expansions),
    }
    found = search(roots, rng=_streams(n), **parts)
    assert (found.cost["expansions"] <= expansions).all(), "budget: more expansions than allowed"
    assert (domain.status(found.states) == Status.COMPLETE).all(), "solutions: expected complete states only"
    assert np.array_equal(found.states.problem, found.problem), "solutions: problem differs from the states'"
    for p in range(n):
        mine = found.value[found.problem == p]
        assert (found.best[p] >= 0) == (len(mine) > 0), "best: expected -1 exactly where there is no solution"
        assert not len(mine) or found.value[found.best[p]] == mine.max(), "best: not the solution of highest value"
    alone = search(roots.take(np.array([n - 1])), rng=_streams(n).take(np.array([n - 1])), **parts)
    same = found.problem == n - 1
    assert np.array_equal(alone.value, found.value[same]), "a problem's result depends on the problems beside it"
    assert alone.cost["proposals"][0] == found.cost["proposals"][n - 1], "a problem's cost depends on its neighbours"


def children_of(states: Batch, proposer: Proposer, num_candidates: int) -> tuple[Batch, Batch]:
    """Steps to score in a test: (parents repeated, children)."""
    children = proposer.propose(states, num_candidates=num_candidates, rng=_streams(len(states)))
    return repeat(states, num_candidates), children


def _streams(num: int) -> Rng:
    return Rng.from_seed(7, num, "contract")
