"""Searches that compose a child of K candidates, and what chooses one by itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pde_world import roots, surrogate
from stepward.core.cost import Cost
from stepward.core.interfaces import WORST
from stepward.core.seeding import Rng
from stepward.core.wing import find_wing
from stepward.domains.pde.combine import refine
from stepward.domains.pde.generators import StructuredGenerator, StructuredSettings
from stepward.domains.pde.rewards import NearMeanSettings, NoRewardSettings
from stepward.domains.pde.states import PDE, advance
from stepward.rewards import Lookahead
from stepward.rewards.aggregation import sibling_leads
from stepward.search import Beam
from stepward.search.composing import MeanOfK, Patchwork, WeightedMean, softmax_weights
from stepward.search.greedy import Greedy


class Levels:
    """Candidates with the constant fields 0, 1, …, K − 1, the deterministic output 0; one of them may blow up."""

    num_parameters = 0
    nfe = 1

    def __init__(self, broken=None):
        self.broken = broken

    def propose(self, states, *, num_candidates, rng):
        n, k = len(states), num_candidates
        values = np.tile(np.arange(k, dtype=np.float32), n)[:, None, None, None]
        fields = np.broadcast_to(values, (n * k, *states.fields.shape[1:])).copy()
        if self.broken is not None:
            fields[self.broken :: k] = np.nan
        parents = states.take(np.repeat(np.arange(n), k))
        return advance(parents, fields, np.zeros_like(fields), rng.repeat(k).keys)


class Scores:
    """Given scores of the K candidates of every state, by their level."""

    num_parameters = 0

    def __init__(self, *scores):
        self.scores, self.asked = np.asarray(scores, np.float64), 0

    def score(self, parents, children):
        self.asked += len(children)
        with np.errstate(invalid="ignore"):
            level = children.fields[:, 0, 0, 0].astype(np.int64)
        return np.where(np.isfinite(children.fields[:, 0, 0, 0]), self.scores[np.clip(level, 0, 9)], WORST)


UNSCORED = NoRewardSettings().build(PDE())


def first(search, proposer, reward=UNSCORED, **parts):
    """The first step of every rollout: one number a problem, the level of its fields."""
    return steps(search, proposer, reward, **parts).states(np.arange(4, 8)).fields


def steps(search, proposer, reward=UNSCORED, expansions=1):
    return search(
        roots(), domain=PDE(), proposer=proposer, reward=reward, budget=Cost.limit(expansions=expansions),
        rng=Rng.from_seed(0, 4, "x"), keep_tree=True,
    ).tree  # fmt: skip


def levels(*parts, **settings):
    return first(*parts, **settings)[:, 0, 0, 0]


def greedy(proposer, reward, k):
    return Greedy(proposer, reward, PDE(), k).propose(roots(), num_candidates=1, rng=Rng.from_seed(0, 4, "x"))


def test_the_mean_of_the_candidates_and_the_one_nearest_to_it():
    assert (levels(MeanOfK(num_candidates=5), Levels()) == 2).all()
    assert (greedy(Levels(), NearMeanSettings().build(PDE()), 5).fields[:, 0, 0, 0] == 2).all()


def test_a_candidate_that_blew_up_has_no_part_in_any():
    assert (levels(MeanOfK(num_candidates=5), Levels(broken=4)) == 1.5).all()
    assert np.isin(greedy(Levels(broken=4), NearMeanSettings().build(PDE()), 5).fields[:, 0, 0, 0], (1, 2)).all()
    assert (greedy(Levels(broken=2), Scores(0, 1, 9), 3).fields[:, 0, 0, 0] == 1).all()
    assert np.allclose(levels(WeightedMean(num_candidates=3), Levels(broken=2), Scores(0, 0, 9)), 0.5)
    patches = Patchwork(num_candidates=3, temperature=1.0)
    assert np.isfinite(first(patches, Levels(broken=2), Maps(0))).all()


def test_weights_between_the_argmax_and_the_mean():
    scores = Scores(0, 1, 2, 1, 0)
    cold, hot = (levels(WeightedMean(num_candidates=5, temperature=t), Levels(), scores) for t in (1e-3, 1e6))
    assert np.allclose(cold, 2) and np.allclose(hot, 2)
    skew = Scores(0, 0, 0, 4)
    z = (np.array([0, 0, 0, 4]) - 1) / np.sqrt(3)
    weights = np.exp(z / 0.5) / np.exp(z / 0.5).sum()
    assert np.allclose(levels(WeightedMean(num_candidates=4), Levels(), skew), weights @ np.arange(4))


@given(arrays(np.int64, (3, 5), elements=st.integers(-50, 50)).map(lambda a: a / 8), st.floats(0.05, 10))
def test_weights_sum_to_one_and_follow_the_scores(scores, temperature):
    weights = softmax_weights(scores, scores > WORST, temperature)
    assert np.allclose(weights.sum(axis=1), 1) and (weights >= 0).all()
    order = np.argsort(scores, axis=1)
    assert (np.diff(np.take_along_axis(weights, order, axis=1)) >= -1e-12).all()
    assert np.allclose(softmax_weights(3 * scores + 1, scores > WORST, temperature), weights, atol=1e-6)


def test_weights_of_nothing_but_failures_are_equal():
    assert np.allclose(softmax_weights(np.full((1, 4), WORST), np.zeros((1, 4), bool), 1.0), 0.25)


def test_the_lead_is_in_standard_deviations():
    scores, sets = np.array([0.0, 0, 0, 4, 1, 1, 1, 1, 7]), np.array([0, 0, 0, 0, 1, 1, 1, 1, 2])
    expected = [4 / np.sqrt(3)] * 4 + [0] * 4 + [np.inf]
    assert sibling_leads(scores, sets) == pytest.approx(expected)


def ahead(margin):
    """A lookahead of one step whose inner reward says something else of the step to come."""
    own = Scores(0.0, 0.1, 9.0)
    return own, Lookahead(own, Levels(), PDE(), depth=1, margin=margin)


def test_a_clear_lead_needs_no_lookahead():
    own, clear = ahead(1.0)
    assert (greedy(Levels(), clear, 3).fields[:, 0, 0, 0] == 2).all() and own.asked == 4 * 3
    own, always = ahead(None)
    greedy(Levels(), always, 3)
    assert own.asked == 2 * 4 * 3, "all candidates are rolled forward, and scored again"
    own, unsure = ahead(5.0)
    greedy(Levels(), unsure, 3)
    assert own.asked == 2 * 4 * 3, "all siblings, or none: sums are never compared with single rewards"


class Maps(Scores):
    """Left half: candidate 0 best; right half: candidate 2."""

    def score_map(self, parents, children):
        level = children.fields[:, 0, 0, 0][:, None, None]
        left = np.arange(8)[None, None, :] < 4
        return np.where(left, -level, -np.abs(level - 2)) * np.ones((1, 8, 8))


def test_a_patchwork_takes_each_patch_from_its_best_candidate():
    fields = first(Patchwork(num_candidates=4, patch=8, smooth=False), Levels(), Maps(0))
    assert (fields[..., :8] == 0).all() and (fields[..., 8:] == 2).all()


def test_a_smooth_patchwork_has_no_seam_and_the_same_mean():
    fields = first(Patchwork(num_candidates=4, patch=8), Levels(), Maps(0))
    assert np.abs(np.diff(fields, axis=3)).max() <= 2 / 8 + 1e-6
    assert np.allclose(fields.mean(axis=(2, 3)), 1.0)


def test_refined_weights_sum_to_one_everywhere():
    weights = np.random.default_rng(0).dirichlet(np.ones(3), (2, 4, 2)).transpose(0, 3, 1, 2)
    for smooth in (True, False):
        fine = refine(weights, 4, smooth=smooth)
        assert fine.shape == (2, 3, 16, 8) and np.allclose(fine.sum(axis=1), 1) and (fine >= 0).all()


def test_a_patchwork_needs_a_map_and_patches_that_divide():
    with pytest.raises(ValueError, match="score map"):
        steps(Patchwork(num_candidates=4), Levels(), Scores(0))
    with pytest.raises(ValueError, match="divides the grid"):
        steps(Patchwork(num_candidates=4, patch=5), Levels(), Maps(0))
    with pytest.raises(ValueError, match="greater than or equal to 2"):
        MeanOfK(num_candidates=1)


def test_words_cannot_be_mixed():
    walk = find_wing("walk")
    states = walk.states(walk.problems(num_test=2).problems("test", 0)[0])
    parts = {"proposer": walk.proposers["softmax"]().build(), "reward": walk.rewards["distance"]().build(walk.domain)}
    with pytest.raises(ValueError, match="states can be mixed, but 'walk'"):
        MeanOfK()(states, domain=walk.domain, budget=Cost.limit(expansions=2), rng=Rng.from_seed(0, 2, "x"), **parts)


def test_all_candidates_and_all_scores_are_charged_once():
    for search in (WeightedMean(num_candidates=4), Patchwork(num_candidates=4)):
        found = search(
            roots(), domain=PDE(), proposer=Levels(), reward=Maps(0, 1, 2, 3), budget=Cost.limit(expansions=4),
            rng=Rng.from_seed(0, 4, "x"),
        )  # fmt: skip
        for kind in ("proposals", "nfe", "scored"):
            assert (found.cost[kind] == 16).all(), kind


def test_what_chooses_and_what_composes_meet_the_same_candidates():
    generator = StructuredGenerator(surrogate(), StructuredSettings())
    chosen = steps(Beam(width=1, num_candidates=6, deduplicate=False), generator)
    mean = first(MeanOfK(num_candidates=6), generator)
    candidates = chosen.states(np.arange(4, 28)).fields.reshape(4, 6, *mean.shape[1:])
    assert np.allclose(candidates.mean(axis=1), mean, atol=1e-6)


def test_a_greedy_choice_is_one_of_the_candidates_and_keeps_its_identity():
    generator = StructuredGenerator(surrogate(), StructuredSettings())

    def choose():
        policy = Greedy(generator, NearMeanSettings().build(PDE()), PDE(), 6)
        return PDE().keys(policy.propose(roots(), num_candidates=2, rng=Rng.from_seed(0, 4, "x")))

    assert np.array_equal(choose(), choose()) and len(np.unique(choose())) == 8
    with pytest.raises(ValueError, match="2 candidates"):
        Greedy(generator, UNSCORED, PDE(), 1)
