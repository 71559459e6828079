"""What would spoil evidence is said before it is shown: bad input, hopeless families, second looks at the test."""

import numpy as np
import pyarrow as pa
import pytest
from tests.walk_artifacts import make_labels

from stepward.core.wing import find_wing
from stepward.evaluate.readings import note_reading
from stepward.evaluate.settings import evaluate_settings
from stepward.evaluate.stage import foresight
from stepward.evaluate.trials import select
from stepward.evaluate.work import EvaluateWork
from stepward.statistics.bootstrap import bootstrap_saving
from stepward.statistics.paired import paired_comparison

WING = find_wing("walk")
GUIDES = {"exact": {"kind": "exact"}, "distance": {"kind": "distance"}}


def settings(root, **changes):
    searches = {"main": {"search": {"kind": "best_first"}, "budget": 10}}
    given = {"store": str(root), "guides": GUIDES, "budgets": (10,), "searches": searches, "values": None}
    return evaluate_settings(WING)(**given | {"dividend": None} | changes)


def test_two_problems_of_one_id_are_refused(tmp_path):
    labels = make_labels(tmp_path, num_train=5, num_test=5)
    table = labels.folder.read_table("problems.parquet")
    labels.folder.write_table("problems.parquet", pa.concat_tables([table, table.slice(len(table) - 1)]))
    with pytest.raises(ValueError, match=r"expected one problem an id, got 1 twice or more, first '.+'"):
        _ = EvaluateWork(settings(tmp_path), 10).problems


def test_an_arm_without_trials_on_some_problems_is_refused():
    rows = [("m", "a", "best", "p0"), ("m", "a", "best", "p1"), ("m", "b", "best", "p0")]
    names = ("search", "arm", "answer", "problem_id")
    trials = pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows])
    assert len(select(trials, "m", "a")) == 2
    with pytest.raises(ValueError, match="trials of 'b' in 'm': expected one a problem and seed, got 1 of 1 problems"):
        select(trials, "m", "b")
    with pytest.raises(ValueError, match="trials of 'a'"):  # a seed that repeats
        select(pa.concat_tables([trials.slice(0, 2), trials.slice(0, 1)]), "m", "a")


def test_a_family_that_cannot_reach_significance_says_so_first(tmp_path):
    make_labels(tmp_path, num_train=5, num_test=5)
    words = foresight(EvaluateWork(settings(tmp_path, num_problems=4), 10))
    assert words.startswith("4 problems and 1 comparisons with a reference: nothing can be significant")
    assert "least p that Holm's adjustment leaves is 0.12" in words
    assert foresight(EvaluateWork(settings(tmp_path, num_problems=1), 10)).startswith("1 problem and")


def test_equal_data_have_one_interval_whatever_was_compared_before():
    rng = np.random.default_rng(0)
    a, b = rng.uniform(1, 2, (2, 50))
    source = np.random.default_rng(5)
    first = paired_comparison(a, b, rng=source)
    assert paired_comparison(a, b, rng=source) == first
    saved = [bootstrap_saving(a, b, rng=np.random.default_rng(5)) for _ in range(2)]
    assert saved[0] == saved[1] and saved[0].high <= 1


def test_readings_of_the_test_split_are_counted_by_settings_and_outlive_what_they_read(tmp_path):
    labels = make_labels(tmp_path, num_train=5, num_test=5)
    assert note_reading(settings(tmp_path, split="validation"), labels) == []
    once = note_reading(settings(tmp_path), labels)
    assert len(once) == 1 and once[0]["name"] == "default" and once[0]["command"]
    assert note_reading(settings(tmp_path), labels) == once, "the same settings again are no other look"
    again = note_reading(settings(tmp_path, budgets=(5,), name="other"), labels)
    assert [reading["name"] for reading in again] == ["default", "other"]
