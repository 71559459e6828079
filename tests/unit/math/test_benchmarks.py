"""Judges of steps on benchmarks: figures computed by hand, thresholds chosen elsewhere, bad rows, and going on."""

import json
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from stepward.core.config import Config, parse_config
from stepward.core.wing import find_wing
from stepward.domains.math.benchmarks import PRMBench
from stepward.evaluate.benchmark import BenchmarkSettings, BenchmarkWork, benchmark_settings, finish
from stepward.evaluate.judging import Judging, _elsewhere
from stepward.report.page import Grid
from stepward.report.sections import benchmark_section
from stepward.report.sources import read_source

WING = find_wing("math")
STEP = {True: "ok", False: "wrong."}  # two letters and six: minus the length is a score


class Moody(Config):
    """Cannot score some texts."""

    kind: Literal["moody"] = "moody"
    SCALE: ClassVar[str] = "probability"

    def build(self, domain: Any) -> Any:
        return self

    num_parameters: ClassVar[int] = 3

    def score(self, parents: Any, children: Any) -> np.ndarray:
        return np.array([np.nan if "dark" in text else 0.75 for text in children.text])


def row(kind: str, idx: str, steps: str, errors: list[int], **more: Any) -> dict[str, Any]:
    """A row of PRMBench whose steps are written as o (short) and x (long)."""
    process = [STEP[letter == "o"] for letter in steps]
    asked = {"original_question": f"q{idx}", "modified_question": f"q{idx}!", "question": f"Q{idx}"}
    found = {"modified_process": process, "error_steps": errors, "idx": idx, "classification": kind}
    return asked | found | more


# a judge by length calls o right and x wrong                        TP FP TN FN
ROWS = [
    row("circular", "1", "ooxx", [3]),  #                            2  0  1  1
    row("circular", "2", "oxo", [1, 2]),  #                          1  1  1  0
    row("deception", "1", "xoo", [3, 9]),  # 9 is outside            1  1  0  1
    row("multi_solutions", "2", "ooo", []),  #                       3  0  0  0
    row("multi_solutions", "2", "xxx", []),  # kind and idx again: the first counts
]


def settings_of(tmp_path: Path, rows: list[dict[str, Any]], *values: str, kind: str = "prmbench") -> BenchmarkSettings:
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    common = ["domain=math", f"store={tmp_path}", f"benchmark.kind={kind}", f"benchmark.path={tmp_path / 'rows.jsonl'}"]
    by_length = 'guides={"length": {"kind": "length", "unit": "characters"}}'
    own = [] if any(value.startswith("guides") for value in values) else [by_length, "thresholds.length=-3.5"]
    return parse_config(benchmark_settings(WING), [*common, *own, *values])


def judged(settings: Any, shard_size: int = 2) -> BenchmarkWork:
    work = BenchmarkWork(settings, shard_size)
    settings.artifact("benchmark").begin(settings.identity())
    work.prepare()
    for item in work.left():
        work.do(item)
    finish(work, 0.0)
    return work


def figures(work: BenchmarkWork, threshold: str = "own", guide: str = "length") -> dict[str, dict[str, Any]]:
    table = work.folder.read_table("tables/benchmark.parquet")
    mine = pc.and_(pc.equal(table["guide"], guide), pc.equal(table["threshold"], threshold))
    return {row["category"]: row for row in table.filter(mine).to_pylist()}


def test_prm_score_is_that_of_the_published_program(tmp_path: Path) -> None:
    """By hand from mr_eval: TP 7, FP 2, TN 2, FN 2; wrong steps outside a process and repeated rows do not count."""
    found = figures(judged(settings_of(tmp_path, ROWS)))
    right, wrong = 2 * 7 / (2 * 7 + 2 + 2), 2 * 2 / (2 * 2 + 2 + 2)
    assert found["all"]["f1_right"] == pytest.approx(right) and found["all"]["f1_wrong"] == pytest.approx(wrong)
    assert found["all"]["prm_score"] == pytest.approx((right + wrong) / 2)
    circular = (2 * 3 / (2 * 3 + 1 + 1) + 2 * 2 / (2 * 2 + 1 + 1)) / 2
    assert found["circular"]["prm_score"] == found["simplicity"]["prm_score"] == pytest.approx(circular)
    assert found["multi_solutions"]["prm_score"] == 1.0, "where no step is wrong, F1 of the right ones alone"
    assert found["multi_solutions"]["f1_wrong"] is None
    deception = (2 * 1 / (2 * 1 + 1 + 1) + 0) / 2
    assert found["sensitivity"]["prm_score"] == pytest.approx((deception + 1.0) / 2), "a mean over its categories"
    assert found["all"]["auc"] == pytest.approx((2.5 + 1.5 + 0.5) / 7), "pairs of one solution; ties count half"
    assert (found["all"]["num_solutions"], found["all"]["num_problems"]) == (4, 2)
    assert figures(judged(settings_of(tmp_path, ROWS, "name=b")), guide="always_right")["all"]["f1_right"] == 18 / 22


