import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepward.domains.math.grading import final_answer, last_boxed, last_number


@pytest.mark.parametrize(
    ("solution", "expected"),
    [
        ("She has 3 left.\n#### 18", "18"),
        ("#### $1,234", "1234"),
        ("A: 18 dollars per day", "18"),
        ("A: -5", "-5"),
        ("first\n#### 7\nsecond\n#### 8", "8"),
        ("#### 9\n**Answer:** 10", "10"),
        ("so it is $\\boxed{\\frac{1}{2}}$ as 3 > 2", "\\frac{1}{2}"),
        ("#### \\boxed{x^{2}+1}", "x^{2}+1"),
        ("# Answer\n\n320,000", "320000"),
        ("Then 48/2 = 24 clips remain", "24"),
        ("The answer is 42. Thank you for 3 coins.", "42"),
        ("The answer is Evelyn.", "Evelyn"),
        ("costs $.50", ".50"),
        ("16-3=13", "13"),
        ("x2 and nothing else", ""),
        ("", ""),
        ("no idea", ""),
    ],
)
def test_final_answer_finds_what_a_reader_would(solution, expected):
    assert final_answer(solution) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\\boxed{1} then \\boxed{2}", "2"),
        ("\\boxed{\\frac{1}{\\sqrt{2}}}", "\\frac{1}{\\sqrt{2}}"),
        ("\\boxed {5}", "5"),
        ("\\fbox{5} \\fboxed{6}", "6"),
        ("\\boxed{1} and the unclosed \\boxed{2", "1"),
        ("\\boxed{\\{1,2\\}}", "\\{1,2\\}"),
        ("\\boxed{a \\boxed{b}}", "b"),
        ("}}{{", ""),
    ],
)
def test_last_boxed_balances_braces(text, expected):
    assert last_boxed(text) == expected


def test_thousands_of_unclosed_boxes_cost_one_pass():
    started = time.perf_counter()
    assert last_boxed("\\boxed{" * 20_000) == ""
    # Quadratic work would be 3e9 steps; one pass is 1.4e5. The bound leaves two orders of magnitude to a busy machine.
    assert time.perf_counter() - started < 5


@given(st.integers(-(10**12), 10**12), st.sampled_from(["", "$"]), st.text("abc .", max_size=10))
def test_last_number_reads_grouped_integers(value, currency, tail):
    sign = "-" if value < 0 else ""
    assert last_number(f"in all {sign}{currency}{abs(value):,} {tail}").rstrip(".") == str(value)


@given(st.text(max_size=300))
def test_extraction_takes_any_text(text):
    assert isinstance(final_answer(text), str)
