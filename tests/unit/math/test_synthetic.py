import math
import re

import pytest

from stepward.domains.math.grading import final_answer
from stepward.domains.math.problems import Problem
from stepward.domains.math.steps import LINES
from stepward.domains.math.synthetic import (
    AMBIGUOUS_PHRASES,
    LARGER_NUMBERS,
    MORE_STEPS,
    WordProblemFamily,
    check_steps,
    is_ambiguous,
    prompt,
    split_of,
    training_documents,
)

FAMILY = WordProblemFamily()
NUMBERS = re.compile(r": (-?\d+)([+*-])(\d+)=(-?\d+)$")


def within(share, rate, num):
    """Five standard errors of a share of `num` independent cases."""
    return abs(share - rate) <= 5 * math.sqrt(rate * (1 - rate) / num)


def solve(question):
    """The answer, read from the question alone by an independent reader of English."""
    first, *sentences = question.split(". ")[:-1]
    name, value = re.fullmatch(r"(\w+) has (\d+) \w+", first).groups()
    amounts, value = {name: int(value)}, int(value)
    for sentence in sentences:
        who, k = sentence.split()[0], int(re.search(r"\d+", sentence)[0])
        value = amounts[sentence.split()[-1] if sentence.split()[-1] in amounts else who]
        if " times " in sentence:
            value *= k
        elif re.search(r"more|ahead of|takes back|finds|gets", sentence):
            value += k
        else:
            assert re.search(r"fewer|behind|pays|loses|gives away", sentence)
            value -= k
        amounts[who] = value
    return amounts[re.search(r"does (\w+) have", question)[1]]


@pytest.mark.parametrize("family", [FAMILY, MORE_STEPS, LARGER_NUMBERS, WordProblemFamily(ambiguous_share=1.0)])
def test_problems_are_solved_by_an_independent_reader(family):
    for problem in family.problems(0, "test", 100):
        lines = problem.solution.split("\n")
        assert solve(problem.question) == int(problem.answer) == int(final_answer(problem.solution))
        assert family.min_steps <= len(lines) - 1 <= family.max_steps
        for line in lines[:-1]:
            left, _, operand, result = NUMBERS.search(line).groups()
            assert 1 <= int(left) <= family.max_value
            assert 2 <= int(operand) <= family.max_operand
            assert 1 <= int(result) <= family.max_value


def test_every_line_restates_its_sentence():
    for problem in FAMILY.problems(1, "train", 200):
        sentences = problem.question.split(". ")[1:-1]
        assert [line.split(": ")[0] for line in problem.solution.split("\n")[:-1]] == sentences
        assert prompt(problem) == problem.question + "\n"
        assert LINES.split(problem.solution)[-1] == f"#### {problem.answer}"


def test_a_problem_depends_on_its_own_id_only():
    forwards = list(FAMILY.problems(3, "train", 20))
    backwards = [FAMILY.problem(3, "train", i) for i in reversed(range(20))][::-1]
    assert forwards == backwards
    assert list(FAMILY.problems(3, "train", 5, start=15)) == forwards[15:]
    assert FAMILY.problem(4, "train", 0) != forwards[0]


GOLDEN_QUESTION = (
    "Ana has 39 books. Ana gives away 11 books. Ana gives away 3 books. Ana finds 12 books. Ana gets 3 books. "
    "How many books does Ana have?"
)
GOLDEN_ANSWER = "40"


def test_golden_problem():
    problem = FAMILY.problem(0, "train", 0)
    assert problem.id == "words/0/train/0"
    assert problem.question == GOLDEN_QUESTION
    assert problem.answer == GOLDEN_ANSWER


def test_splits_are_disjoint():
    questions = {s: {p.question for p in FAMILY.problems(0, s, 500)} for s in ("train", "validation", "test")}
    trained = {d.split("\n")[0] for d in training_documents(0, 1000, drill_share=0)}
    assert all(split_of(q) == split for split, qs in questions.items() for q in qs)
    assert {split_of(q) for q in trained} == {"train"}
    assert not trained & (questions["validation"] | questions["test"])
    assert not questions["validation"] & questions["test"]
    assert len(questions["test"]) > 497  # the family is large: repetitions are rare


def test_share_of_ambiguous_sentences():
    lines = [line for p in FAMILY.problems(0, "train", 800) for line in p.solution.split("\n")[:-1]]
    assert within(sum(map(is_ambiguous, lines)) / len(lines), 0.25, len(lines))
    assert all(any(phrase in line for line in lines) for phrase in AMBIGUOUS_PHRASES)


