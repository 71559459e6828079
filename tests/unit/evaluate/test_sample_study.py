"""Choices among sampled solutions: votes and bests by hand, cost at matched compute, gaps, and who may vote."""

import numpy as np
import pyarrow as pa
import pytest

from stepward.evaluate.samples.choices import (
    MAJORITY,
    ORACLE,
    Method,
    SampleOutcomes,
    comparison_rows,
    gap_rows,
    rate_rows,
    steering_rows,
)
from stepward.evaluate.samples.settings import Choice, SampleStudy

STUDY = SampleStudy(sizes=(1, 2, 4), aggregations=("last",), budgets=(2, 4), budget=4)
# answer, right?, the guide's value, the log p; two problems, four samples each
SOLUTIONS = {
    "p0": [("7", 0, 0.2, -1.0), ("7", 0, 0.3, -1.0), ("5", 1, 0.6, -9.0), ("", 0, 0.9, -1.0)],
    "p1": [("2", 1, 0.5, -3.0), ("3", 0, 0.9, -1.0), ("2", 1, 0.6, -3.0), ("4", 0, 0.1, -0.5)],
}


def solutions() -> pa.Table:
    rows = [
        {"problem_id": p, "sample": j, "complete": answer != "", "answer": answer, "right": bool(right)}
        | {"prm/last": value, "likelihood/last": log_p, "length/last": -float(j)}
        for p, samples in SOLUTIONS.items()
        for j, (answer, right, value, log_p) in enumerate(samples)
    ]
    return pa.Table.from_pylist(rows[::-1])  # in any order


def spending(flops_of_guide: float = 10.0) -> pa.Table:
    """A sample costs 10, and reading it another 10 by the guide; other guides are free."""
    rows = [
        {"problem_id": p, "size": n, "arm": arm, "generated_tokens": float(n), "scored_tokens": 0.0, "flops": n * each}
        for p in SOLUTIONS
        for n in STUDY.sizes
        for arm, each in (("", 10.0), ("prm", flops_of_guide), ("likelihood", 0.0), ("length", 0.0))
    ]
    return pa.Table.from_pylist(rows)


def outcomes(study: SampleStudy = STUDY, **changes) -> SampleOutcomes:
    kinds = {"log_values": frozenset({"likelihood"}), "no_votes": frozenset({"length"})}
    return SampleOutcomes(solutions(), spending(**changes), study, **kinds)


def test_votes_and_bests_are_those_made_by_hand():
    found = outcomes()
    # p0: 7 has two votes, its weights .2 + .3 lose to the .6 of 5; the sample without an answer counts nowhere.
    assert found.solved(Method(MAJORITY, "vote"), 4).tolist() == [False, True]
    assert found.solved(Method("prm", "vote", "last"), 4).tolist() == [True, True]
    assert found.solved(Method("prm", "best", "last"), 4).tolist() == [True, False]
    assert found.solved(Method(ORACLE, "any"), 4).tolist() == [True, True]
    assert found.solved(Method(ORACLE, "any"), 2).tolist() == [False, True]
    # By likelihood: e^-1 twice for 7; e^-3 twice against e^-1 and e^-.5.
    assert found.solved(Method("likelihood", "vote", "last"), 4).tolist() == [False, False]
    assert found.solved(Method("length", "best", "last"), 4).tolist() == [False, True]


def test_arms_that_only_rank_do_not_vote():
    arms = {(method.arm, method.rule) for method in outcomes().methods}
    assert ("length", "best") in arms
    assert ("length", "vote") not in arms
    assert outcomes().choice("length") == Method("length", "best", "last")


def test_a_budget_buys_fewer_samples_where_reading_costs_too():
    found = outcomes()
    assert found.affordable(MAJORITY, 40.0) == 4
    assert found.affordable("prm", 40.0) == 2
    assert found.affordable("prm", 19.0) is None
    assert found.affordable("prm", 30.0) == 1.5, "and a second one every other time"
    both = [found.solved(Method("prm", "vote", "last"), n) for n in (1, 2)]
    assert found.expected(Method("prm", "vote", "last"), 1.5).tolist() == np.mean(both, axis=0).tolist()
    assert found.expected_cost("prm", 1.5) == 30.0
    assert found.cost("prm", 2).tolist() == [40.0, 40.0]
    assert found.cost(ORACLE, 2).tolist() == [20.0, 20.0]


