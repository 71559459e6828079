"""Guides made of other guides, from plain settings."""

import numpy as np
import pytest

from stepward.core.seeding import Rng
from stepward.core.wing import find_wing
from stepward.evaluate.arms import SearchPlan
from stepward.evaluate.proposers import Proposers, settings_of
from stepward.evaluate.settings import evaluate_settings
from stepward.rewards.factory import Guides, scale_of

WING = find_wing("walk")


def settings(**parts):
    composite = {"kind": "composite", "parts": parts}
    guides = {"exact": {"kind": "exact"}, "distance": {"kind": "distance"}, "both": composite}
    plan = {"main": {"search": {"kind": "best_first"}, "budget": 10}}
    return evaluate_settings(WING)(guides=guides, searches=plan, budgets=(10,))


def test_a_composite_guide_is_the_weighted_sum_of_its_parts():
    made = settings(exact={"transform": "log"}, distance={"weight": 0.25})
    states = WING.states(WING.problems(num_test=20).problems("test", 0)[0])
    both, exact, distance = (Guides(made.guides, store="", wing=WING)[n] for n in ("both", "exact", "distance"))
    expected = (np.log(np.maximum(exact.score(states, states), 1e-6)) + 0.25 * distance.score(states, states)) / 1.25
    assert np.allclose(both.score(states, states), expected)


def test_a_part_that_does_not_exist_is_named():
    made = settings(exacter={})
    with pytest.raises(ValueError, match="exacter"):
        Guides(made.guides, store="", wing=WING)["both"]


def test_a_plan_can_limit_other_costs_and_not_the_same_twice():
    plan = SearchPlan(search={"kind": "best_first"}, budget=10, limits={"flops": 1e6})
    assert (plan.arm("none").budget.expansions, plan.arm("none").budget.flops) == (10, 1e6)
    with pytest.raises(ValueError, match="budget limits"):
        SearchPlan(search={"kind": "best_first"}, budget=10, limits={"expansions": 5})
    with pytest.raises(ValueError, match="flop"):
        SearchPlan(search={"kind": "best_first"}, budget=10, limits={"flop": 5})


def test_an_ensemble_reduces_the_scores_of_its_members():
    guides = {
        "exact": {"kind": "exact"},
        "distance": {"kind": "distance"},
        "mean": {"kind": "ensemble", "members": ["exact", "distance"]},
        "careful": {"kind": "ensemble", "members": ["exact", "distance"], "reduction": "lower_bound"},
        "sure": {"kind": "ensemble", "members": ["exact", "exact"], "reduction": "min"},
    }
    made = evaluate_settings(WING)(guides=guides, searches={"main": {"search": {"kind": "best_first"}, "budget": 10}},
                                   budgets=(10,)).guides  # fmt: skip
    states = WING.states(WING.problems(num_test=20).problems("test", 0)[0])
    found = {name: Guides(made, store="", wing=WING)[name].score(states, states) for name in guides}
    both = np.stack([found["exact"], found["distance"]])
    np.testing.assert_allclose(found["mean"], both.mean(0))
    np.testing.assert_allclose(found["careful"], both.mean(0) - both.std(0))
    np.testing.assert_allclose(found["sure"], found["exact"])
    said = {name for name in made if scale_of(name, made, WING) == "probability"}
    assert said == {"exact", "sure"}


def test_an_ensemble_of_itself_is_no_ensemble():
    made = evaluate_settings(WING)(
        guides={"a": {"kind": "ensemble", "members": ["a", "a"]}},
        searches={"main": {"search": {"kind": "best_first"}, "budget": 10}}, budgets=(10,),
    ).guides  # fmt: skip
    with pytest.raises(ValueError, match="'a'"):
        Guides(made, store="", wing=WING)["a"]


def test_searches_propose_with_the_policy_that_was_labelled():
    labelled = {"kind": "softmax", "temperature": 0.25}
    proposers = Proposers(WING, labelled)
    assert proposers("softmax") is proposers() is proposers("softmax")
    assert settings_of("softmax", WING, labelled, {}).temperature == 0.25
    assert settings_of("softmax", WING, labelled, {"softmax": {"temperature": 2.0}}).temperature == 2.0
    assert settings_of("enumerate", WING, labelled, {"softmax": {"temperature": 2.0}}).kind == "enumerate"
    changed = Proposers(WING, labelled, {"softmax": {"temperature": 1e9}})
    states = WING.states(WING.problems(num_test=50).problems("test", 0)[0])
    drawn = [
        proposer.propose(states, num_candidates=8, rng=Rng.from_ids(0, range(50), "test")).current
        for proposer in (proposers(), changed(), changed.policy)
    ]
    assert not np.array_equal(drawn[0], drawn[1])
    assert np.array_equal(drawn[0], drawn[2])
    with pytest.raises(ValueError, match="temprature"):
        settings_with(proposers={"softmax": {"temprature": 1.0}})
    with pytest.raises(ValueError, match="soft_max"):
        settings_with(proposers={"soft_max": {}})


def settings_with(**changes):
    return evaluate_settings(WING)(
        guides={"exact": {"kind": "exact"}}, searches={"main": {"search": {"kind": "best_first"}, "budget": 10}},
        budgets=(10,), **changes,
    )  # fmt: skip