def test_planted_rates():
    documents = [
        d.split("\n")[1:-1] for d in training_documents(0, 1000, drill_share=0, ambiguous_error=0.5, slip=0.02)
    ]
    lines = [line for document in documents for line in document]
    parsed = [(line, *NUMBERS.search(line).groups()) for line in lines]
    plus = re.compile(r"more|ahead of|takes back|finds|gets")
    ambiguous = [(line, op) for line, _, op, _, _ in parsed if is_ambiguous(line)]
    wrong = [op != ("+" if plus.search(line) else "-") for line, op in ambiguous]
    assert within(sum(wrong) / len(wrong), 0.5, len(wrong))
    clear = [(line, op) for line, _, op, _, _ in parsed if not is_ambiguous(line) and op != "*"]
    assert all(op == ("+" if plus.search(line) else "-") for line, op in clear)
    apply = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}
    slips = [apply[op](int(a), int(k)) != int(result) for _, a, op, k, result in parsed]
    # A slip that would give less than 0 gives 0, which may be the right result; that is rarer than the tolerance.
    assert within(sum(slips) / len(slips), 0.02, len(slips))
    # Wrong lines are carried on: every line starts from the result of the line before.
    for document in documents:
        numbers = [NUMBERS.search(line).groups() for line in document]
        assert [n[0] for n in numbers[1:]] == [n[3] for n in numbers[:-1]]


def test_without_errors_all_documents_are_right():
    for document in training_documents(2, 150, drill_share=0, ambiguous_error=0, slip=0):
        question, solution = document.split("\n", 1)
        assert solve(question) == int(final_answer(solution))


def test_drills_are_right_and_as_frequent_as_asked():
    documents = list(training_documents(0, 600, drill_share=0.25))
    drills = [d for d in documents if re.fullmatch(r"(\d+[+*-]\d+=\d+\n?)+", d)]
    assert within(len(drills) / 600, 0.25, 600)
    apply = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}
    for line in "\n".join(drills).split("\n"):
        a, operator, b, result = re.fullmatch(r"(\d+)([+*-])(\d+)=(\d+)", line).groups()
        assert apply[operator](int(a), int(b)) == int(result)


def test_documents_do_not_depend_on_the_batch():
    documents = list(training_documents(5, 30))
    assert list(training_documents(5, 10, start=20)) == documents[20:]


def test_check_steps():
    for problem in FAMILY.problems(7, "test", 100):
        lines = problem.solution.split("\n")
        assert check_steps(problem, lines) == [True] * len(lines)
        assert check_steps(problem, [line + "\n" for line in lines[:2]]) == [True, True]
        assert check_steps(problem, [*lines, "#### 1"])[-1] is False
        assert check_steps(problem, lines[1:])[0] is False
        assert check_steps(problem, [lines[0], f"#### {problem.answer}"]) == [True, False]


def test_check_steps_reads_arithmetic_not_typography():
    problem = next(p for p in FAMILY.problems(0, "test", 100) if "+" in p.solution.split("\n")[0])
    line = problem.solution.split("\n")[0]
    sentence, a, b, result = re.fullmatch(r"(.+): (\d+)\+(\d+)=(\d+)", line).groups()
    assert check_steps(problem, [f"{sentence}: {b}+{a}={result}"]) == [True]
    assert check_steps(problem, [f"{sentence}: {a}-{b}={int(a) - int(b)}"]) == [False]
    assert check_steps(problem, [f"{sentence}: {a}+{b}={int(result) + 1}"]) == [False]
    assert check_steps(problem, [f"{int(a) + 1}+{b}={result}"]) == [False]
    assert check_steps(problem, ["", "absurd: 1+1=3"]) == [False, False]


def test_check_steps_against_the_independent_reader():
    num_wrong = 0
    for document in training_documents(9, 100, drill_share=0, ambiguous_error=0.5, slip=0.1):
        question, *lines = document.split("\n")
        truth = training_truth(question)
        right = check_steps(as_problem(question, truth), lines)
        assert right == [line == true for line, true in zip(lines, truth, strict=True)]
        if not all(right[:-1]):  # the lines after a wrong one start from its wrong result, so the next one is wrong too
            first = right.index(False)
            assert right[first + 1] is False
            num_wrong += 1
    assert num_wrong > 20


def training_truth(question):
    """The true lines of a question, by the independent reader: solve each prefix."""
    first, *sentences = question.split(". ")[:-1]
    value, lines = int(re.search(r"\d+", first)[0]), []
    for i, sentence in enumerate(sentences):
        who = sentence.split()[0]
        result = solve(f"{'. '.join([first, *sentences[: i + 1]])}. How many does {who} have?")
        k = int(re.search(r"\d+", sentence)[0])
        operator = "*" if " times " in sentence else "+" if result > value else "-"
        lines.append(f"{sentence}: {value}{operator}{k}={result}")
        value = result
    return [*lines, f"#### {value}"]


def as_problem(question, lines):
    return Problem("p", question, lines[-1].split()[-1], "words", "\n".join(lines))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_steps": 0}, "min_steps"),
        ({"min_steps": 6}, "min_steps"),
        ({"ambiguous_share": 1.5}, "ambiguous_share"),
        ({"max_operand": 1}, "max_operand"),
        ({"max_value": 34}, "max_value"),
    ],
)
def test_impossible_families_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        WordProblemFamily(**settings)


def test_impossible_requests_are_refused():
    with pytest.raises(ValueError, match="index >= 0"):
        FAMILY.problem(0, "train", -1)
    with pytest.raises(ValueError, match="rates between 0 and 1"):
        list(training_documents(0, 1, slip=2))


def test_the_tightest_family_is_still_feasible():
    tight = WordProblemFamily(min_steps=8, max_steps=8, max_value=56, ambiguous_share=1.0)
    assert len({p.question for p in tight.problems(0, "train", 4)}) == 4
