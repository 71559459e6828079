"""The one loop behind every search.

    select nodes → propose children → drop duplicates → score → aggregate and gate → append to the tree → update

A selection rule decides which nodes are expanded next; the loop does everything else, for all problems in lockstep.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NotRequired, Protocol, TypedDict

import numpy as np
from jaxtyping import Bool, Float, Int

from stepward.core.batch import Batch
from stepward.core.cost import KINDS, Cost, Ledger, metered_proposer, metered_reward
from stepward.core.interfaces import WORST, Domain, Proposer, RewardModel, Status
from stepward.core.seeding import Rng
from stepward.search.scoring import Scoring, initial_path_state, passes_gates, path_values
from stepward.search.seen import SeenStates
from stepward.search.tree import Tree

Compose = Callable[[Any, Any, Float[np.ndarray, " m"]], tuple[Any, Float[np.ndarray, " n"]]]
SELECTION_STREAM = -1  # tag of the streams a selection rule draws from; expansions are tagged 0, 1, 2, …


class SelectionRule(Protocol):
    """What distinguishes one search from another. Built by a `Rule` factory for the P problems of one run."""

    def select(self, tree: Tree, active: Bool[np.ndarray, " p"]) -> Int[np.ndarray, " n"]:
        """Nodes to expand next, only of active problems and grouped by problem. A node listed twice is expanded twice.

        A problem that is active and gets no node is finished.
        """
        ...

    def num_candidates(self, tree: Tree) -> int:
        """Children to propose of every selected node in this round."""
        ...

    def update(self, tree: Tree, nodes: Int[np.ndarray, " m"], origin: Int[np.ndarray, " m"]) -> Int[np.ndarray, " s"]:
        """Take note of the children that survived; `origin` is the position of each one's parent in the selection.

        Returns the nodes that the search keeps: the complete ones among them are its solutions.
        """
        ...


@dataclass(frozen=True)
class SearchResult:
    """What a search over P problems found. Nothing here says whether a solution is right.

    Attributes:
        states: the m complete states found, in the order they were found.
        problem: problem of each solution, [m].
        value: value of each solution, [m].
        expansions: expansions its problem had spent when the solution was found, that expansion included, [m].
        weight: weight of each solution for a weighted vote; particles set it, elsewhere it is 1, [m].
        best: index of each problem's solution of highest value (the first found among equals), -1 if none, [P].
        cost: kind of cost -> amount spent by each problem, [P].
        exhausted: problems that ended because nothing was left to expand, [P].
        tree: the search tree, if it was asked for.
    """

    states: Any
    problem: Int[np.ndarray, " m"]
    value: Float[np.ndarray, " m"]
    expansions: Float[np.ndarray, " m"]
    weight: Float[np.ndarray, " m"]
    best: Int[np.ndarray, " p"]
    cost: dict[str, Float[np.ndarray, " p"]]
    exhausted: Bool[np.ndarray, " p"]
    tree: Tree | None = field(default=None, repr=False)


class Parts(TypedDict):
    """What every search hands on to `run_search`."""

    domain: Domain
    proposer: Proposer
    reward: RewardModel
    budget: Cost
    rng: Rng
    keep_tree: NotRequired[bool]
    on_round: NotRequired[Callable[[Ledger], None] | None]


def run_search(
    problems: Batch,
    *,
    domain: Domain,
    proposer: Proposer,
    reward: RewardModel,
    budget: Cost,
    rng: Rng,
    rule: Callable[[Tree, Rng], SelectionRule],
    scoring: Scoring,
    num_solutions: int = 1,
    deduplicate: bool = False,
    compose: Compose | None = None,
    keep_tree: bool = False,
    on_round: Callable[[Ledger], None] | None = None,
) -> SearchResult:
    """Search all problems in lockstep until each has enough solutions, nothing left to expand, or no budget.

    Args:
        problems: root states, one a problem.
        domain, proposer, reward: what to search; their work is metered.
        budget: limits for each problem. None is ever exceeded, but for seconds: a round that would end above a limit is
            taken back, and the search of that problem is over; what was found is found within the limits.
        rng: one stream a problem. A problem's result does not depend on which others are searched beside it.
        rule: makes the selection rule, given the planted tree and random streams of its own, one a problem.
        scoring: aggregation, normalisation and gates.
        num_solutions: a problem is finished when so many complete states were found.
        deduplicate: drop children whose state (domain key) was already reached in the same problem.
        compose: (parents [n], their scored children [n * k], scores) -> one child of each parent made of them, and its
            score; it takes the place of the k.
        keep_tree: hand back the tree, for pictures and tests.
        on_round: called after every round, for progress displays.

    Returns:
        Solutions with their costs. Ties are broken in favour of the node that was made first.
    """
    num = len(problems)
    proposer, reward = metered_proposer(proposer, domain), metered_reward(reward, domain)
    planted = _number(problems)
    tree = Tree(planted, domain.status(planted), initial_path_state(scoring, num))
    policy = rule(tree, rng.fork(SELECTION_STREAM))
    solutions = _Solutions(tree)
    seen = SeenStates(planted.problem, domain.keys(planted)) if deduplicate else None
    ledger, exhausted, spent_out = Ledger(num), np.zeros(num, bool), np.zeros(num, bool)
    measured = [kind for kind in budget.limited if kind not in ("expansions", "seconds")]  # known after a round only
    solutions.add(np.flatnonzero(tree.status == Status.COMPLETE), ledger)
    with ledger.recording():
        while True:
            active = (solutions.count < num_solutions) & ~exhausted & ~spent_out & ledger.within(budget)
            nodes = policy.select(tree, active)
            exhausted |= active & (np.bincount(tree.problem[nodes], minlength=num) == 0)
            k = policy.num_candidates(tree)
            chosen, serial = _within_budget(tree.problem[nodes], k, ledger, budget)
            if not len(chosen):
                break
            before = {kind: ledger.spent[kind].copy() for kind in KINDS if measured and kind != "seconds"}
            expanded = tree.states(nodes[chosen])
            children = _propose(expanded, serial, k, proposer, rng, ledger)
            source = np.repeat(np.arange(len(chosen)), k)
            if seen is not None:
                fresh = seen.admit(children.problem, domain.keys(children))
                children, source = children.take(fresh), source[fresh]
            scores = _finite(reward.score(expanded.take(source), children)) if len(source) else np.zeros(0)
            if compose is not None:
                (children, scores), source = compose(expanded, children, scores), np.arange(len(chosen))
            over = ledger.above(budget, measured)
            if over.any():
                spent_out |= over
                ledger.take_back(over, before)
                keep = np.flatnonzero(~over[children.problem])
                children, scores, source = children.take(keep), scores[keep], source[keep]
            new, kept = _grow(tree, nodes[chosen][source], source, children, scores, domain, scoring)
            accepted = policy.update(tree, new, chosen[source[kept]])
            solutions.add(accepted[tree.status[accepted] == Status.COMPLETE], ledger)
            if on_round is not None:
                on_round(ledger)
    return solutions.result(ledger, exhausted, getattr(policy, "weights", None), tree if keep_tree else None)


def _number(problems: Batch) -> Batch:
    """Roots with their problem index set to their position, which is how the loop addresses problems."""
    if np.array_equal(problems.problem, np.arange(len(problems))):
        return problems
    return problems.replace(problem=np.arange(len(problems)))


def _within_budget(
    problem: Int[np.ndarray, " n"], k: int, ledger: Ledger, budget: Cost
) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
    """Positions in the selection that the remaining expansions and proposals allow, with each one's serial number.

    The serial number counts the expansions of a problem; the random stream of an expansion is made from it.
    """
    rank = rank_within(problem)
    serial = ledger.spent["expansions"][problem] + rank
    allowed = (serial < budget.expansions) & (ledger.spent["proposals"][problem] + (rank + 1) * k <= budget.proposals)
    chosen = np.flatnonzero(allowed)
    return chosen, serial[chosen].astype(np.int64)


def _propose(states: Batch, serial: np.ndarray, k: int, proposer: Proposer, rng: Rng, ledger: Ledger) -> Batch:
    ledger.charge(states.problem, expansions=1.0)
    return proposer.propose(states, num_candidates=k, rng=rng.take(states.problem).fork(serial))


def _finite(scores: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Scores that every rule can compare; −∞ would close a node in one search and be a low value in another."""
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise ValueError(
            f"Expected finite scores, got {scores[bad[0]]:g} for {len(bad)} of {len(scores)} children. A step that "
            f"must not be taken scores {WORST:g} (core.interfaces.WORST) or falls below a gate (scoring.min_score)."
        )
    return scores


