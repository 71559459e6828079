"""Searches as a study: what a row says, that shards do not matter, and that the statistics count right."""

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import binomtest
from tests.walk_artifacts import make_labels

from stepward.core.measures import SOLVED
from stepward.core.wing import find_wing
from stepward.domains.walk.data import problem_table
from stepward.evaluate.arms import SearchPlan
from stepward.evaluate.settings import evaluate_settings
from stepward.evaluate.solving import comparison_table, frontier_table, search_table, solve_curve
from stepward.evaluate.tables import named
from stepward.evaluate.trials import run_arm, trial_table
from stepward.evaluate.work import EvaluateWork

WING = find_wing("walk")
GUIDES = {"exact": {"kind": "exact"}, "distance": {"kind": "distance"}, "random": {"kind": "random"}}


def run(problems, plan, guide="exact", proposer="enumerate"):
    reward = WING.rewards[guide]().build(WING.domain)
    parts = {"guide": reward, "proposer": WING.proposers[proposer]().build(), "wing": WING, "seed": 3}
    return trial_table(run_arm(problems, plan.arm(guide), **parts), WING, headline=SOLVED)


def problems_of(pairs, max_steps=10):
    start, target = np.array(pairs).T
    return problem_table(start, target, max_steps)


def test_a_row_says_what_happened_on_problems_that_are_known_by_hand():
    # 1 → 2 takes one action; 0 → 7 and 0 → 9 take three; 0 → 50 takes more than two.
    plan = SearchPlan(search={"kind": "best_first"}, budget=50)
    rows = run(problems_of([(1, 2), (0, 7), (0, 9)], max_steps=3), plan, "distance").to_pylist()
    assert [row["solved"] for row in rows] == [True, True, True]
    assert [row["expansions_at_solve"] for row in rows] == [1, 3, 3]
    [unsolvable] = run(problems_of([(0, 50)], max_steps=2), plan).to_pylist()
    assert (unsolvable["solvable"], unsolvable["solved"]) == (False, False)
    assert unsolvable["expansions_at_solve"] == np.inf
    assert unsolvable["expansions"] == 1 + len({0, 1, -1, 3, -3})  # the root and what is one step from it
    assert unsolvable["proposals"] == 6 * unsolvable["expansions"]


@pytest.mark.parametrize(
    ("search", "guide", "proposer"),
    [
        ({"kind": "best_first"}, "exact", "enumerate"),
        ({"kind": "best_first"}, "random", "enumerate"),
        ({"kind": "best_first", "num_candidates": 3}, "distance", "enumerate"),
        ({"kind": "particles", "num_particles": 4}, "exact", "softmax"),
        ({"kind": "dvts", "num_trees": 2}, "exact", "softmax"),
    ],
)
def test_results_do_not_depend_on_sharding(search, guide, proposer):
    problems = WING.problems(num_test=20).problems("test", 0)[0]
    plan = SearchPlan(search=search, budget=20)
    whole = run(problems, plan, guide, proposer).drop_columns(["seconds"])
    parts = [run(problems.slice(first, 7), plan, guide, proposer) for first in range(0, 20, 7)]
    assert pa.concat_tables(parts).drop_columns(["seconds"]).equals(whole)


def test_more_steps_make_more_problems_solvable():
    problems = WING.problems(num_test=100).problems("test", 0)[0]
    plans = {f: SearchPlan(search={"kind": "best_first"}, budget=5, step_factor=f) for f in (0.5, 1.0, 2.0)}
    solvable = {factor: sum(run(problems, plan)["solvable"].to_pylist()) for factor, plan in plans.items()}
    assert solvable[0.5] < solvable[1.0] < solvable[2.0] == 100


def settings(**changes):
    searches = {"main": {"search": {"kind": "best_first"}, "budget": 100}}
    return evaluate_settings(WING)(**{"guides": GUIDES, "budgets": (10, 50), "searches": searches} | changes)


def fake_outcomes(costs, search="main"):
    parts = []
    for arm, values in costs.items():
        values = np.array(values, float)
        columns = {
            "search": [search] * len(values),
            "arm": [arm] * len(values),
            "answer": ["best"] * len(values),
            "exhausted": np.zeros(len(values), bool),
            "problem_id": [f"p{i:03d}" for i in range(len(values))],
            "solvable": [i < 90 for i in range(len(values))],
            "solved": np.isfinite(values),
            "expansions_at_solve": values,
            "expansions": np.minimum(values, 100),
        }
        parts.append(pa.table(columns))
    return pa.concat_tables(parts)


def planted():
    """100 problems: the reference solves 60 within 10; the arm those but the first 5, and 20 more; nobody the rest."""
    reference, arm = np.full(100, np.inf), np.full(100, np.inf)
    reference[:60], arm[5:80] = 10, 10
    arm[80:85] = 51  # solved by the arm, but over a budget of 50
    return {"distance": reference, "exact": arm, "random": np.full(100, np.inf)}


def test_searches_that_ran_out_of_nodes_are_told_from_those_that_ran_out_of_budget():
    """0 → 50 is not in two steps: the search has seen all after six expansions, whatever it may spend."""
    problems = problems_of([(0, 50), (1, 2)], max_steps=2)
    wide, narrow = (run(problems, SearchPlan(search={"kind": "best_first"}, budget=b)) for b in (50, 3))
    assert wide["exhausted"].to_pylist() == [True, False] and narrow["exhausted"].to_pylist() == [False, False]
    assert wide["seed"].to_pylist() == [3, 3]
    only = settings(guides={"exact": {"kind": "exact"}}, budgets=(3, 50), references=())
    rows = frontier_table(named(wide, search="main", arm="exact"), only).to_pylist()
    assert {row["budget"]: row["num_exhausted"] for row in rows} == {3: 0, 50: 1, 100: 1}


