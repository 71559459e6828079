import json

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stepward.domains.math.grading import Grader, last_boxed
from stepward.domains.math.problems import Problem, RatedSolution
from stepward.domains.math.readers import read_gsm8k, read_gsm8k_model_solutions, read_math, strip_calculator


def write_lines(path, *rows):
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8"
    )
    return path


GOOD = {"question": "Half of 48?", "answer": "48/2 = <<48/2=24>>24\nTwice: <<24*50=1200>>1200\n#### 1,200"}


def test_gsm8k_rows(tmp_path):
    (problem,), rejected = read_gsm8k(write_lines(tmp_path / "test.jsonl", GOOD))
    assert rejected == []
    assert (problem.id, problem.source, problem.answer) == ("gsm8k/test/0", "gsm8k", "1200")
    assert problem.solution == "48/2 = 24\nTwice: 1200\n#### 1,200"
    (kept,), _ = read_gsm8k(tmp_path / "test.jsonl", keep_calculator=True)
    assert kept.solution == GOOD["answer"]


def test_bad_rows_are_recorded_and_never_fatal(tmp_path):
    path = write_lines(
        tmp_path / "test.jsonl",
        {"question": "no answer"},
        '{"question": "cut off',
        {"question": "  ", "answer": "#### 1"},
        {"question": "no mark", "answer": "just 5"},
        {"question": "empty mark", "answer": "5\n####  "},
        {"question": 7, "answer": None},
        "[1, 2]",
        "null",
        "",
        GOOD,
        "[" * 100_000,
    )
    problems, rejected = read_gsm8k(path)
    assert [p.id for p in problems] == ["gsm8k/test/8"]  # the blank line is no row
    assert [r.id for r in rejected] == [f"test.jsonl:{line}" for line in (1, 2, 3, 4, 5, 6, 7, 8, 11)]
    assert all(len(r.content) <= 1000 for r in rejected)
    reasons = [r.error for r in rejected]
    assert (reasons[0], reasons[2]) == ("no answer", "no question")
    assert reasons[1].startswith("malformed JSON: expected an object")
    assert all("no final line" in reason for reason in reasons[3:5])


def test_gsm8k_real_files(shared_data):
    for split, size in (("train", 7473), ("test", 1319)):
        problems, rejected = read_gsm8k(shared_data / "gsm8k" / f"{split}.jsonl")
        assert (len(problems), rejected) == (size, [])
        assert len({p.id for p in problems}) == size
        assert all(float(p.answer) == float(p.solution.split("####")[1].replace(",", "")) for p in problems)
        assert not any("<<" in p.solution or ">>" in p.solution for p in problems)


def test_model_solutions_real_file(shared_data):
    solutions, rejected = read_gsm8k_model_solutions(shared_data / "gsm8k" / "example_model_solutions.jsonl")
    assert rejected == []
    tested, _ = read_gsm8k(shared_data / "gsm8k" / "test.jsonl")
    assert {s.generator for s in solutions} == {
        "6b_finetuning",
        "6b_verification",
        "175b_finetuning",
        "175b_verification",
    }
    assert [s.problem.answer for s in solutions[::4]] == [p.answer for p in tested]
    assert len({s.id for s in solutions}) == 4 * 1319


def test_model_solutions_bad_rows(tmp_path):
    whole = {"question": "q", "ground_truth": "A: 5", "small": {"is_correct": True, "solution": "A: 5"}}
    path = write_lines(
        tmp_path / "s.jsonl", whole, whole | {"small": {"solution": "A: 5"}}, {"question": "q", "ground_truth": "A: 1"}
    )
    (solution,), rejected = read_gsm8k_model_solutions(path)
    assert (solution.id, solution.text, solution.correct) == ("gsm8k/s/0/small", "A: 5", True)
    assert [r.error for r in rejected] == [
        "field 'is_correct': expected bool, got NoneType",
        "no model solutions",
    ]


def test_strip_calculator():
    assert strip_calculator("a <<1+1=2>>2 <b> << c >>") == "a 2 <b> "
    assert strip_calculator("<<cut off") == "<<cut off"


