"""Guides judged on held-out states whose values are known."""

import numpy as np
import pytest
from tests.walk_artifacts import POLICY, make_labels, make_trained

from stepward.core.interfaces import Status
from stepward.core.rollout import complete, forked
from stepward.core.seeding import Rng
from stepward.core.wing import find_wing
from stepward.domains.walk.data import problem_table
from stepward.domains.walk.exact import ExactValues
from stepward.domains.walk.metrics import rebudget, situations
from stepward.domains.walk.proposer import SoftmaxWalker
from stepward.domains.walk.states import act, roots
from stepward.evaluate.guide_values import coverage_table, study_guide
from stepward.evaluate.held_out import SEEN, held_out, held_out_rows, label_rows
from stepward.evaluate.proposers import Proposers
from stepward.evaluate.settings import evaluate_settings
from stepward.evaluate.study_settings import DividendStudy, ValueStudy
from stepward.evaluate.values import top1_accuracy
from stepward.rewards.factory import Guides, load_trained

WING = find_wing("walk")
GUIDES = {
    "exact": {"kind": "exact"},
    "distance": {"kind": "distance"},
    "ahead": {"kind": "lookahead", "guide": "exact", "depth": 0},
}


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    return make_labels(tmp_path_factory.mktemp("labels"), num_train=60, num_test=60)


@pytest.fixture(scope="module")
def settings(labels):
    return evaluate_settings(WING)(
        store=labels.root,
        guides=GUIDES,
        values=ValueStudy(max_states=300, max_parents=150),
        dividend=DividendStudy(num_parents=300, num_candidates=(2, 4)),
    )


@pytest.fixture(scope="module")
def held(labels):
    return held_out(held_out_rows(labels.folder, WING, "test", 300, 0), WING)


def test_held_out_states_are_open_different_and_told_from_training_states(labels):
    rows = held_out_rows(labels.folder, WING, "test", 10_000, 0)
    states = WING.states(rows)
    assert (WING.domain.status(states) == Status.OPEN).all()
    triples = list(zip(states.current, states.target, states.steps_left, strict=True))
    assert len(set(triples)) == len(triples)
    train = WING.states(label_rows(labels.folder, "train"))
    known = set(zip(train.current, train.target, train.steps_left, strict=True))
    flags = rows[SEEN].to_pylist()
    assert flags == [triple in known for triple in triples]
    assert any(flags)
    assert not all(flags)
    fewer = held_out_rows(labels.folder, WING, "test", 50, 0)
    assert len(fewer) == 50
    assert set(fewer["id"].to_pylist()) <= set(rows["id"].to_pylist())


def test_a_split_without_labels_is_an_error(labels):
    with pytest.raises(ValueError, match="expected labels of split 'elsewhere', found none"):
        label_rows(labels.folder, "elsewhere")


def test_the_truth_is_a_perfect_guide_and_distance_is_not(held, settings):
    tables = {arm: study_guide(arm, held, settings, proposers=Proposers(WING, POLICY)) for arm in ("exact", "distance")}
    exact, distance = (tables[arm]["ranking"][0] for arm in ("exact", "distance"))
    assert exact["spearman"] == exact["sibling_spearman"] == exact["top1_accuracy"] == pytest.approx(1.0)
    assert exact["top1_regret"] == pytest.approx(0.0)
    assert distance["sibling_spearman_high"] < 1
    assert distance["top1_regret"] > 0
    assert "calibration" not in tables["distance"]  # its scores only rank
    [every, unseen] = tables["exact"]["calibration"]
    assert (every["states"], unseen["states"]) == ("all", "unseen")
    assert every["ece"] == every["brier_exact"] == 0.0
    # Monte-Carlo labels scatter around the truth with a known error, which the debiased score takes out again.
    variance = held.exact * (1 - held.exact) / 256
    error = np.sqrt(2 * np.sum(variance**2)) / len(held)
    assert abs(every["brier_monte_carlo"]) < 5 * error
    assert every["ece_monte_carlo_low"] == 0.0