def test_the_report_shows_judges_beside_published_figures(tmp_path: Path) -> None:
    work = judged(settings_of(tmp_path, ROWS))
    section = benchmark_section(read_source(work.settings.artifact("benchmark")))
    ours, published, categories = section.blocks
    assert isinstance(ours, Grid) and ours.rows[0][0] == "length", "the best one first"
    assert {row[0] for row in ours.rows} == {"length", "always_right"} and "4 solutions of 2 problems" in ours.caption
    assert isinstance(published, Grid) and "Math-Shepherd-7B" in [row[0] for row in published.rows]
    assert published.rows[4][:2] == ["Math-Shepherd-7B", "0.470"] and "ssmisya/PRMBench" in published.caption
    assert isinstance(categories, Grid) and {"circular", "sensitivity"} < set(categories.header)


def bench(name: str, steps: str, label: int) -> dict[str, Any]:
    texts = [STEP[letter == "o"] for letter in steps]
    return {"id": name, "problem": name, "steps": texts, "label": label, "final_answer_correct": label < 0}


def test_processbench_and_a_threshold_of_another_subset(tmp_path: Path) -> None:
    """F1 is the harmonic mean of two accuracies; thresholds of gsm8k are reported on the others only."""
    rows = [
        bench("math-1", "oxo", 1),
        bench("math-2", "xoo", 2),
        bench("math-3", "ooo", -1),
        bench("math-4", "oox", -1),
    ]
    rows += [bench("gsm8k-1", "oxo", 1), bench("gsm8k-2", "ooo", -1)]
    found = figures(judged(settings_of(tmp_path, rows, kind="processbench")))
    assert (found["math"]["accuracy_wrong"], found["math"]["accuracy_right"], found["math"]["f1"]) == (0.5, 0.5, 0.5)
    assert found["gsm8k"]["f1"] == 1.0 and found["mean"]["f1"] == 0.75
    chosen = figures(
        judged(settings_of(tmp_path, rows, "name=b", "threshold_from=gsm8k", kind="processbench")), "chosen"
    )
    assert -6 < chosen["all"]["threshold_value"] < -2 and set(chosen) == {"all", "math", "mean"}
    assert chosen["all"]["f1"] == 0.5


def test_a_threshold_is_chosen_on_problems_that_it_is_not_reported_on() -> None:
    rng = np.random.default_rng(0)
    labels = [rng.integers(0, 2, 4).tolist() for _ in range(60)]
    scores = [(np.array(row) + rng.normal(0, 1, 4)).tolist() for row in labels]

    def thresholds(labels: list[list[int]]) -> dict[int, float]:
        clusters = [f"p{i % 20}" for i in range(60)]
        table = pa.table({"labels": labels, "category": ["a"] * 60, "cluster": clusters})
        options: dict[str, Any] = {"threshold_from": None, "confidence": 0.9, "num_resamples": 200, "seed": 1}
        judging = Judging(table, PRMBench(), **options)
        parts = list(_elsewhere(judging, scores, np.arange(60)))
        sides = [set(judging.cluster[rows]) for _, rows in parts]
        assert not sides[0] & sides[1] and sorted(np.concatenate([rows for _, rows in parts])) == list(range(60))
        return {int(i): threshold for threshold, rows in parts for i in rows}

    before = thresholds(labels)
    mine = [i for i in before if before[i] == before[0]]
    changed = [[1 - v for v in row] if i in mine else row for i, row in enumerate(labels)]
    after = thresholds(changed)
    assert all(after[i] == before[i] for i in mine) and any(after[i] != before[i] for i in after if i not in mine)


