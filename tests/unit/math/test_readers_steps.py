import json

import numpy as np
import pytest

from stepward.domains.math.readers import (
    predict_first_error,
    read_prm800k,
    read_processbench,
    score_prm800k,
    score_processbench,
)


def write_lines(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def bench_row(first_error, **changes):
    return {
        "id": f"gsm8k-{first_error}",
        "generator": "Qwen2-7B-Instruct",
        "problem": "Sue lives in a fun neighborhood.",
        "steps": ["one", "two", "three"],
        "final_answer_correct": first_error == -1,
        "label": first_error,
    } | changes


def test_processbench_labels_become_ratings(tmp_path):
    path = write_lines(tmp_path / "gsm8k.json", bench_row(-1))
    path.write_text(json.dumps([bench_row(label) for label in (-1, 0, 1, 2)]))
    solutions, rejected = read_processbench(path)
    assert rejected == []
    assert [s.ratings for s in solutions] == [(1, 1, 1), (-1, None, None), (1, -1, None), (1, 1, -1)]
    assert [s.first_error for s in solutions] == [-1, 0, 1, 2]
    assert solutions[1].id == "processbench/gsm8k/gsm8k-0"
    assert solutions[1].final_answer_correct is False
    assert solutions[1].generator == "Qwen2-7B-Instruct"


def test_processbench_bad_rows(tmp_path):
    rows = [
        bench_row(3),
        bench_row(-2),
        bench_row(0, steps=[]),
        bench_row(0, steps=["a", 1]),
        bench_row(0, label="0"),
        bench_row(0, label=True),
        bench_row(0, problem=""),
        bench_row(0, final_answer_correct=None),
        bench_row(1),
    ]
    solutions, rejected = read_processbench(write_lines(tmp_path / "math.jsonl", *rows))
    assert len(solutions) == 1
    assert [r.id for r in rejected] == [f"math.jsonl:{line}" for line in range(1, 9)]
    assert "expected -1 to 2 for 3 steps, got 3" in rejected[0].error


def test_processbench_score_by_hand():
    labels = np.array([0, 1, 2, 3, -1, -1, -1, -1, -1])
    predicted = np.array([0, 2, 2, -1, -1, -1, -1, 4, -1])
    score = score_processbench(predicted, labels)
    assert (score.error_accuracy, score.correct_accuracy) == (0.5, 0.8)
    assert score.f1 == pytest.approx(2 * 0.5 * 0.8 / 1.3)
    assert (score.num_erroneous, score.num_correct) == (4, 5)
    # Calling everything correct, or everything wrong at the first step, is worth nothing.
    assert score_processbench(np.full(9, -1), labels).f1 == 0
    assert score_processbench(labels, labels).f1 == 1


def test_processbench_score_is_not_defined_without_both_kinds():
    with pytest.raises(ValueError, match="0 and 2"):
        score_processbench(np.array([-1, -1]), np.array([-1, -1]))
    with pytest.raises((ValueError, TypeError), match=r"score_processbench|one prediction a label"):  # checked twice
        score_processbench(np.array([1]), np.array([1, -1]))


def test_predicted_first_error_ignores_padding():
    scores = np.array([[0.9, 0.2, 0.1], [0.9, 0.8, 0.0], [0.1, 0.9, 0.9]])
    assert predict_first_error(scores, np.array([3, 2, 3]), 0.5).tolist() == [1, -1, 0]


def completion(text, rating):
    return {"text": text, "rating": rating, "flagged": None}


def prm_row(steps, *, generation=9, finish="found_error", planned=None, **changes):
    return {
        "labeler": "340d89bc",
        "timestamp": "2023-01-22T04:34:27.052924",
        "generation": generation,
        "is_quality_control_question": False,
        "is_initial_screening_question": False,
        "question": {
            "problem": "What is the greatest common factor?",
            "ground_truth_solution": "It is \\boxed{40}.",
            "ground_truth_answer": "40",
            "pre_generated_steps": planned,
            "pre_generated_answer": "320",
            "pre_generated_verifier_score": 0.01,
        },
        "label": {"steps": steps, "total_time": 278270, "finish_reason": finish},
    } | changes


def step(*completions, chosen=0, human=None):
    return {"completions": list(completions), "human_completion": human, "chosen_completion": chosen}


def test_prm800k_phase_2_ends_at_the_first_error(tmp_path):
    row = prm_row(
        [
            step(completion("a", 0)),
            step(completion("b", 1)),
            step(completion("alternative", 0), completion("c", -1), chosen=None),
        ],
        planned=["a", "b", "c", "d"],
    )
    path = write_lines(tmp_path / "phase2_test.jsonl", row)
    (whole, alternative), rejected = read_prm800k(path)
    assert rejected == []
    assert (whole.steps, whole.ratings, whole.first_error) == (("a", "b", "c"), (0, 1, -1), 2)
    assert (alternative.steps, alternative.ratings) == (("a", "b", "alternative"), (0, 1, 0))
    assert whole.tags == ("phase 2", "found_error")
    assert whole.problem.answer == "40"
    assert (whole.id, alternative.id) == ("prm800k/phase2_test/0", "prm800k/phase2_test/0/2/0")
    assert read_prm800k(path, alternatives=False)[0] == [whole]


def test_prm800k_phase_1_has_choices_and_human_steps(tmp_path):
    row = prm_row(
        [
            step(completion("x", -1), completion("a", 1), chosen=1),
            step(completion("y", -1), chosen=None, human={"text": "written", "rating": None, "source": "human"}),
            step(completion("z", None), completion("end", 1), chosen=1),
        ],
        generation=None,
        finish="solution",
        is_quality_control_question=True,
    )
    solutions, _ = read_prm800k(write_lines(tmp_path / "phase1.jsonl", row))
    assert (solutions[0].steps, solutions[0].ratings) == (("a", "written", "end"), (1, 1, 1))
    assert [(s.steps, s.ratings) for s in solutions[1:]] == [
        (("x",), (-1,)),
        (("a", "y"), (1, -1)),
        (("a", "written", "z"), (1, 1, None)),
    ]
    assert solutions[0].tags == ("phase 1", "solution", "quality control")


def test_prm800k_bad_rows(tmp_path):
    rows = [
        prm_row([step(completion("a", 1))], finish="bad_problem"),
        prm_row([]),
        prm_row([step(chosen=None)]),
        prm_row([step(completion("a", 2))]),
        prm_row([step(completion("a", 1), chosen=1)]),
        prm_row([step({"rating": 1})]),
        prm_row([step(completion("a", 1))], question={"problem": "no answer"}),
        prm_row([step(completion("a", 1))], label=None),
        prm_row([7]),
        prm_row([step(completion("a", 1))]),
    ]
    solutions, rejected = read_prm800k(write_lines(tmp_path / "p.jsonl", *rows))
    assert [s.id for s in solutions] == ["prm800k/p/9"]
    assert [r.id for r in rejected] == [f"p.jsonl:{line}" for line in range(1, 10)]
    assert "bad problem" in rejected[0].error


def test_prm800k_score_by_hand():
    scores = [np.array([0.9, 0.4, 0.8]), np.array([0.6, 0.1, 0.8, 0.0])]
    ratings = [(1, -1, 0), (-1, -1, 1, None)]
    score = score_prm800k(scores, ratings)
    # Right .9 .8 .8, wrong .4 .6 .1; called wrong: .4 .1.
    assert (score.num_right, score.num_wrong) == (3, 3)
    assert score.accuracy == pytest.approx(5 / 6)
    assert (score.error_precision, score.error_recall) == (1.0, pytest.approx(2 / 3))
    assert score.error_f1 == pytest.approx(0.8)
    assert score.auc == 1.0
    strict = score_prm800k(scores, ratings, neutral_is_right=False)
    # Right .9 .8, wrong .4 .8 .6 .1: of 8 pairs 7 in order and 1 tie.
    assert strict.auc == pytest.approx(7.5 / 8)
    assert strict.accuracy == pytest.approx(4 / 6)


def test_prm800k_score_refuses_what_is_not_defined():
    with pytest.raises(ValueError, match="right and wrong"):
        score_prm800k([np.array([0.5])], [(1,)])
    with pytest.raises(ValueError, match="different lengths"):
        score_prm800k([np.array([0.5, 0.5])], [(1,)])