def test_lookahead_of_depth_zero_is_the_guide_itself(held, settings):
    inner, outer = (Guides(settings.guides, store=settings.store, wing=WING)[arm] for arm in ("exact", "ahead"))
    np.testing.assert_array_equal(inner.score(held.states, held.states), outer.score(held.states, held.states))


def test_guides_that_look_ahead_in_a_circle_are_an_error():
    guides = {name: {"kind": "lookahead", "guide": other} for name, other in (("a", "b"), ("b", "a"))}
    chosen = evaluate_settings(WING)(guides=guides)
    with pytest.raises(ValueError, match="Unknown guide 'a'"):
        Guides(chosen.guides, store="artifacts", wing=WING)["a"]


def test_trained_guides_of_another_domain_are_refused(labels):
    folder = labels.folder / "other"
    folder.write_json("reward.json", {"kind": "mlp", "settings": {}, "domain": "math"})
    with pytest.raises(ValueError, match="expected a reward model of domain 'walk', got 'math'"):
        load_trained(folder, WING)
    folder.delete("")


def test_trained_guides_are_judged_before_and_after_calibration(labels, held, settings):
    trained = make_trained(labels.root, labels)
    guides = {
        "prm": {"kind": "trained", "artifact": "prm"},
        "after": {"kind": "trained", "artifact": "prm", "calibration": "isotonic"},
    }
    chosen = evaluate_settings(WING)(**settings.model_dump(exclude={"guides", "searches", "references"}), guides=guides)
    tables = study_guide("prm", held, chosen, proposers=Proposers(WING, POLICY))
    brier = {row["calibration"]: row["brier_exact"] for row in tables["calibration"] if row["states"] == "all"}
    assert set(brier) == {"none", "temperature", "isotonic", "budget"}
    assert brier["isotonic"] < brier["none"]  # random weights: anything fitted is better
    raw, after = (Guides(chosen.guides, store=labels.root, wing=WING)[arm] for arm in guides)
    order = np.argsort(raw.score(held.states, held.states), kind="stable")
    assert (np.diff(after.score(held.states, held.states)[order]) >= 0).all()
    [own] = [
        row
        for row in study_guide("after", held, chosen, proposers=Proposers(WING, POLICY))["calibration"]
        if row["states"] == "all"
    ]
    assert own["brier_exact"] == pytest.approx(brier["isotonic"])  # a calibration is not applied twice
    trained.folder.write_json("calibration.json", {})
    with pytest.raises(ValueError, match="Unknown fitted calibration"):
        Guides(chosen.guides, store=labels.root, wing=WING)["after"]


def test_the_dividend_of_true_values_is_what_was_promised(held, settings):
    rows = study_guide("exact", held, settings, proposers=Proposers(WING, POLICY))["dividend"]
    assert {(row["num_candidates"], row["values_of"]) for row in rows} == {
        (k, source) for k in (2, 4) for source in ("children", "parent")
    }
    for row in rows:
        # The realised share is a mean of independent 0/1 outcomes of known mean: at most 1/4 of variance each.
        assert abs(row["excess"]) < 4.5 * np.sqrt(0.25 / row["num_parents"])
        assert row["predicted"] > row["single"]
        assert row["excess_low"] <= row["excess"] <= row["excess_high"]


def test_robustness_is_judged_against_the_values_of_each_budget(held, settings):
    rows = study_guide("exact", held, settings, proposers=Proposers(WING, POLICY))["robustness"]
    assert [row["step_factor"] for row in rows] == [0.5, 1.0, 2.0]
    means = [row["mean_exact"] for row in rows]
    assert means[0] < means[1] < means[2]
    assert all(row["ece"] == row["bias"] == 0.0 for row in rows)


def test_intervals_of_true_binomial_labels_cover_the_truth(labels, settings):
    table = coverage_table(labels.folder, settings, WING).to_pylist()
    for row in table:
        assert abs(row["rate"] - row["expected"]) < 4.5 * row["standard_error"]
    assert {row["method"] for row in table} == {"wilson", "jeffreys", "randomised"}