def test_math_answer_from_field_or_box(tmp_path):
    rows = [
        {"problem": "p", "answer": "\\frac12", "solution": "\\boxed{9}", "subject": "Algebra", "level": "Level 5"},
        {"problem": "p", "final_answer": 7},
        {"problem": "p", "solution": "first \\boxed{1} then \\boxed{\\frac{1}{\\sqrt{2}}}", "type": "Geometry"},
        {"problem": "p", "solution": "unclosed \\boxed{\\frac{1}{2}"},
        {"answer": "7"},
    ]
    listed = tmp_path / "math.json"
    listed.write_text(json.dumps(rows))
    problems, rejected = read_math(listed)
    assert [p.answer for p in problems] == ["\\frac12", "7", "\\frac{1}{\\sqrt{2}}"]
    assert [p.subject for p in problems] == ["Algebra", "", "Geometry"]
    assert [r.id for r in rejected] == ["math.json:4", "math.json:5"]
    assert read_math(write_lines(tmp_path / "math.jsonl", *rows))[0] == problems


def test_math_published_archive_is_a_folder(tmp_path):
    for subject in ("algebra", "geometry"):
        (tmp_path / subject).mkdir()
        for n in (1, 2):
            row = {"problem": f"{subject} {n}", "solution": f"\\boxed{{{n}}}", "type": subject, "level": "Level 1"}
            (tmp_path / subject / f"{n}.json").write_text(json.dumps(row))
    (tmp_path / "geometry" / "3.json").write_text("{broken")
    problems, rejected = read_math(tmp_path)
    assert [p.question for p in problems] == ["algebra 1", "algebra 2", "geometry 1", "geometry 2"]
    assert [r.id for r in rejected] == ["geometry/3.json:1"]


def test_math_real_files(shared_data):
    tested, rejected = read_math(shared_data / "math" / "test500.jsonl")
    assert (len(tested), rejected) == (500, [])
    assert all(p.subject and p.level.startswith("Level ") and p.solution for p in tested)
    boxed = [last_boxed(p.solution) for p in tested]
    with Grader() as grader:
        verdicts = grader.grade(boxed, [p.answer for p in tested])
    assert [(p.id, b) for p, b, v in zip(tested, boxed, verdicts, strict=True) if not v.correct] == []
    trained, rejected = read_math(shared_data / "math" / "train_7500.json")
    assert len(trained) + len(rejected) == 7500
    # Two rows of this file have an empty answer.
    assert [r.error for r in rejected] == ["no answer, final_answer or closed \\boxed in solution"] * 2


def test_a_folder_of_parquet_is_a_data_set(tmp_path):
    rows = [{"problem": "p", "answer": "7"}, {"problem": "q", "answer": None}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "test.parquet")
    problems, rejected = read_math(tmp_path)
    assert [p.answer for p in problems] == ["7"]
    assert [r.id for r in rejected] == ["test.parquet:2"]


def test_data_set_ids_are_passed_on_with_configuration_and_split(monkeypatch):
    asked = []
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **kwargs: asked.append((args, kwargs)) or [GOOD])
    (problem,), _ = read_gsm8k("openai/gsm8k", split="train")
    assert asked == [(("openai/gsm8k", "main"), {"split": "train"})]
    assert problem.id == "gsm8k/train/0"


def test_missing_files_name_the_remedy(tmp_path):
    with pytest.raises(FileNotFoundError, match="data card"):
        read_gsm8k(tmp_path / "nowhere.jsonl")


def test_ratings_must_match_the_steps():
    with pytest.raises(ValueError, match="1 ratings for 2 steps"):
        RatedSolution("id", Problem("p", "q", "a", "s"), ("a", "b"), (1,))


@pytest.mark.parametrize("line", ['{"question": "q", "answer": %s}' % ("9" * 5000), "[" * 100_000])
def test_a_number_of_too_many_digits_or_a_deep_line_is_a_bad_row(tmp_path, line):
    """Python refuses to read an integer of more than 4,300 digits, with a ValueError that is no JSONDecodeError."""
    for name in ("test.jsonl", "test.json"):
        good = json.dumps({"question": "q", "answer": "#### 3"})
        (tmp_path / name).write_text(f"{line}\n{good}\n" if name.endswith("l") else line)
        problems, rejected = read_gsm8k(tmp_path / name)
        assert len(rejected) == 1
        assert len(problems) == name.endswith("l")


def test_a_byte_order_mark_is_no_part_of_the_first_row(tmp_path):
    (tmp_path / "test.jsonl").write_text(json.dumps(GOOD), encoding="utf-8-sig")
    (problem,), rejected = read_gsm8k(tmp_path / "test.jsonl")
    assert (problem.id, rejected) == ("gsm8k/test/0", [])
