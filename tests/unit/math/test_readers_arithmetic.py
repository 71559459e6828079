"""SVAMP and MAWPS: texts, answers, and variants of one story that stay in one split."""

import json
from collections import defaultdict

import pytest

from stepward.domains.math.data import SPLITS, MathProblems
from stepward.domains.math.readers import read_mawps, read_svamp

STORY = {
    "Body": "Dan had $ 3 left",
    "Question": "How much?",
    "Answer": 51.0,
    "Equation": "( 76.0 - 25.0 )",
    "Type": "-",
}


def test_svamp_rows(tmp_path) -> None:
    bad = [{"Body": "b"}, STORY | {"Answer": "many"}, STORY | {"Body": None}, STORY | {"Answer": "inf"}]
    (tmp_path / "SVAMP.json").write_text(
        json.dumps([STORY, *bad, STORY | {"Body": "DAN had $ 17 left.", "Answer": 0.5}])
    )
    (first, last), rejected = read_svamp(tmp_path / "SVAMP.json")
    assert (first.id, last.id) == ("svamp/SVAMP/0", "svamp/SVAMP/5")
    assert (first.question, first.answer) == ("Dan had $ 3 left. How much?", "51")
    assert (last.question, last.answer) == ("DAN had $ 17 left. How much?", "0.5")
    assert (first.solution, first.subject) == ("( 76.0 - 25.0 )", "-")
    assert [row.id for row in rejected] == [f"SVAMP.json:{number}" for number in range(2, 6)]
    assert rejected[1].error == "field 'Answer': expected a number, got 'many'"


def test_mawps_rows(tmp_path) -> None:
    rows = [{"question": "1,200 and 3.5?", "answer": 1203.5}, {"question": "2 and 4?", "answer": 6}, {"question": "q"}]
    (tmp_path / "m.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    problems, rejected = read_mawps(tmp_path / "m.jsonl")
    assert [p.answer for p in problems] == ["1203.5", "6"]
    assert {p.group for p in problems} == {"# and #?"}
    assert [(row.id, row.error) for row in rejected] == [("m.jsonl:3", "no answer")]


@pytest.mark.parametrize(
    ("source", "file", "read", "rows", "groups"),
    [("svamp", "SVAMP.json", read_svamp, 1000, 652), ("mawps", "mawps.jsonl", read_mawps, 1743, 1500)],
)
def test_real_files_keep_variants_of_a_problem_in_one_split(shared_data, source, file, read, rows, groups) -> None:
    path = shared_data / source / file
    problems, rejected = read(path)
    assert (len(problems), rejected) == (rows, [])
    assert len({p.group for p in problems}) == groups
    group = {p.id: p.group for p in problems}
    splits, found = defaultdict(set), 0
    settings = MathProblems(source=source, path=str(path), num_train=rows, num_validation=rows, num_test=rows)
    for split in SPLITS:
        table, _ = settings.problems(split, seed=0)
        found += len(table)
        for row in table["id"].to_pylist():
            splits[group[row]].add(split)
    assert found == rows
    assert all(len(of) == 1 for of in splits.values())


@pytest.mark.parametrize("source", ["svamp", "mawps"])
def test_sources_that_are_files_need_a_path(source: str) -> None:
    with pytest.raises(ValueError, match="expected path"):
        MathProblems(source=source)


def test_a_pattern_of_published_files_is_cut_into_splits_as_one_file_is(tmp_path) -> None:
    rows = [json.dumps({"question": f"q {i}", "answer": f"#### {i}"}) + "\n" for i in range(60)]
    for part in (0, 1):
        (tmp_path / f"{part}.jsonl").write_text("".join(rows[30 * part : 30 * part + 30]))
    settings = MathProblems(source="gsm8k", path=str(tmp_path / "*.jsonl"))
    found = [question for split in SPLITS for question in settings.problems(split, 0)[0]["question"].to_pylist()]
    assert sorted(found) == sorted(f"q {i}" for i in range(60))
