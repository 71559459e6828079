import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pde_world import roots, surrogate
from stepward.core.cost import Cost, Ledger
from stepward.core.seeding import Rng
from stepward.domains.pde.generators import (
    MeanOfK,
    NearestToMean,
    Patchwork,
    Select,
    StructuredGenerator,
    StructuredSettings,
    WeightedMean,
)
from stepward.domains.pde.generators.composing import lead, refine, softmax_weights
from stepward.domains.pde.rewards import WORST, NoRewardSettings
from stepward.domains.pde.states import PDE, advance
from stepward.search import Beam


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


def run(composing):
    return composing.propose(roots(), num_candidates=1, rng=Rng.from_seed(0, 4, "x")).fields[:, 0, 0, 0]


def test_select_takes_the_highest_score():
    assert (run(Select(Levels(), Scores(-3, -1, -2), PDE(), 3)) == 1).all()


def test_the_mean_and_the_nearest_to_it():
    assert (run(MeanOfK(Levels(), PDE(), 5)) == 2).all() and (run(NearestToMean(Levels(), PDE(), 5)) == 2).all()


def test_a_candidate_that_blew_up_has_no_part_in_any():
    assert (run(MeanOfK(Levels(broken=4), PDE(), 5)) == 1.5).all()
    assert np.isin(run(NearestToMean(Levels(broken=4), PDE(), 5)), (1, 2)).all()
    assert (run(Select(Levels(broken=2), Scores(0, 1, 9), PDE(), 3)) == 1).all()
    weighted = run(WeightedMean(Levels(broken=2), Scores(0, 0, 9), PDE(), 3))
    assert np.allclose(weighted, 0.5)


def test_weights_between_the_argmax_and_the_mean():
    scores = Scores(0, 1, 2, 1, 0)
    cold, hot = (run(WeightedMean(Levels(), scores, PDE(), 5, temperature=t)) for t in (1e-3, 1e6))
    assert np.allclose(cold, 2) and np.allclose(hot, 2)
    skew = Scores(0, 0, 0, 4)
    z = (np.array([0, 0, 0, 4]) - 1) / np.sqrt(3)
    weights = np.exp(z / 0.5) / np.exp(z / 0.5).sum()
    assert np.allclose(run(WeightedMean(Levels(), skew, PDE(), 4, temperature=0.5)), weights @ np.arange(4))


@given(arrays(np.int64, (3, 5), elements=st.integers(-50, 50)).map(lambda a: a / 8), st.floats(0.05, 10))
def test_weights_sum_to_one_and_follow_the_scores(scores, temperature):
    weights = softmax_weights(scores, temperature)
    assert np.allclose(weights.sum(axis=1), 1) and (weights >= 0).all()
    order = np.argsort(scores, axis=1)
    assert (np.diff(np.take_along_axis(weights, order, axis=1)) >= -1e-12).all()
    assert np.allclose(softmax_weights(3 * scores + 1, temperature), weights, atol=1e-6)


def test_weights_of_nothing_but_failures_are_equal():
    assert np.allclose(softmax_weights(np.full((1, 4), WORST), 1.0), 0.25)


def test_lookahead_is_asked_about_all_candidates_or_none():
    """Added to the top candidates only, sums are compared with single rewards: with negative ones the others win."""
    own, ahead = Scores(-1.0, -1.1, -5.0), Scores(-2.0, -1.5, -9.0)
    assert (run(Select(Levels(), own, PDE(), 3, refined=ahead, margin=10.0)) == 1).all()
    assert ahead.asked == 4 * 3
    # what the defect would choose: candidate 2, whose single reward beats the sums of the other two
    assert np.argmax([-2.0 - 1.0, -1.5 - 1.1, -1.2]) == 2


def test_a_clear_lead_needs_no_lookahead():
    own, ahead = Scores(0.0, 0.1, 9.0), Scores(9.0, 0.0, 0.0)
    assert (run(Select(Levels(), own, PDE(), 3, refined=ahead, margin=1.0)) == 2).all() and ahead.asked == 0
    assert (run(Select(Levels(), own, PDE(), 3, refined=ahead)) == 0).all()


def test_the_lead_is_in_standard_deviations():
    assert lead(np.array([[0.0, 0, 0, 4], [1, 1, 1, 1]])) == pytest.approx([4 / np.sqrt(3), 0])


class Maps(Scores):
    """Left half: candidate 0 best; right half: candidate 2."""

    def score_map(self, parents, children):
        level = children.fields[:, 0, 0, 0][:, None, None]
        left = np.arange(8)[None, None, :] < 4
        return np.where(left, -level, -np.abs(level - 2)) * np.ones((1, 8, 8))


def test_a_patchwork_takes_each_patch_from_its_best_candidate():
    child = Patchwork(Levels(), Maps(0), PDE(), 4, patch=8, smooth=False)
    fields = child.propose(roots(), num_candidates=1, rng=Rng.from_seed(0, 4, "x")).fields
    assert (fields[..., :8] == 0).all() and (fields[..., 8:] == 2).all()


def test_a_smooth_patchwork_has_no_seam_and_the_same_mean():
    child = Patchwork(Levels(), Maps(0), PDE(), 4, patch=8, smooth=True)
    fields = child.propose(roots(), num_candidates=1, rng=Rng.from_seed(0, 4, "x")).fields
    assert np.abs(np.diff(fields, axis=3)).max() <= 2 / 8 + 1e-6
    assert np.allclose(fields.mean(axis=(2, 3)), 1.0)


def test_refined_weights_sum_to_one_everywhere():
    weights = np.random.default_rng(0).dirichlet(np.ones(3), (2, 4, 2)).transpose(0, 3, 1, 2)
    for smooth in (True, False):
        fine = refine(weights, 4, smooth=smooth)
        assert fine.shape == (2, 3, 16, 8) and np.allclose(fine.sum(axis=1), 1) and (fine >= 0).all()


def test_a_patchwork_needs_a_map_and_patches_that_divide():
    with pytest.raises(ValueError, match="score map"):
        Patchwork(Levels(), Scores(0), PDE(), 4)
    with pytest.raises(ValueError, match="divides the grid"):
        run(Patchwork(Levels(), Maps(0), PDE(), 4, patch=5))
    with pytest.raises(ValueError, match="2 candidates"):
        MeanOfK(Levels(), PDE(), 1)


def test_all_candidates_and_all_scores_are_charged_once():
    child = Select(Levels(), Scores(0, 1, 2, 3), PDE(), 4)
    search = Beam(width=1, num_candidates=1)
    parts = {"proposer": child, "reward": NoRewardSettings().build(PDE()), "domain": PDE()}
    found = search(roots(), budget=Cost.limit(expansions=4), rng=Rng.from_seed(0, 4, "x"), **parts)
    assert (found.cost["proposals"] == 16).all() and (found.cost["nfe"] == 16).all()
    assert (found.cost["scored"] == 16 + 4).all()  # and the search's own reward once a step


def test_a_choice_is_one_of_the_candidates_and_keeps_its_identity():
    generator = StructuredGenerator(surrogate(), StructuredSettings())
    rng = Rng.from_seed(0, 4, "x")
    child = NearestToMean(generator, PDE(), 6).propose(roots(), num_candidates=2, rng=rng)
    with Ledger(4).recording():
        again = NearestToMean(generator, PDE(), 6).propose(roots(), num_candidates=2, rng=Rng.from_seed(0, 4, "x"))
    assert np.array_equal(PDE().keys(child), PDE().keys(again)) and len(np.unique(PDE().keys(child))) == 8
