"""SVAMP and MAWPS: texts, answers, and variants of one story that stay in one split."""

import json
from collections import defaultdict

import numpy as np
import pytest

from stepward.domains.math.data import SPLITS, MathProblems
from stepward.domains.math.readers import read_mawps, read_svamp
from stepward.domains.math.variants import variants

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
    assert [(row.id, row.error) for row in rejected] == [("m.jsonl:3", "no answer")]


def test_variants_share_their_words_and_groups_are_what_pairs_of_them_connect() -> None:
    story = "Paco had {} salty cookies and {} sweet cookies. He ate {} {} cookies."
    questions = [
        story.format(26, 17, 14, "sweet") + " How many salty cookies did Paco have left?",
        "Paco ate 3 salty cookies. He had 40 sweet cookies left. How many cookies did he have?",
        "There are 12 birds on a fence. 3 storks came. How many birds are there?",
        story.format(5, 6, 1, "salty"),
        "1 + 1",
        "2 + 2",
    ]
    assert variants(questions).tolist() == [0, 0, 1, 0, 2, 3]
    assert variants(["1", "1"]).tolist() == [0, 1]


def test_no_variant_of_a_held_out_problem_is_trained_on(shared_data) -> None:
    """Published files: SVAMP's hundred stories are each in one split, and MAWPS beside them leaves theirs out."""
    mawps = shared_data / "mawps" / "mawps.jsonl"
    sizes = {"num_train": 3000, "num_validation": 1000, "num_test": 1000}
    settings = MathProblems(source="svamp", path=str(shared_data / "svamp"), more_train=str(mawps), **sizes)
    found = {split: settings.problems(split, seed=0)[0] for split in SPLITS}
    assert {split: len(table) for split, table in found.items()} == {"train": 2125, "validation": 109, "test": 471}
    assert set(found["train"]["source"][:100].to_pylist()) == {"svamp", "file"}
    questions = [question for table in found.values() for question in table["question"].to_pylist()]
    splits = np.repeat(SPLITS, [len(table) for table in found.values()])
    of_group = defaultdict(set)
    for group, split in zip(variants(questions), splits, strict=True):
        of_group[group].add(split)
    assert [splits for splits in of_group.values() if len(splits) > 1] == []
    assert len(read_mawps(mawps)[0]) - (len(questions) - 1000) == 38  # left out of MAWPS


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