def test_comparisons_are_at_matched_cost_and_in_favour_of_nobody():
    study = STUDY.model_copy(update={"choices": {"prm": Choice(rule="vote", aggregation="last")}})
    rows = list(comparison_rows(outcomes(study), np.random.default_rng(0), num_resamples=200))
    row = next(row for row in rows if row["budget"] == 4 and row["reference"] == MAJORITY)
    assert (row["size"], row["reference_size"], row["flops"], row["main"]) == (2, 4, 40.0, True)
    # With two samples the guide is wrong on p0 (7, 7) and on p1 (3 at .9); the majority of four is right on p1.
    assert (row["mean"], row["reference_mean"], row["difference"]) == (0.0, 0.5, -0.5)
    free = next(
        row
        for row in comparison_rows(outcomes(study, flops_of_guide=0.0), np.random.default_rng(0), num_resamples=200)
        if row["budget"] == 4 and row["reference"] == MAJORITY
    )
    assert (free["size"], free["difference"]) == (4, 0.5)


def test_holm_is_over_the_arms_of_a_budget():
    rows = [r for r in comparison_rows(outcomes(), np.random.default_rng(0), num_resamples=200) if r["budget"] == 4]
    assert [row["reference"] for row in rows] == [MAJORITY, "likelihood", "length"]
    assert all(row["holm_p_value"] >= row["p_value"] for row in rows)


def test_the_gap_is_the_share_of_the_way_from_majority_to_oracle():
    study = STUDY.model_copy(update={"choices": {"prm": Choice(rule="vote", aggregation="last")}})
    rows = list(gap_rows(outcomes(study), np.random.default_rng(0), confidence=0.95, num_resamples=500))
    four = {(row["arm"], row["rule"]): row for row in rows if row["size"] == 4}
    assert (four["prm", "vote"]["majority"], four["prm", "vote"]["oracle"]) == (0.5, 1.0)
    assert four["prm", "vote"]["share"] == 1.0
    assert four["prm", "best"]["share"] == 0.0
    assert four["prm", "best"]["low"] <= 0.0


def test_rates_hold_every_method_at_every_size():
    rows = list(rate_rows(outcomes(), 0.95))
    assert len(rows) == len(outcomes().methods) * len(STUDY.sizes)
    assert sum(row["chosen"] for row in rows) == len(STUDY.sizes) * 5  # one choice an arm


def test_a_search_that_steers_meets_the_samples_its_cost_would_buy():
    searches = {("beam", "prm", "best"): {"solved": np.array([True, True]), "flops": np.array([30.0, 50.0])}}
    rows = list(steering_rows(outcomes(), searches, np.random.default_rng(0), num_resamples=200))
    assert [(row["reference"], row["reference_size"], row["flops"]) for row in rows] == [
        ("prm", 2, 40.0),
        (MAJORITY, 4, 40.0),
    ]
    assert rows[1]["difference"] == 0.5


def test_a_choice_that_was_not_tabulated_is_an_error():
    study = STUDY.model_copy(update={"choices": {"prm": Choice(rule="vote", aggregation="min")}})
    with pytest.raises(ValueError, match="expected one of"):
        outcomes(study).choice("prm")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sizes": (2, 1)}, "rising"),
        ({"sizes": (1, 2), "budgets": (4,), "budget": 4}, "within"),
        ({"budget": 5}, "one of samples.budgets"),
        ({"aggregations": ("median",)}, "median"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        SampleStudy(**wrong)


def test_searches_meet_every_rival_there_is():
    """Named rivals that are no arms of this evaluation are passed over; the champion comes first."""
    study = STUDY.model_copy(update={"rivals": ("likelihood", MAJORITY, "absent")})
    found = {"solved": np.array([True, True]), "flops": np.array([40.0, 40.0])}
    rows = list(
        steering_rows(outcomes(study), {("beam", "prm", "best"): found}, np.random.default_rng(0),
                      confidence=0.95, num_resamples=200)
    )  # fmt: skip
    assert [(row["reference"], row["reference_size"]) for row in rows] == [("prm", 2), ("likelihood", 4), (MAJORITY, 4)]
