"""Problems and partial walks: splits that never meet, mining that can be replayed, files with bad rows."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stepward.domains.walk.data import SPLITS, WalkMining, WalkProblems, read_problems, walk_states
from stepward.domains.walk.states import ACTIONS, act


def pairs(table: pa.Table) -> set[tuple[int, int]]:
    return set(zip(table["start"].to_pylist(), table["target"].to_pylist(), strict=True))


def test_splits_never_share_a_problem_whatever_the_seed() -> None:
    settings = WalkProblems(num_train=2000, num_validation=300, num_test=600)
    seen = {split: set() for split in SPLITS}
    for seed in range(4):
        for split in SPLITS:
            seen[split] |= pairs(settings.problems(split, seed)[0])
    assert not seen["train"] & seen["validation"]
    assert not seen["train"] & seen["test"]
    assert not seen["validation"] & seen["test"]


def test_problems_are_distinct_in_range_and_chosen_by_the_seed() -> None:
    settings = WalkProblems(max_abs=20, num_train=500, num_validation=50, num_test=100)
    first, again, other = (settings.problems("train", seed)[0] for seed in (0, 0, 1))
    assert first.equals(again)
    assert not first.equals(other)
    assert len(pairs(first)) == len(first) == 500
    assert all(abs(a) <= 20 and abs(b) <= 20 and a != b for a, b in pairs(first))


def test_shares_of_the_splits() -> None:
    """70, 10 and 20 % of all 10,100 pairs, within 4 standard errors of independent draws."""
    count = {}
    for split, share in (("train", 0.7), ("validation", 0.1), ("test", 0.2)):
        with pytest.raises(ValueError, match="expected at most") as refused:
            WalkProblems(num_train=10**6, num_validation=10**6, num_test=10**6).problems(split, 0)
        count[split] = int(str(refused.value).split("expected at most ")[1].split(",")[0])
        assert abs(count[split] - share * 10_100) < 4 * np.sqrt(10_100 * share * (1 - share))
    assert sum(count.values()) == 10_100


def test_partial_walks_are_what_their_actions_make_of_the_start() -> None:
    problems = WalkProblems(num_train=50).problems("train", 0)[0]
    rows = WalkMining(per_problem=10, max_depth=6).mine(problems, 0)
    assert len(set(rows["id"].to_pylist())) == len(rows) == 500
    depths = []
    for row in rows.to_pylist():
        taken = [a for a in row["actions"] if a >= 0]
        number = row["start"]
        for position, action in enumerate(taken):
            assert number != row["target"], f"a walk goes on after its target at step {position}"
            number = int(act(np.array(number), np.array(action)))
        assert number == row["current"]
        assert row["steps_left"] == 10 - len(taken)
        depths.append(len(taken))
    assert set(depths) == set(range(7))


def test_actions_by_hand() -> None:
    after = {"+1": (-6, 8), "-1": (-8, 6), "*2": (-14, 14), "/2": (-4, 3), "+3": (-4, 10), "-3": (-10, 4)}
    for index, name in enumerate(ACTIONS):
        assert tuple(act(np.array([-7, 7]), np.array([index, index])).tolist()) == after[name]


def test_mining_does_not_depend_on_the_other_problems() -> None:
    problems = WalkProblems(num_train=20).problems("train", 0)[0]
    together = WalkMining(per_problem=3).mine(problems, 5)
    alone = WalkMining(per_problem=3).mine(problems.slice(7, 2), 5)
    assert together.slice(21, 6).equals(alone)


ROWS = [
    {"id": "a", "start": 3, "target": 10},
    {"id": "b", "start": 4, "target": -5, "split": "test"},
    {"start": 7, "target": 8},
]
BAD = [
    ({"id": "c", "start": "x", "target": 1}, "start: expected a whole number, got 'x'"),
    ({"id": "d", "start": 1}, "target: expected a whole number, got None"),
    ({"id": "e", "start": 1, "target": 99}, "target: expected at most 50 in absolute value, got 99"),
    ({"id": "a", "start": 1, "target": 2}, "id: expected a unique id, got 'a' again"),
    ({"id": "f", "start": 1, "target": 2, "split": "dev"}, "split: expected one of"),
]


def write(path: Path, rows: list[dict]) -> None:
    if path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
        return
    columns = ("id", "start", "target", "split")
    texts = {name: [None if row.get(name) is None else str(row[name]) for row in rows] for name in columns}
    if path.suffix == ".csv":
        lines = [",".join(columns)]
        lines += [",".join(texts[name][i] or "" for name in columns) for i in range(len(rows))]
        path.write_text("\n".join(lines) + "\n")
    else:
        pq.write_table(pa.table({name: pa.array(texts[name], pa.string()) for name in columns}), path)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_a_users_file_gives_its_good_rows_and_names_its_bad_ones(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"mine{suffix}"
    write(path, [*ROWS, *(row for row, _ in BAD)])
    train, rejected = read_problems(str(path), "train", 50, 10)
    test, _ = read_problems(str(path), "test", 50, 10)
    assert train["id"].to_pylist() == ["a", "s7t8"]
    assert test["id"].to_pylist() == ["b"]
    assert train["max_steps"].to_pylist() == [10, 10]
    assert walk_states(train).current.tolist() == [3, 7]
    assert len(rejected) == len(BAD)
    for position, (letter, (_, message)) in enumerate(zip(rejected, BAD, strict=True), start=len(ROWS) + 1):
        assert letter.id == f"{path.name}:{position}"
        assert letter.error.startswith(message)


def test_lines_that_are_not_json_are_rejected_with_their_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"start": 1, "target": 2}\n\n{"start": 3,\n[1, 2]\n')
    table, rejected = read_problems(str(path), "train", 50, 10)
    assert len(table) == 1
    assert [letter.id for letter in rejected] == ["mine.jsonl:3", "mine.jsonl:4"]
    assert rejected[0].content == '{"start": 3,'


@pytest.mark.parametrize(("name", "message"), [("none.csv", "there is no"), ("mine.txt", "expected rows of JSON")])
def test_files_that_cannot_be_read_are_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "mine.txt").write_text("1 2")
    with pytest.raises(ValueError, match=message):
        read_problems(str(tmp_path / name), "train", 50, 10)


GOOD = '{"id": "good", "start": 1, "target": 2}'


@pytest.mark.parametrize("line", [
    '{"id": "x", "start": 1, "target": %s}' % ("9" * 5000), "[" * 100_000, '{"id": "\\ud800", "start": 1, "target": 3}',
    '{"id": "x", "start": 1, "target": 1e999}', '{"id": "x", "start": NaN, "target": 1}',
], ids=["digits", "deep", "surrogate", "infinite", "nan"])  # fmt: skip
def test_a_hostile_line_is_a_bad_row_and_stops_no_reader(tmp_path: Path, line: str) -> None:
    (tmp_path / "mine.jsonl").write_text(f"{line}\n{GOOD}\n")
    table, rejected = read_problems(str(tmp_path / "mine.jsonl"), "train", 50, 10)
    assert table["id"].to_pylist() == ["good"]
    assert [row.id for row in rejected] == ["mine.jsonl:1"]


def test_ragged_rows_of_a_csv_file_are_bad_rows_at_their_place(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("id,start,target\na,1,2\nb,1\nc,2,3\nd,1,2,3\ne,500,1\n")
    table, rejected = read_problems(str(tmp_path / "mine.csv"), "train", 50, 10)
    assert table["id"].to_pylist() == ["a", "c"]
    assert [row.id for row in rejected] == ["mine.csv:2", "mine.csv:4", "mine.csv:5"]


def test_a_byte_order_mark_is_no_part_of_the_first_row(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text('{"start": 1, "target": 2}', encoding="utf-8-sig")
    table, rejected = read_problems(str(tmp_path / "mine.jsonl"), "train", 50, 10)
    assert (table["id"].to_pylist(), rejected) == (["s1t2"], [])
