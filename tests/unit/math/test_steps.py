import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepward.domains.math.readers import read_gsm8k, read_math
from stepward.domains.math.steps import is_final_answer, join_steps, split_steps

MODES = ["auto", "lines", "sentences", "markers"]
TEXT = st.text(st.sampled_from("ab1. !?\n\r\t$\\#Step:A\u2028é"), max_size=80) | st.text(max_size=80)


@given(TEXT, st.sampled_from(MODES))
def test_splitting_loses_nothing(text, mode):
    steps = split_steps(text, mode=mode)
    assert join_steps(steps) == text
    assert len(steps) <= 1 or all(step.strip() for step in steps)


@given(st.lists(st.text(st.characters(exclude_characters="\n"), min_size=1), min_size=1), st.text(max_size=40))
def test_lines_are_stable_under_continuation(lines, more):
    beginning = "".join(f"{line}\n" for line in lines)
    steps = split_steps(beginning, mode="lines")
    extended = split_steps(beginning + "x" + more, mode="lines")
    if beginning.strip():
        assert extended[: len(steps)] == steps


def test_one_line_is_one_step():
    assert split_steps("a: 1+1=2\nb: 2+2=4\n#### 4") == ["a: 1+1=2\n", "b: 2+2=4\n", "#### 4"]
    assert split_steps("\n\na\n\n\nb\n") == ["\n\na\n\n\n", "b\n"]


def test_sentences_when_there_is_one_paragraph():
    text = "We have $3.5$ apples, e.g. two halves. Then we eat 1.5 of them! $x = 2$ remain. So \\boxed{2}."
    assert split_steps(text) == [
        "We have $3.5$ apples, e.g. two halves. ",
        "Then we eat 1.5 of them! ",
        "$x = 2$ remain. ",
        "So \\boxed{2}.",
    ]


def test_markers_keep_their_lines_together():
    text = "Plan first.\nStep 1: add\n1+1=2\n**Step 2:** double\n2*2=4\n"
    assert split_steps(text) == ["Plan first.\n", "Step 1: add\n1+1=2\n", "**Step 2:** double\n2*2=4\n"]


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_blank_text(text):
    assert split_steps(text) == ([text] if text else [])


@pytest.mark.parametrize(
    ("step", "final"),
    [
        ("#### 5", True),
        ("A: 5\n", True),
        ("so \\boxed{5}", True),
        ("so \\boxed 5", True),
        ("so \\framebox[2cm]{5}", True),
        ("so \\boxedminipage", False),
        ("The answer is 5.", True),
        ("5+5=10", False),
        ("", False),
    ],
)
def test_final_answer_lines(step, final):
    assert is_final_answer(step) == final


def test_real_solutions(shared_data):
    gsm8k, _ = read_gsm8k(shared_data / "gsm8k" / "test.jsonl")
    for problem in gsm8k:
        steps = split_steps(problem.solution)
        assert len(steps) >= 2
        assert [is_final_answer(step) for step in steps][-1]
    math, _ = read_math(shared_data / "math" / "test500.jsonl")
    assert all(join_steps(split_steps(p.solution)) == p.solution for p in math)


def test_unknown_mode():
    with pytest.raises(ValueError, match="expected mode"):
        split_steps("a", mode="words")
