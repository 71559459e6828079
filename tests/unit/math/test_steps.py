"""Steps of whole texts, by every rule; what of a text is stable under continuation; where a solution ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepward.domains.math.readers import read_gsm8k, read_math
from stepward.domains.math.steps import LINES, StepRule, is_final_answer, restates, states_answer

BY = ["line", "blank_line", "sentence", "marker"]
TEXT = st.text(st.sampled_from("ab1. !?\n\r\t$\\#Step:A\u2028é"), max_size=80) | st.text(max_size=80)


def split(text: str, by: str) -> list[str]:
    return StepRule(by=by).split(text)


@given(TEXT, st.sampled_from(BY))
def test_splitting_loses_nothing(text, by):
    steps = split(text, by)
    assert "".join(steps) == text
    assert len(steps) <= 1 or all(step.strip() for step in steps)


@given(TEXT, TEXT, st.sampled_from(BY))
def test_a_finished_step_stays_the_same_whatever_follows(text, more, by):
    ends = list(StepRule(by=by).ends(text))
    assert list(StepRule(by=by).ends(text + more))[: len(ends)] == ends


def test_a_step_by_every_rule():
    assert split("a: 1+1=2\nb: 2+2=4\n#### 4", "line") == ["a: 1+1=2\n", "b: 2+2=4\n", "#### 4"]
    assert split("\n\na\n\n\nb\n\n", "line") == ["\n\na\n", "\n\nb\n\n"]
    assert split("a\nb\n\n\nc\n \nd", "blank_line") == ["a\nb\n\n", "\nc\n \n", "d"]
    assert split("Plan first.\nStep 1: add\n1+1=2\n**Step 2:** double\n2*2=4\n", "marker") == [
        "Plan first.\n",
        "Step 1: add\n1+1=2\n",
        "**Step 2:** double\n2*2=4\n",
    ]
    own = StepRule(by="marker", marker=r"\d+\)")
    assert own.split("1) a\n2) b 3) c") == ["1) a\n", "2) b 3) c"]
    assert split(
        "We have $3.5$ apples, e.g. two halves. Then we eat 1.5 of them! $x = 2$ remain. So\nthat is \\boxed{2}.",
        "sentence",
    ) == [
        "We have $3.5$ apples, e.g. two halves. ",
        "Then we eat 1.5 of them! ",
        "$x = 2$ remain. ",
        "So\n",
        "that is \\boxed{2}.",
    ]


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_blank_text(text):
    assert LINES.split(text) == ([text] if text else [])


def test_steps_that_were_given_apart_are_written_so_that_the_rule_finds_them_again():
    given = ["a\nb ", "\nc\n\n\nd"]
    for by, text in {"line": "a b\nc   d\n", "blank_line": "a\nb\n\nc\nd\n\n"}.items():
        assert "".join(map(StepRule(by=by).written, given)) == text
        assert len(split(text, by)) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"by": "tokens"}, "expected a number"),
        ({"tokens": 3}, "by=line"),
        ({"marker": "x"}, "no effect with by=line"),
        ({"by": "marker", "marker": "("}, "regular expression"),
        ({"by": "marker", "marker": "x*"}, "no empty text"),
    ],
)
def test_rules_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        StepRule(**settings)
    with pytest.raises(ValueError, match="a text does not"):
        StepRule(by="tokens", tokens=3).split("a b")


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


def test_what_ends_a_solution_is_a_finished_line():
    text = "a\n#### 5\nQuestion: b\n"
    assert [states_answer(text[:n]) for n in (2, 8, 9)] == [False, False, True]
    assert not states_answer(text, 9) and states_answer(text, 8)
    assert restates(text, "Question:") == 9 and restates(text[:-1], "Question:") is None and restates(text, "") is None


def test_real_solutions(shared_data):
    gsm8k, _ = read_gsm8k(shared_data / "gsm8k" / "test.jsonl")
    for problem in gsm8k:
        steps = LINES.split(problem.solution)
        assert len(steps) >= 2
        assert [is_final_answer(step) for step in steps][-1]
    math, _ = read_math(shared_data / "math" / "test500.jsonl")
    assert all("".join(split(p.solution, "sentence")) == p.solution for p in math)
