"""Every search against a plain single-problem version of it, on every tiny tree hypothesis draws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepward.core.cost import Cost
from stepward.core.interfaces import Status
from stepward.core.seeding import Rng
from stepward.rewards.aggregation import aggregate
from stepward.search import DVTS, Beam, BestFirst, BestOfN, Particles, Scoring
from stepward.testing import ReadScore, Tables, TableTree, TreeProposer

from . import reference

trees = st.builds(
    lambda seed, branching, depth, ties: (
        reference.random_tables(np.random.default_rng(seed), branching, depth, ties),
        depth,
    ),
    st.integers(0, 2**32 - 1),
    st.integers(1, 3),
    st.integers(1, 4),
    st.booleans(),
)


def search(settings, tables: Tables, *, num_problems=3, **limits):
    domain = TableTree(tables)
    return settings(
        domain.roots(num_problems),
        domain=domain,
        proposer=TreeProposer(tables),
        reward=ReadScore(tables),
        budget=Cost.limit(**(limits or {"expansions": 10_000})),
        rng=Rng.from_seed(0, num_problems, "test"),
    )


def nodes_of(result, problem: int) -> list[int]:
    return result.states.node[result.problem == problem].tolist()


@settings(max_examples=40)
@given(trees, st.integers(1, 30), st.integers(1, 5), st.booleans())
def test_best_first_expands_what_a_heap_would(tree, expansions, num_solutions, deduplicate):
    tables, _ = tree
    settings = BestFirst(num_candidates=tables.children.shape[1], num_solutions=num_solutions, deduplicate=deduplicate)
    found = search(settings, tables, expansions=expansions)
    solutions, spent = reference.best_first(tables, expansions, num_solutions, deduplicate)
    for problem in range(3):
        mine = found.problem == problem
        pairs = list(zip(found.states.node[mine].tolist(), found.expansions[mine].astype(int).tolist(), strict=True))
        assert pairs == solutions
        assert found.cost["expansions"][problem] == spent


@settings(max_examples=40)
@given(trees, st.integers(1, 6))
def test_beam_keeps_what_sorting_each_level_would(tree, width):
    tables, depth = tree
    settings = Beam(width=width, num_candidates=tables.children.shape[1], num_solutions=10_000, deduplicate=False)
    found = search(settings, tables)
    assert nodes_of(found, 1) == reference.beam(tables, width, depth)


@settings(max_examples=40)
@given(trees)
def test_dvts_trees_are_greedy(tree):
    tables, depth = tree
    found = search(DVTS(num_trees=2, num_candidates=tables.children.shape[1]), tables)
    end = reference.dvts(tables, depth)
    assert nodes_of(found, 2) == ([] if end is None else [end, end] if end else [end])


@settings(max_examples=40)
@given(trees, st.sampled_from(["product", "min", "mean", "last", "sum"]))
def test_exhaustive_search_finds_the_best_path_by_every_aggregation(tree, name):
    tables, depth = tree
    paths = [path for path in reference.all_paths(tables, depth) if len(path) > 1]
    settings = BestFirst(
        num_candidates=tables.children.shape[1],
        num_solutions=10_000,
        deduplicate=False,
        scoring=Scoring(aggregation=name),
    )
    found = search(settings, tables)
    assert sorted(nodes_of(found, 0)) == sorted(path[-1] for path in reference.all_paths(tables, depth))
    if paths:
        scores = np.zeros((len(paths), depth))
        for row, path in enumerate(paths):
            scores[row, : len(path) - 1] = tables.score[path[1:]]
        best = aggregate(name, scores, np.array([len(path) - 1 for path in paths])).max()
        assert found.value[found.best[0]] == pytest.approx(best, rel=1e-12)


@settings(max_examples=40)
@given(trees, st.integers(1, 6))
def test_best_of_n_draws_whole_paths(tree, num_samples):
    tables, depth = tree
    found = search(BestOfN(num_samples=num_samples), tables)
    possible = {path[-1] for path in reference.all_paths(tables, depth)}
    for problem in range(3):
        nodes = nodes_of(found, problem)
        assert len(nodes) <= (1 if 0 in possible else num_samples)
        assert set(nodes) <= possible


@settings(max_examples=40)
@given(trees, st.integers(1, 8), st.floats(0, 1))
def test_particle_weights_are_shares_of_their_problem(tree, num_particles, ess_threshold):
    tables, _ = tree
    found = search(Particles(num_particles=num_particles, potential="exponential", ess_threshold=ess_threshold), tables)
    for problem in range(3):
        weights = found.weight[found.problem == problem]
        assert (weights >= 0).all()
        assert weights.sum() == pytest.approx(1.0) or weights.sum() == 0.0


@settings(max_examples=40)
@given(trees, st.integers(1, 25), st.sampled_from(["expansions", "proposals", "flops", "scored"]))
def test_budgets_are_hard(tree, limit, kind):
    tables, _ = tree
    branching = tables.children.shape[1]
    for kind_of_search in (
        BestFirst(num_candidates=branching, num_solutions=1000),
        Beam(width=4, num_candidates=branching, num_solutions=1000),
        DVTS(num_trees=3, num_candidates=branching),
        BestOfN(num_samples=5),
        Particles(num_particles=5, potential="exponential"),
    ):
        limit = limit * (30 if kind == "flops" else 1)  # a proposal is 20, a score 10
        found = search(kind_of_search, tables, **{kind: limit})
        assert (found.cost[kind] <= limit).all()
        assert (found.expansions <= found.cost["expansions"][found.problem]).all(), "found before the limit"
        assert (found.cost["scored"] <= found.cost["proposals"]).all()


def test_particles_follow_the_value_tilted_proposer():
    """One step, two children of value .8 and .2: the share of weight on each tends to value / sum of values."""
    tables = Tables(
        children=np.array([[1, 2], [0, 0], [0, 0]]),
        score=np.array([0.0, 0.8, 0.2]),
        status=np.array([Status.OPEN, Status.COMPLETE, Status.COMPLETE], np.int8),
    )
    num = 4000
    found = search(Particles(num_particles=num, ess_threshold=0.0), tables, num_problems=1)
    share = found.weight[found.states.node == 1].sum()
    standard_error = 0.8 * 0.2 / np.sqrt(num) / 0.5  # delta method for a ratio of means, at most
    assert abs(share - 0.8) < 4 * standard_error