def test_frontiers_count_problems_within_the_budget():
    table = frontier_table(fake_outcomes(planted()), settings()).to_pylist()
    rates = {(row["arm"], row["budget"]): row["num_solved"] for row in table}
    assert rates == {
        ("exact", 10): 75, ("exact", 50): 75, ("exact", 100): 80,
        ("distance", 10): 60, ("distance", 50): 60, ("distance", 100): 60,
        ("random", 10): 0, ("random", 50): 0, ("random", 100): 0,
    }  # fmt: skip
    row = next(row for row in table if row["arm"] == "exact" and row["budget"] == 100)
    assert (row["num_solvable"], row["solve_rate"], row["branching"]) == (90, 0.8, 6)
    assert row["solve_rate_of_solvable"] == pytest.approx(80 / 90)
    assert row["mean_expansions"] == pytest.approx((75 * 10 + 5 * 51 + 20 * 100) / 100)


def test_comparisons_are_paired_with_the_exact_test_and_holm():
    table = comparison_table(fake_outcomes(planted()), settings(references=("distance",)), np.random.default_rng(0))
    rows = {(row["arm"], row["budget"]): row for row in table.to_pylist()}
    row = rows["exact", 10]
    assert (row["difference"], row["num_discordant"], row["test"]) == (0.15, 25, "mcnemar")
    assert row["p_value"] == pytest.approx(binomtest(5, 25).pvalue)
    assert row["low"] < 0.15 < row["high"]
    assert row["low"] > 0
    p_values = np.sort([row["p_value"] for row in rows.values()])
    smallest = min(rows.values(), key=lambda row: row["p_value"])
    assert smallest["holm_p_value"] == pytest.approx(p_values[0] * len(rows))


def test_other_searches_are_compared_at_their_own_budget():
    plans = {
        "main": {"search": {"kind": "best_first"}, "budget": 100},
        "bon": {"search": {"kind": "best_of_n"}, "budget": 50, "proposer": "softmax", "guides": ("exact",)},
    }
    main, other = planted(), {"exact": np.where(np.arange(100) < 30, 20.0, np.inf)}
    outcomes = pa.concat_tables([fake_outcomes(main), fake_outcomes(other, "bon")])
    [row] = search_table(outcomes, settings(searches=plans), np.random.default_rng(0)).to_pylist()
    assert (row["search"], row["guide"], row["budget"]) == ("bon", "exact", 50)
    assert (row["mean"], row["reference_mean"]) == (0.30, 0.75)
    assert row["num_discordant"] == 5 + 50  # main misses the first five, and alone solves 30 to 79
    assert row["mean_expansions"] == pytest.approx((30 * 20 + 70 * 50) / 100)


def test_the_curve_ends_at_the_solve_rate_and_never_falls():
    curve = solve_curve(planted()["exact"], 100)
    rates = curve["solve_rate"].to_numpy()
    assert rates[-1] == 0.8
    assert (np.diff(rates) >= 0).all()
    assert dict(zip(curve["step"].to_pylist(), rates.tolist(), strict=True))[9] == 0.0


def test_settings_say_which_names_exist():
    with pytest.raises(ValueError, match=r"references: expected one of .*'none'"):
        settings(references=("none",))
    with pytest.raises(ValueError, match="Unknown search 'bestfirst'"):
        settings(searches={"main": {"search": {"kind": "bestfirst"}, "budget": 1}})


def test_what_a_domain_cannot_have_is_refused_with_the_capability_that_is_missing():
    mean = {"main": {"search": {"kind": "mean_of_k"}, "budget": 10}}
    with pytest.raises(
        ValueError, match=r"searches.main.search.kind: .*mean_of_k, which needs .*`Combines`; 'walk' brings no"
    ):
        settings(searches=mean)
    with pytest.raises(ValueError, match=r"samples: expected none, because solutions of 'walk' state no answer"):
        settings(samples={})
    with pytest.raises(ValueError, match=r"blow_up: expected none, because solved has no value a step"):
        settings(blow_up=1.0)
    with pytest.raises(ValueError, match=r"Unknown measure 'nrmse': expected one of \['solved'\]"):
        settings(measure="nrmse")
    with pytest.raises(ValueError, match=r"searches: expected other names than \['samples'\]"):
        settings(searches={"samples": {"search": {"kind": "best_first"}, "budget": 10}})


def test_a_study_of_labels_that_are_of_another_kind_is_refused_before_anything_runs(tmp_path):
    make_labels(tmp_path)
    asked = settings(store=str(tmp_path), rankings={}, values=None, dividend=None)
    with pytest.raises(ValueError, match=r"rankings: expected none, because .*label/default keeps no errors of cand"):
        EvaluateWork(asked, 10).prepare()


def test_defaults_follow_the_guides_that_are_chosen():
    chosen = evaluate_settings(WING)(guides={"distance": {"kind": "distance"}})
    assert chosen.references == ("distance",)
    assert all(set(plan.guides) <= {"distance"} for plan in chosen.searches.values())
    assert "best_of_n_100" in evaluate_settings(WING)().searches