def test_intervals_are_of_problems_and_not_of_solutions(tmp_path: Path) -> None:
    """Every solution three times within its problem: the same figures and the same intervals."""
    rng = np.random.default_rng(2)
    rows = [row("circular", str(i), "".join(rng.choice(["o", "x"], 5)), [int(rng.integers(1, 6))]) for i in range(30)]
    thrice = [r | {"idx": f"{r['idx']}/{copy}"} for r in rows for copy in range(3)]
    one, three = (
        figures(judged(settings_of(tmp_path, found, f"name=n{len(found)}")))["all"] for found in (rows, thrice)
    )
    for name in ("prm_score", "prm_score_low", "prm_score_high", "auc_low"):
        assert one[name] == pytest.approx(three[name])
    assert one["prm_score_low"] < one["prm_score"] < one["prm_score_high"]


def test_what_cannot_be_judged_is_a_dead_letter_and_loses_nothing_else(tmp_path, monkeypatch) -> None:
    """Rows without steps, with labels outside, with nulls only; and solutions that a guide cannot score."""
    monkeypatch.setitem(WING.rewards, "moody", Moody)
    good = {"question": "2+3?", "steps": ["2 and 3", "make 6"], "ratings": [1, -1]}
    rows = [
        good,
        good | {"steps": [], "ratings": []},
        good | {"ratings": [1, 2]},
        good | {"ratings": [1]},
        good | {"ratings": [None, None]},
        good | {"steps": ["in the dark", "A: 5"]},
        good | {"ratings": [None, 0]},
    ]
    settings = settings_of(tmp_path, rows, 'guides={"moody": {"kind": "moody"}}', kind="steps")
    work = judged(settings, shard_size=10)
    letters = work.folder.read_table("dead_letters.parquet").to_pylist()
    expected = [
        "non-empty|none of them empty",
        "among 1, 0, -1",
        "expected 2 numbers",
        "a step that is rated",
        "finite",
    ]
    assert len(letters) == len(expected)
    for letter, words in zip(letters, expected, strict=True):
        assert any(word in letter["error"] for word in words.split("|")), letter
    found = figures(work, guide="moody")["all"]
    assert (found["num_solutions"], found["not_scored"]) == (2, 1)
    assert found["accuracy_right"] == 1.0 and found["accuracy_wrong"] == 0.0
    scores = work.folder.read_table("tables/scores.parquet")
    assert scores["scored"].to_pylist() == [2.0, 0.0, 2.0] and scores["flops"].to_pylist()[0] > 0
    with pytest.raises(ValueError, match="found none among"):
        judged(settings_of(tmp_path, rows[1:2], "name=empty", kind="steps"))
    with pytest.raises(ValueError, match="which does not exist"):
        judged(settings_of(tmp_path, rows, "name=nowhere", f"benchmark.path={tmp_path}/no", kind="steps"))


def test_what_was_done_is_not_done_again_and_the_table_is_the_same(tmp_path: Path) -> None:
    rows = [row("circular", str(i), "oxox", [1 + i % 4]) for i in range(7)]
    whole = judged(settings_of(tmp_path, rows, "name=whole"), shard_size=7)
    settings = settings_of(tmp_path, rows, "name=parts")
    settings.artifact("benchmark").begin(settings.identity())
    first = BenchmarkWork(settings, 3)
    first.prepare()
    first.do(first.left()[0])
    again = BenchmarkWork(settings, 3)
    again.prepare()
    assert len(again.left()) == len(again.items()) - 1 == 2
    for item in again.left():
        again.do(item)
    assert finish(again, 1.0).digest == whole.settings.artifact("benchmark").manifest().digest


def test_a_subset_is_drawn_evenly(tmp_path: Path) -> None:
    rows = [row("circular" if i < 40 else "deception", str(i), "oxo", [2]) for i in range(50)]
    work = BenchmarkWork(settings_of(tmp_path, rows, "max_solutions=12"), 5)
    work.prepare()
    assert sorted(work.solutions["category"].to_pylist()) == ["circular"] * 6 + ["deception"] * 6
