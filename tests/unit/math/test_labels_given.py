"""Labels that come with the data: no policy, no rollout, the same stage and the same learning."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stepward.core.config import parse_config
from stepward.core.wing import find_wing
from stepward.domains.math import Ending, math_states
from stepward.label import LabelSettings, LabelWork, finish, label_settings, mines_in_workers, plan
from stepward.runtime.training import train_job, with_labels
from stepward.train.labels import read_labels

WING = find_wing("math")
ROWS: list[dict[str, Any]] = [
    {"question": "2+3?", "answer": "5", "steps": ["2 and 3", "make\n6", "A: 6"], "ratings": [1, -1, None]},
    {"question": "2+3?", "answer": "5", "steps": ["2 and 3", "make 5", "A: 5"], "ratings": [0, 1, 1]},
    {"question": "1+1?", "answer": "2", "steps": ["A: 3"], "ratings": [-1], "id": "mine"},
    {"question": "1+1?", "answer": "2", "steps": ["A: 3", "x"], "ratings": [-1]},  # a rating short
    {"question": "1+1?", "answer": "2", "steps": ["A: 3"], "ratings": [0.5]},
]


def settings_of(tmp_path: Path, *values: str) -> LabelSettings:
    (tmp_path / "rated.jsonl").write_text("\n".join(json.dumps(row) for row in ROWS))
    common = [f"store={tmp_path}", "labels.kind=given", f"labels.path={tmp_path / 'rated.jsonl'}"]
    return parse_config(label_settings(WING), [*common, *values])


def made(settings: LabelSettings) -> LabelWork:
    work = LabelWork(settings.artifact("label"), settings.identity())
    work.artifact.begin(settings.identity())
    plan(settings, work, 2)
    task = settings.labels.task(settings, 1)
    for batch in work.left():
        work.begin(batch)
        work.commit(batch, *task(work.rows(batch)))
    finish(settings, work, 0.0)
    return work


def test_ratings_become_counts_that_are_learned_from(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "labels.split=train")
    assert not mines_in_workers(settings), "no model is needed"
    work = made(settings)
    table = work.artifact.folder.read_table("labels").sort_by("id")
    found = {(row["question"], row["text"]): row for row in table.to_pylist()}
    counts = {key: (row["successes"], row["num_rollouts"]) for key, row in found.items()}
    assert counts == {
        ("2+3?", "2 and 3\n"): (2, 2),  # right in one solution, neutral in the other
        ("2+3?", "2 and 3\nmake 6\n"): (0, 1),
        ("2+3?", "2 and 3\nmake 5\n"): (1, 1),
        ("2+3?", "2 and 3\nmake 5\nA: 5\n"): (1, 1),
        ("1+1?", "A: 3\n"): (0, 1),
    }, "a step that was not rated is no row"
    assert found["1+1?", "A: 3\n"]["id"] == "mine/1"
    ends = dict(zip(table["text"].to_pylist(), table["ending"].to_pylist(), strict=True))
    assert ends["2 and 3\nmake 5\nA: 5\n"] == Ending.ANSWERED
    assert ends["2 and 3\nmake 5\n"] == Ending.OPEN
    labels = read_labels(work.artifact.folder, WING, "train")
    assert sorted(zip(labels.successes, labels.num_rollouts, strict=True)) == sorted(counts.values())
    assert work.artifact.manifest().cost["ratings"] == 6


def test_rows_that_cannot_be_used_are_dead_letters_with_their_place(tmp_path: Path) -> None:
    work = made(settings_of(tmp_path, "labels.split=train"))
    dead = work.artifact.folder.read_table("dead_letters.parquet").to_pylist()
    assert [row["id"] for row in dead] == ["rated.jsonl:4", "rated.jsonl:5"]
    assert "expected 2 numbers among 1, 0, -1 and null" in dead[0]["error"]


@pytest.mark.parametrize(("neutral", "first"), [("right", (2, 2)), ("wrong", (1, 2)), ("left_out", (1, 1))])
def test_what_a_neutral_rating_counts_as(tmp_path: Path, neutral: str, first: tuple[int, int]) -> None:
    settings = settings_of(tmp_path, f"labels.neutral={neutral}", "labels.split=test")
    rows = settings.miner.mine(settings.source.problems("test", 0)[0], 0)
    [row] = [row for row in rows.to_pylist() if row["text"] == "2 and 3\n"]
    assert (row["successes"], row["num_rollouts"]) == first
    assert settings.source.problems("train", 0)[0].num_rows == 0


def test_a_question_is_in_one_split_and_states_have_their_problem(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    tables = [settings.source.problems(split, 0)[0] for split in ("train", "validation", "test")]
    questions = [name for table in tables for name in table["question"].to_pylist()]
    assert sorted(questions) == ["1+1?", "2+3?"]
    rows = settings_of(tmp_path, "labels.split=train")
    problems = rows.source.problems("train", 0)[0]
    states = math_states(rows.miner.mine(problems, 0))
    assert len(np.unique(states.problem)) == 2
    assert states.num_steps.tolist() == [text.count("\n") for text in states.text]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["problems.num_train=3"], "labels.kind=given brings its own problems"),
        (["mining.samples_per_problem=3"], "labels.kind=given brings its own mining"),
        (["labels.format=prm"], r"Unknown format 'prm': expected one of .*'prm800k'"),
    ],
)
def test_settings_without_effect_and_unknown_formats_are_errors(
    tmp_path: Path, values: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        settings_of(tmp_path, *values)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    for path, message in (
        ("", "expected a file of rated solutions"),
        (f"{tmp_path}/no.jsonl", "labels.path: expected"),
    ):
        chosen = [f"labels.path={path}"] if path else ["labels.path=null"]
        with pytest.raises(ValueError, match=message):
            settings_of(tmp_path, *chosen).source.problems("train", 0)


def test_published_ratings_are_read_by_their_format(tmp_path: Path) -> None:
    """ProcessBench: right before the first wrong step, nothing known after it."""
    row = {"id": "gsm8k-0", "generator": "m", "problem": "q", "steps": ["a", "b", "c"], "label": 1,
           "final_answer_correct": False}  # fmt: skip
    (tmp_path / "bench.json").write_text(json.dumps([row]))
    values = ["labels.format=processbench", f"labels.path={tmp_path / 'bench.json'}", "labels.split=test"]
    settings = settings_of(tmp_path, *values)
    rows = settings.miner.mine(settings.source.problems("test", 0)[0], 0).to_pylist()
    assert [(row["text"], row["successes"], row["num_rollouts"]) for row in rows] == [("a\n", 1, 1), ("a\nb\n", 0, 1)]


def test_prmbench_and_math_shepherd_are_formats(tmp_path: Path) -> None:
    bench = {
        "original_question": "q?",
        "modified_process": ["a", "b"],
        "error_steps": [2],
        "classification": "circular",
    }
    shepherd = {"input": "q? Step 1: a ки\nStep 2: b ки", "label": "q? Step 1: a +\nStep 2: b -"}
    for name, row in (("prmbench", bench), ("math_shepherd", shepherd)):
        settings = settings_of(
            tmp_path, "labels.split=train", f"labels.format={name}", f"labels.path={tmp_path / name}"
        )
        (tmp_path / name).write_text(json.dumps(row))
        rows = settings.miner.mine(settings.source.problems("train", 0)[0], 0).to_pylist()
        assert [(row["successes"], row["num_rollouts"]) for row in rows] == [(1, 1), (0, 1)]


def test_trainings_take_given_labels_without_a_labelling_run(tmp_path: Path) -> None:
    rows = [{"question": f"{i}+1?", "steps": ["so", f"A: {i + 1}"], "labels": [True, i % 2 == 0]} for i in range(40)]
    (tmp_path / "rated.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    values = ["domain=math", f"store={tmp_path}", f"given.path={tmp_path / 'rated.jsonl'}", "given.split=no_test"]
    settings = parse_config(train_job(WING), values)
    ready = with_labels(settings)
    assert ready.label.startswith("given-") and with_labels(settings).label == ready.label
    splits = [len(ready.learning.read(ready, split)) for split in ("train", "validation")]
    assert sum(splits) == 80 and min(splits) > 0
    assert "given" not in ready.identity() and ready.identity()["label"] == ready.label
    assert with_labels(parse_config(train_job(WING), [*values, "label=rated"])).label == "rated"
    (tmp_path / "rated.jsonl").write_text(json.dumps(rows[0]))
    with pytest.raises(ValueError, match="rated is finished with other settings"):
        with_labels(parse_config(train_job(WING), [*values, "label=rated"]))
    assert with_labels(settings).label != ready.label, "another content, other labels"
