"""PRMBench and Math-Shepherd: given step labels become ratings; rows whose labels do not fit are rejected."""

import json

from stepward.domains.math.readers import read_math_shepherd, read_prmbench

STEPS = ["a", "b", "c"]
BENCH = {"original_question": "q", "modified_process": STEPS, "error_steps": [1, 3], "classification": "circular"}
INPUT = "Half of 4? Step 1: 4/2 = 2 + 0 ки\nStep 2: The answer is: 3 ки"
LABEL = "Half of 4? Step 1: 4/2 = 2 + 0 +\nStep 2: The answer is: 3 -"


def write(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def test_prmbench_rows(tmp_path) -> None:
    wrong = [{"error_steps": [0]}, {"error_steps": [4]}, {"error_steps": [True]}, {"modified_process": []}]
    write(tmp_path / "one.jsonl", [BENCH, *(BENCH | change for change in wrong)])
    write(tmp_path / "two.jsonl", [BENCH | {"error_steps": [], "classification": "multi_solutions"}])
    (first, second), rejected = read_prmbench(tmp_path)
    assert (first.id, first.ratings, first.tags) == ("prmbench/one/circular/1", (-1, 1, -1), ("circular",))
    assert (second.id, second.ratings) == ("prmbench/two/multi_solutions/1", (1, 1, 1))
    assert [row.id for row in rejected] == [f"one.jsonl:{line}" for line in (2, 3, 4, 5)]
    assert rejected[1].error == "field 'error_steps': expected numbers from 1 to 3, got [4]"


def test_prmbench_real_files(shared_data) -> None:
    solutions, rejected = read_prmbench(shared_data / "prmbench")
    assert (len(solutions), len(rejected)) == (6610 - 111, 111)
    assert len({s.id for s in solutions}) == len(solutions)
    assert all(row.error.startswith("field 'error_steps'") for row in rejected)
    assert {s.tags[0] for s in solutions if s.first_error == -1} == {"multi_solutions"}
    assert len({s.problem.group for s in solutions}) == 708
    kept, none = read_prmbench(shared_data / "prmbench", outside="ignored")
    assert (len(kept), len(none)) == (6610, 0)


def test_math_shepherd_rows(tmp_path) -> None:
    bad = [
        {"label": LABEL[:-1]},  # a sign is missing
        {"label": LABEL.replace("answer", "result")},
        {"label": LABEL + " more"},
        {"input": INPUT.replace("Step 1: ", ""), "label": LABEL.replace("Step 1: ", "")},
        {"input": INPUT + " open", "label": LABEL + " open"},
        {"input": "no steps", "label": "no steps"},
    ]
    rows = [{"input": INPUT, "label": LABEL, "task": "GSM8K"}]
    path = write(tmp_path / "m.jsonl", rows + [rows[0] | change for change in bad])
    (solution,), rejected = read_math_shepherd(path)
    assert (solution.id, solution.problem.question) == ("math_shepherd/m/0", "Half of 4?")
    assert solution.steps == ("Step 1: 4/2 = 2 + 0", "Step 2: The answer is: 3")
    assert solution.ratings == (1, -1)
    assert [row.id for row in rejected] == [f"m.jsonl:{line}" for line in range(2, 8)]