def _grow(
    tree: Tree,
    parents: Int[np.ndarray, " n"],
    siblings: Int[np.ndarray, " n"],
    children: Batch,
    scores: Float[np.ndarray, " n"],
    domain: Domain,
    scoring: Scoring,
) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
    """Append the children that pass the gates; returns their nodes and which rows they were."""
    kept = np.flatnonzero(passes_gates(tree, parents, scores, scoring))
    if len(kept) < len(scores):
        children, parents, siblings, scores = children.take(kept), parents[kept], siblings[kept], scores[kept]
    value, path_state = path_values(tree, parents, siblings, scores, scoring)
    status = domain.status(children)
    nodes = tree.append(children, parents, score=scores, value=value, path_state=path_state, status=status)
    return nodes, kept


class _Solutions:
    """Complete nodes in the order they were found, and how many each problem has."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.count = np.zeros(tree.num_problems, np.int64)
        self._nodes: list[np.ndarray] = []
        self._expansions: list[np.ndarray] = []

    def add(self, nodes: Int[np.ndarray, " m"], ledger: Ledger) -> None:
        problem = self.tree.problem[nodes]
        self.count += np.bincount(problem, minlength=len(self.count))
        self._nodes.append(nodes)
        self._expansions.append(ledger.spent["expansions"][problem])

    def result(
        self,
        ledger: Ledger,
        exhausted: np.ndarray,
        weights: Callable[[np.ndarray], np.ndarray] | None,
        tree: Tree | None,
    ) -> SearchResult:
        nodes = np.concatenate(self._nodes)
        problem, value = self.tree.problem[nodes], self.tree.value[nodes]
        best = np.full(self.tree.num_problems, -1, np.int64)
        order = np.lexsort((-np.arange(len(nodes)), value))  # the last write wins: highest value, then first found
        best[problem[order]] = order
        return SearchResult(
            states=self.tree.states(nodes),
            problem=problem,
            value=value,
            expansions=np.concatenate(self._expansions),
            weight=np.ones(len(nodes)) if weights is None else weights(nodes),
            best=best,
            cost=dict(ledger.spent),
            exhausted=exhausted,
            tree=tree,
        )


def rank_within(group: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Position of each row among the rows of its group, for rows that are grouped together."""
    if not len(group):
        return np.zeros(0, np.int64)
    starts = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
    return np.arange(len(group)) - np.repeat(starts, np.diff(np.r_[starts, len(group)]))