def test_rollouts_keep_rows_apart_and_end():
    states = roots(np.array([0, 5, 7, 40]), np.array([3, 5, 6, -40]), 10)
    states = states.take(np.repeat(np.arange(4), 500))
    rng = Rng.from_seed(0, len(states), "rollouts")
    ends = complete(states, domain=WING.domain, proposer=SoftmaxWalker(), streams=forked(rng))
    assert (WING.domain.status(ends) != Status.OPEN).all()
    np.testing.assert_array_equal(ends.target, states.target)
    np.testing.assert_array_equal(ends.start, states.start)
    rates = WING.verifier().outcome(ends).reshape(4, 500).mean(axis=1)
    truth = WING.known.exact(states).reshape(4, 500)[:, 0]
    assert (np.abs(rates - truth) <= 4.5 * np.sqrt(truth * (1 - truth) / 500)).all()


def test_top1_accuracy_shares_ties_and_skips_narrow_sets():
    study = ValueStudy(num_children=2, min_spread=0.02)
    scores = np.array([1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0])
    truths = np.array([0.5, 0.1, 0.5, 0.1, 0.5, 0.1, 0.500, 0.499])
    sets = np.repeat(np.arange(4), 2)
    found = top1_accuracy(scores, truths, sets, study, np.random.default_rng(0))
    assert found == pytest.approx((1 + 0 + 0.5) / 3)


def test_situations_are_equal_just_where_the_future_is():
    states = roots(np.array([1, 2, 1, -1]), np.array([5, 5, 6, 5]), 10)
    assert len(set(situations(states).tolist())) == 4
    moved = states.replace(start=states.start + 1)
    np.testing.assert_array_equal(situations(moved), situations(states))
    assert (situations(states.replace(steps_left=states.steps_left - 1)) != situations(states)).all()


def test_rebudgeted_walks_have_room_for_just_the_steps_they_have_left():
    states = WING.states(problem_table(np.array([0, 1]), np.array([9, 9]), 10))
    walked = SoftmaxWalker().propose(states, num_candidates=1, rng=Rng.from_seed(0, 2, "x"))
    for factor, left in ((0.5, 4), (1.0, 9), (2.0, 18)):
        changed = rebudget(walked, factor)
        assert changed.steps_left.tolist() == [left, left]
        assert changed.actions.shape[1] == 1 + left
        np.testing.assert_array_equal(changed.actions[:, 0], walked.actions[:, 0])
    assert rebudget(states.replace(steps_left=np.array([0, 1])), 0.5).steps_left.tolist() == [0, 1]


def test_long_budgets_and_large_numbers_have_exact_values_too():
    def value(current, target, left):  # the recursion itself, a state at a time
        if current == target:
            return 1.0
        if left == 0:
            return 0.0
        if (current, left) not in memory:
            chances = walker.probabilities(np.array([current]), np.array([target]))[0]
            after = [int(act(np.int64(current), np.int64(a))) for a in range(6)]
            likely = [(p, n) for p, n in zip(chances, after, strict=True) if p > 1e-13]
            memory[current, left] = sum(p * value(n, target, left - 1) for p, n in likely)
        return memory[current, left]

    walker, tables = SoftmaxWalker(), ExactValues(50, 20)
    for current, target, left in ((5000, 3, 12), (-3000, -7, 13), (1799, 50, 11), (40, -31, 11)):
        memory: dict[tuple[int, int], float] = {}
        found = tables.value(np.array([current]), np.array([target]), np.array([left]))[0]
        assert found == pytest.approx(value(current, target, left), abs=1e-10)
    short = ExactValues(50, 10)
    numbers = np.arange(-1700, 1700, 7)
    target, left = np.full(len(numbers), 20), np.full(len(numbers), 10)
    np.testing.assert_allclose(short.value(numbers, target, left), tables.value(numbers, target, left), atol=1e-15)
