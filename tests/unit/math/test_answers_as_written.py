r"""Answers as people and models write them: (reference, end of a solution), right ones and wrong ones, kind by kind.

A wrong label is worse than a missing one, so every kind has pairs that look alike and are not: a formula is never read
as its last digit.
"""

import json
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepward.domains.math.grading import Grader, final_answer

RIGHT = {
    "formula in the last sentence": [
        ("3/8", r"Adding both gives $\frac{1}{8}+\frac{2}{8}=\frac{3}{8}$"),
        (r"\frac{5}{12}", r"That leaves \(\frac{5}{12}\) of the cake."),
        (r"\frac{7}{9}", r"So the probability is \[\frac{14}{18} = \frac{7}{9}.\]"),
        (r"\sqrt{13}", r"Its length is $\sqrt{13}$"),
        (r"2\sqrt{5}", r"Hence the radius is $\sqrt{20} = 2\sqrt{5}$."),
        (r"\frac{1+\sqrt{5}}{2}", r"The ratio tends to $\frac{1+\sqrt{5}}{2}$"),
        (r"\frac{\pi}{6}+2", r"The area is $2+\frac{\pi}{6}$."),
        ("3n+1", "Each figure needs $3n + 1$ matches."),
        ("3n+1", "Each figure needs 3n + 1 matches."),
        ("x^2+2x+1", "The product is $(x+1)^2$."),
        ("2^{10}", "There are $2^{10}$ such subsets."),
        ("1024", "There are $2^{10}$ such subsets."),
        ("1024", "There are 2^10 such subsets."),
        ("13", "Therefore 16-3=13"),
        ("24", "Then 48/2 = 24 clips remain"),
        ("12", r"\begin{align*}3x &= 36 \\ x &= 12\end{align*}"),
        ("12", "$$\n\\begin{aligned}\n3x &= 36 \\\\\n&\\Rightarrow x = 12\n\\end{aligned}\n$$"),
        ("9", "so there are $9$ divisors of 196."),
        ("120", r"In total there are $5! = 120$ orders."),
        ("10", r"Then $x = \frac{20}{2} = 10$."),
        ("4", r"We get $3x-2=10$, that is $x=4$."),
        ("-17", "So $x = -17$."),
        ("14", "Thus $a + b + c = 14$."),
        ("5", r"The distance is $AB = 5$."),
        ("6", r"Then $17 \equiv 6 \pmod{11}$."),
        (r"\frac{3}{4}", r"Hence $\tan A = \frac{3}{4}$."),
        (r"\text{east}", r"She turns 90 degrees and faces $\text{east}$."),
    ],
    "pairs, lists, sets and matrices": [
        ("(5,-2)", "The lines meet at $(5, -2)$."),
        ("(5,-2)", "The lines meet at (5, -2)."),
        ("(1,2,3)", r"So the point is \(\left(1, 2, 3\right)\)."),
        ("-4, 9", "The roots are $-4$ and $9$."),
        ("-4, 9", "The roots are $x = -4$ or $x = 9$."),
        ("9, -4", r"\[x \in \{-4, 9\}\]"),
        (r"\{1,2,3\}", r"The set is $\{3, 1, 2\}$."),
        (r"\begin{pmatrix}2&0\\0&5\end{pmatrix}", r"It is $\begin{pmatrix} 2 & 0 \\ 0 & 5 \end{pmatrix}$."),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"It is \[\begin{bmatrix} 1 \\ 2 \end{bmatrix}.\]"),
        (r"\pm 3", "Hence $x = 3$ or $x = -3$."),
        (r"\begin{pmatrix}6\\8\end{pmatrix}", r"$\begin{pmatrix}1\\2\end{pmatrix}+\begin{pmatrix}5\\6\end{pmatrix}$"),
        (r"\begin{pmatrix}x^2\\1\end{pmatrix}", r"$\begin{pmatrix}x \cdot x\\1\end{pmatrix}$"),
        (r"\begin{pmatrix}0.5\\2\end{pmatrix}", r"$\begin{pmatrix}\frac{1}{2}\\2\end{pmatrix}$"),
    ],
    "equations": [
        ("y=2x-7", "The line is $y = 2x - 7$."),
        ("y=2x-7", "The line is y = 2x - 7."),
        ("2x-7", "The line is $y = 2x - 7$."),
        ("x^2+y^2=25", "The circle is $x^2 + y^2 = 25$."),
        ("x=3", "Hence $3$ works."),
    ],
    "intervals and inequalities": [
        ("[-3,8)", r"for $x \in [-3, 8)$"),
        ("[-3,8)", r"for $-3 \le x < 8$."),
        ("[-3,8)", "for −3 ≤ x < 8."),
        (r"[4,\infty)", r"\boxed{x \ge 4}"),
        (r"[4,\infty)", "So x ≥ 4."),
        (r"[4,\infty)", "So x >= 4."),
        (r"x \ge 4", r"\boxed{[4, \infty)}"),
        (r"x > 4", r"Thus $4 < x$."),
        (r"(-\infty,4)", "Thus x < 4."),
        (r"(-\infty,2)\cup(5,\infty)", r"$x \in (-\infty, 2) \cup (5, \infty)$"),
        ("(-2,2)", r"Thus $-2 < x < 2$"),
    ],
    "boxes": [
        ("-4, 9", r"\[\boxed{-4} \quad\text{and}\quad \boxed{9}.\]"),
        ("-4, 9", r"The roots are $\boxed{-4}$ and $\boxed{9}$."),
        ("3, 4, 5", r"$\boxed{3}$, $\boxed{4}$, $\boxed{5}$"),
        ("9", r"First \boxed{4}. Wait, that forgets the sign; the right value is \boxed{9}."),
        ("7", r"So \fbox{7}."),
        ("7", r"So $\framebox{7}$."),
        ("7", r"So $\framebox[2cm]{7}$."),
        ("5", r"So $\boxed 5$."),
        ("5", r"So $\boxed5$ is all."),
        (r"\frac{1}{2}", r"So $\boxed \frac{1}{2}$."),
        (r"\frac{1}{2}", r"So $\boxed {\frac{1}{2}}$."),
        ("18", r"She needs \boxed{18\text{ jars}}."),
        ("35", r"A discount of \boxed{35\%}."),
        ("2\\frac{1}{4}", r"\boxed{\frac{9}{4}} miles"),
        ("x^{2}+1", r"#### \boxed{x^{2}+1}"),
        ("9", r"\boxed{9}. So the answer is in metres."),
        ("9", r"$\boxed{9}$. We may check our answer: $3 \cdot 3 = 9$, so our answer is correct."),
    ],
    "what follows the answer": [
        ("7", "#### 7\n\nQuestion: How many?\n#### 9"),
        ("7", "The answer is 7.\n\nQ: What is 2+2?\nA: 4"),
        ("7", "\\boxed{7}\n\n### Problem 2: find 3.\n\\boxed{3}"),
        ("7", "#### 7<|im_end|>\n<|im_start|>user\nAnd 8?\n#### 8"),
        ("7", "#### 7 (out of 9)"),
        ("7", "The answer is 7 because 3 + 4 = 7 and 9 is too many."),
        ("7", "The answer is 7, since there are 8 days."),
        ("7", "The answer is $7$ since $3^2 = 9$."),
        ("7", "#### 7 out of 9 children"),
        ("42", "The answer is 42. Thank you for 3 coins."),
        ("18", "A: 18 dollars per day"),
        ("7", "Question: what is 3 + 4?\nSo 3 + 4 = 7.\n#### 7"),
        ("7", "The answer is 3 + 4 = 7."),
    ],
    "corrections and thoughts": [
        ("4", "#### 3\nno: \\boxed{4}"),
        ("4", "\\boxed{3}\nThat is wrong.\n#### 4"),
        ("4", "The answer is 3. No, the answer is 4."),
        ("4", "<think>maybe \\boxed{3}</think>\nThe answer is \\boxed{4}."),
        ("4", "maybe \\boxed{3}\n</think>\n#### 4"),
        ("4", "<think>#### 3</think>It is 4."),
        ("4", "#### 4\n<think>or #### 3</think>"),
        ("42", "<answer>42</answer>"),
    ],
    "marks and phrases": [
        (r"\frac{2}{3}", r"Final Answer: The final answer is $\frac{2}{3}$. I hope it is correct."),
        ("(3, 4)", "The final answer is $(3, 4)$. I hope it is correct."),
        ("5", "The final answer is 5. I hope it is correct."),
        ("10", "#### 9\n**Answer:** 10"),
        ("10", "**Final Answer**\n\n10"),
        ("320000", "# Answer\n\n320,000"),
        ("10", "Answer:\n$$x = 10$$"),
        ("Evelyn", "The answer is Evelyn."),
        (r"\text{Evelyn}", "The answer is Evelyn."),
        (r"\text{(B)}", r"The answer is $\text{(B)}.$"),
        ("12", "Final answer: $x = 12$"),
        (r"3\pi", r"Therefore, the answer is \(3\pi\)."),
    ],
    "thousands": [
        ("12500", "In all 12 500 km."),
        ("12 500", "In all they drove 12500 km."),
        ("12500", r"In all $12\,500$ km."),
        ("12500", "In all 12\u00a0500 km."),
        ("12500", "In all 12\u202f500 km."),
        ("12500", "In all 12\u2009500 km."),
        ("1234567", "It is 1 234 567."),
        ("1234567", "It is 1,234,567."),
        ("1234567", r"It is $1{,}234{,}567$."),
        ("11111111100", r"It is $11,\! 111,\! 111,\! 100$."),
        ("40000", r"\boxed{40,\!000}"),
    ],
    "digits and signs of Unicode": [
        ("37", "#### ３７"),
        ("3", "#### ٣"),
        ("45", "#### ४५"),
        ("-17", "The temperature fell to −17 degrees."),
        ("-17", r"\boxed{−17}"),
        ("5/2", "It took 2½ hours."),
        ("1/2", "It is ½."),
        ("x^2+1", "The polynomial is x² + 1."),
        (r"\sqrt{21}", "Its length is √21."),
        (r"2\sqrt{3}", "Its length is 2√3."),
        (r"6\pi", "The circumference is 6π."),
        ("12", "3 × 4 = 12"),
        ("[0,1]", "0 ≤ x ≤ 1"),
        ("90", "The angle is 90°."),
    ],
    "mixed numbers": [
        ("7/2", "She walked 3 1/2 miles."),
        ("3 1/2", "She walked 3.5 miles."),
        ("3 1/2", r"\boxed{\frac{7}{2}}"),
        ("-7/2", r"\boxed{-3\frac{1}{2}}"),
        (r"2\frac{1}{4}", "#### 9/4"),
        ("2.25", r"\boxed{2\frac14}"),
        ("5/2", "#### 2 and 1/2"),
    ],
    "repeating decimals": [
        ("2/3", r"\boxed{0.\overline{6}}"),
        (r"0.\overline{6}", r"\boxed{\frac{2}{3}}"),
        ("1/6", r"$0.1\overline{6}$"),
        ("1/7", r"$0.\overline{142857}$"),
        ("1/3", "#### 0.333..."),
        ("1/3", "#### 0.(3)"),
        ("1/3", "#### 0.333333"),
        ("2/3", "#### 0.666667"),
    ],
    "exponents": [
        ("25000", "#### 2.5e4"),
        ("25000", r"\boxed{2.5 \times 10^4}"),
        ("25000", "It is 2.5 × 10⁴."),
        (r"4.2\times 10^{5}", r"About $4.2 \times 10^5$ cells."),
        ("0.0025", r"$2.5 \cdot 10^{-3}$"),
        ("0.0025", "#### 2.5e-3"),
        ("1000000", "There are 10^6 cells."),
        (r"6.02\times 10^{23}", "#### 6.02E23"),
    ],
    "tiny and huge numbers": [
        ("0.0000004", "#### 4e-7"),
        (r"\frac{3}{2^{80}}", r"$\frac{6}{2^{81}}$"),
        ("1/3000000", "#### 0.000000333333"),
        ("10^{30}", r"\boxed{1000000000000000000000000000000}"),
        (r"\sqrt{2}", "#### 1.414214"),
    ],
    "number bases": [
        ("31_5", r"\boxed{31_5}"),
        ("31_5", r"\boxed{31_{5}}"),
        ("31_5", r"\boxed{31_{\text{five}}}"),
        ("31_5", "The answer is 31 (base 5)."),
        ("31_5", r"\boxed{31}"),
        ("2516_8", "#### 2516₈"),
    ],
    "units": [
        ("45", r"The angle measures $45^\circ$."),
        (r"45^\circ", "The angle measures 45 degrees."),
        ("7 km", r"\boxed{7\text{ km}}"),
        ("7 km", r"\boxed{7\text{ kilometers}}"),
        ("7 km", r"\boxed{7000\text{ m}}"),
        ("7", r"\boxed{7\text{ m}}"),
        ("60 km/h", r"\boxed{60 \text{ km/h}}"),
        ("60 mph", r"\boxed{60\text{ miles per hour}}"),
        (r"12\text{ cm}^2", r"\boxed{12 \text{ square centimeters}}"),
        ("12", r"$12\,\text{cm}^2$"),
        (r"\sqrt{3}", r"\boxed{\sqrt{3}\text{ cm}}"),
        ("24.50", "He pays 24.50 dollars."),
        ("24.5", r"\boxed{\$24.50}"),
        ("24.5", "He pays $24.50."),
        ("5", "He waits 5 hours."),
        ("20", "She swims 20cm."),
        ("35\\%", r"\boxed{35}"),
        ("0.35", r"\boxed{35\%}"),
        ("35", "It grew by 35 percent."),
        ("25 degrees Celsius", "It is 25°C."),
        ("5 cents", "#### 5¢"),
        ("3 feet", "It is 36 inches."),
    ],
    "times and ratios": [
        ("7:45", "The train leaves at 7:45."),
        ("7:45", r"\boxed{7{:}45}"),
        ("7:45", r"\boxed{7:45\text{ AM}}"),
        ("07:45", "It is 7:45."),
        ("3:5", "They stand as 3:5."),
        ("3:5", "They stand as $3 : 5$."),
    ],
    "unions": [
        (r"(-\infty,2)\cup(5,\infty)", r"\boxed{x<2 \text{ or } x>5}"),
        (r"x<2 \text{ or } x>5", r"\boxed{(-\infty,2)\cup(5,\infty)}"),
        (r"(-\infty,2)\cup(5,\infty)", "Therefore x < 2 or x > 5"),
    ],
    "arithmetic in words": [
        ("18", "She makes 9 * 2 = $<<9*2=18>>18 every day."),
        ("18", "She makes 9 * 2 = $18 every day at the market."),
        ("460", "Her earnings for this week are $400 + $60 = $460."),
        ("70000", "So he made $200,000 - $130,000 = $70,000."),
        ("3.14", r"\boxed{\approx 3.14}"),
    ],
    "marks in Markdown": [
        ("5", "So the answer is `5`."),
        ("5", "**Answer: 5**"),
        ("5", "Therefore, the final answer is: **5**"),
        ("5", "### Final Answer\n5"),
        ("5", "## Answer: 5"),
        ("7", "#### 7\n\nExplanation: 3 + 4 = 7, 8 - 1 = 7."),
        ("4", "The answer is 3. Actually, \\boxed{4}."),
        ("(3,4)", "$x=3$, $y=4$"),
        ("1,2,3", "The values are $1$, $2$, and $3$."),
        ("25000", "There are 2.5 x 10^4 of them."),
        ("10^{100}", "#### 1e100"),
        ("2 hours", "It took 120 minutes."),
        ("1011_2", "It is 1011 in base 2."),
        ("60", "He drives 60 mph."),
        ("5/2", "#### 2 1/2 hours"),
    ],
    "decimal commas": [
        ("2.74", "#### 2,74"),
        ("0.111", "#### 0,111"),
    ],
}
WRONG = {
    "a digit of a formula": [
        ("2", r"The ratio tends to $\frac{3+\sqrt{7}}{2}$"),
        ("8", r"It is $\frac{3}{8}$"),
        ("3", r"It is \(\frac{1}{3}\)."),
        ("2", r"It is \frac{1}{2}"),
        ("6", "It is $(7,6)$"),
        ("7", r"so $x \in [-2,7]$"),
        ("21", r"Its length is $\sqrt{21}$"),
        ("21", "Its length is sqrt(21)"),
        ("21", "Its length is √21"),
        ("4", r"Hence $n \neq 4$."),
        ("4", "Hence n ≠ 4."),
        ("4", "Hence n != 4."),
        ("4", "So x > 4."),
        ("4", r"So $x \ge 4$."),
        ("10", "There are $2^{10}$ such subsets."),
        ("10", "There are 2^10 such subsets."),
        ("10", "There are 2**10 such subsets."),
        ("2", "The area is x² square units."),
        ("1", "Each needs $3n + 1$ matches."),
        ("1", "Each needs 3n + 1 matches."),
        ("3", "Each needs 3n matches."),
        ("3", "It is 3x."),
        ("3", "It is $3t$."),
        ("5", "It is $5m$."),
        ("5", r"It is $\log_2 5$."),
        ("2", r"It is $x_2$"),
        ("5", "It is f(5)"),
        ("7", "The line is $y = 2x - 7$"),
        ("-7", "The line is $y = 2x - 7$"),
        ("7", "The line is $2x + 3y = 7$."),
        ("7", "The line is 2x + 3y = 7"),
        ("25", "The circle is $x^2 + y^2 = 25$."),
        ("9", r"It satisfies $x^2 = 9$."),
        ("5", r"It is $5!$"),
        ("2", r"It is $\frac{\pi}{2}$"),
        ("6", r"It is $2+\frac{\pi}{6}$"),
        ("5", r"\[\begin{pmatrix} 2 & 0 \\ 0 & 5 \end{pmatrix}\]"),
        ("3", r"It is $|x - 3|$."),
        ("5", "#### 4/5"),
        ("45", "It leaves at 7:45."),
        ("5", "They stand as 3:5."),
        ("5", r"About $4.2 \times 10^5$ cells."),
        ("500", "In all 12 500 km."),
        ("500", r"In all $12\,500$ km."),
        ("2", "It has an area in cm^2."),
        ("1", r"There are $\binom{5}{1}$ ways"),
        ("3", r"It equals $\sqrt[3]{x}$"),
        ("9", "The roots are $-4$ and $9$."),
        ("9", r"\boxed{-4} and \boxed{9}"),
        ("3", r"It is $\{1, 2, 3\}$."),
        ("4", r"It is $\left[0, 4\right)$"),
        ("0", r"The identity is $f(x) = f(x+1) + 0x$"),
        ("6", r"#### 0.\overline{6}"),
        ("8", r"Therefore $x = \pm 8$"),
        ("3", "It is $3i$."),
        ("i", "It is $3i$."),
    ],
    "infinity and bounds": [
        ("5", r"\boxed{\infty}"),
        ("5", r"\boxed{5^\infty}"),
        ("5", r"\boxed{2\infty}"),
        ("5", r"\boxed{x \ge 5}"),
        ("5", "The answer is at most 5."),
        ("3", r"\boxed{|x| = 3}"),
        ("7", "#### 3 4"),
        ("3", r"\boxed{\pm 3}"),
        ("5", r"\boxed{(2,5)}"),
        ("2", r"\boxed{2 \text{ or } 3}"),
        ("5", r"\boxed{2x=5}"),
        ("6", "The line is 2x + 3y = 6"),
        ("3", r"\boxed{\log 3}"),
        ("1", r"\boxed{\begin{pmatrix}1&1\\1&1\end{pmatrix}}"),
        ("4", "It is P(4, y)"),
        ("12", "It leaves at 12:30"),
        ("234", "#### 1,234"),
        ("5", "It is 5k"),
        ("5 hours", "It takes 5 minutes."),
        ("16", "It is 31 in base 5."),
        (r"25^\circ C", "It is 25°F."),
        ("0", r"\boxed{\frac{1}{2^{40}}}"),
        ("0", "#### 1e-12"),
        (r"\pi", "#### 22/7"),
        ("1/3", "#### 0.334"),
        (r"\sqrt{10^{20}+1}", "#### 10^{10}"),
    ],
    "other values of the same kind": [
        ("3/8", r"$\frac{1}{8}+\frac{3}{8}=\frac{4}{8}$"),
        ("(5,-2)", "They meet at $(-2, 5)$."),
        ("[-3,8)", r"$-3 < x < 8$"),
        ("[-3,8)", r"$x \in [-3, 8]$"),
        (r"[4,\infty)", "x > 4"),
        (r"[4,\infty)", r"x \le 4"),
        ("31_5", r"\boxed{31_6}"),
        ("31", r"\boxed{31_5}"),
        (r"\frac{3}{2^{80}}", r"$\frac{3}{2^{81}}$"),
        ("0.0000004", "#### 0.0000009"),
        ("1e-9", "#### 2e-9"),
        ("10^{30}", r"\boxed{1000000000000000000000000000001}"),
        ("1234567.1", "#### 1234567.2"),
        ("7/2", "She walked 3 1/3 miles."),
        ("7/2", "#### 31/2"),
        ("2/3", r"$0.\overline{7}$"),
        ("2/3", "#### 0.66"),
        ("25000", "#### 2.5e5"),
        ("7 km", r"\boxed{7\text{ m}}"),
        ("7 m", "#### 7 km"),
        ("5 hours", r"\boxed{5\text{ minutes}}"),
        ("12 cm^2", r"\boxed{12\text{ cm}}"),
        ("60 km/h", r"\boxed{60\text{ mph}}"),
        (r"\sqrt{3}\text{ cm}", r"\boxed{\sqrt{3}\text{ m}}"),
        (r"\$5", r"\boxed{5\text{ cents}}"),
        ("-17", "It fell to 17 degrees."),
        ("12500", "In all 125 00 km."),
        ("7:45", "It leaves at 7:54."),
        ("7:45 AM", "It leaves at 7:45 PM."),
        ("3:5", "They stand as 5:3."),
        ("y=2x-7", "$y = 2x + 7$"),
        ("-4, 9", r"\boxed{9}"),
        ("Evelyn", "The answer is Oscar."),
        (r"\begin{pmatrix}2&0\\0&5\end{pmatrix}", r"$\begin{pmatrix} 2 & 0 \\ 5 & 0 \end{pmatrix}$"),
    ],
    "what is not stated": [
        ("9", "#### 7 (out of 9)"),
        ("9", "The answer is 7 because 9 is too many."),
        ("5", "The answer is not 5."),
        ("5", "The answer is more than 5."),
        ("3", "#### 3\nno: \\boxed{4}"),
        ("3", "<think>it is \\boxed{3}</think> \\boxed{4}"),
        ("3", "<think>so it must be \\boxed{3}, but"),
        ("9", "#### 7\n\nQuestion: How many?\n#### 9"),
        ("4", r"First \boxed{4}. Wait, that forgets the sign; the right value is \boxed{9}."),
        ("18", "The answer is 18 dollars and 50 cents"),
        ("5", "#### 5 apples and 3 pears"),
        ("3", "#### 5 apples and 3 pears"),
    ],
}


def rows(table: dict[str, list[tuple[str, str]]]) -> Iterator[object]:
    return (pytest.param(*pair, id=f"{kind}: {pair[1][-40:]!a}") for kind, pairs in table.items() for pair in pairs)


@pytest.fixture(scope="module")
def grader():
    with Grader() as grader:
        yield grader


def is_right(grader: Grader, gold: str, solution: str) -> bool:
    return grader.grade_solutions([solution], [gold])[0].correct


@pytest.mark.parametrize(("gold", "solution"), rows(RIGHT))
def test_the_right_answer_is_found_and_accepted(grader, gold, solution):
    assert is_right(grader, gold, solution), final_answer(solution)


@pytest.mark.parametrize(("gold", "solution"), rows(WRONG))
def test_what_only_looks_right_is_rejected(grader, gold, solution):
    assert not is_right(grader, gold, solution), final_answer(solution)


def test_the_cases_kept_beside_the_project(grader, project_root):
    path = project_root.parent / "shared" / "cases" / "answers.jsonl"
    if not path.is_file():
        pytest.skip("no file ../shared/cases/answers.jsonl beside the project")
    cases = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    verdicts = grader.grade_solutions([case["solution"] for case in cases], [case["gold"] for case in cases])
    assert [case for case, verdict in zip(cases, verdicts, strict=True) if verdict.correct != case["right"]] == []


def unboxed(solution: str) -> str:
    """A solution up to the end of the sentence with its last box, without the box."""
    start = solution.rindex("\\boxed{")
    depth = 0
    for end in range(start + len("\\boxed"), len(solution)):
        depth += {"{": 1, "}": -1}.get(solution[end], 0)
        if not depth:
            break
    content, tail = solution[start + len("\\boxed{") : end], solution[end + 1 :]
    before = solution[:start]
    closers = [(r"\[", r"\]"), (r"\begin{align*}", r"\end{align*}")]
    closing = next((c for o, c in closers if before.count(o) > before.count(c)), "")
    if before.replace("$$", "").count("$") % 2:
        closing = "$"
    elif before.count("$$") % 2:
        closing = "$$"
    return before + content + (tail[: tail.find(closing) + len(closing)] if closing else "")


@pytest.fixture(scope="module")
def math500(shared_data):
    lines = (shared_data / "math" / "test500.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_boxed_answers_of_real_solutions_are_all_right(grader, math500):
    verdicts = grader.grade_solutions([row["solution"] for row in math500], [row["answer"] for row in math500])
    assert [row["answer"] for row, verdict in zip(math500, verdicts, strict=True) if not verdict.correct] == []


def test_answers_of_real_solutions_are_found_without_their_box(grader, math500):
    verdicts = grader.grade_solutions([unboxed(row["solution"]) for row in math500], [r["answer"] for r in math500])
    assert sum(verdict.correct for verdict in verdicts) >= 0.95 * len(math500)


def test_no_answer_of_a_real_solution_is_that_of_another(grader, math500):
    texts, golds = [unboxed(row["solution"]) for row in math500], [row["answer"] for row in math500]
    others = golds[7:] + golds[:7]
    plain = grader.grade(golds, others)
    verdicts = grader.grade_solutions(texts, others)
    wrong = [
        (text[-60:], gold, other)
        for text, gold, other, verdict, same in zip(texts, golds, others, verdicts, plain, strict=True)
        if verdict.correct and not same.correct
    ]
    assert wrong == []


FORMULAS = [
    r"\frac{{{a}}}{{{b}x}}", "{a}x + {b}", r"\sqrt{{{a}x + {b}}}", "x^{{{a}}} - {b}", "x_{{{a}}} + {b}y", "({a}, {b})",
    r"[{a}, {b})", "{a}x = {b}", r"x \ge {a} + {b}", r"\{{{a}, {b}, x\}}", r"{a}\pi + {b}", r"{a}^{{{b}}}", "{a}:{b}",
    r"\log_{{{a}}} ({b}x)", r"\begin{{pmatrix}} {a} \\ {b} \end{{pmatrix}}", r"x \neq {a}{b}", r"|x - {a}| + {b}",
]  # fmt: skip
SENTENCES = ["So it is ${}$.", "So it is ${}$", r"Hence \({}\).", r"\[{}\]", r"The answer is ${}$.", "#### {}", "{}"]


@settings(max_examples=60)
@given(st.sampled_from(FORMULAS), st.sampled_from(SENTENCES), st.integers(2, 99), st.integers(2, 99))
def test_a_formula_is_never_one_of_its_numbers(grader, formula, sentence, a, b):
    solution = sentence.format(formula.format(a=a, b=b))
    golds = {str(a), str(b), *str(a), *str(b), f"-{a}", f"-{b}"}
    for gold, verdict in zip(golds, grader.grade_solutions([solution] * len(golds), list(golds)), strict=True):
        assert not verdict.correct, (solution, gold, final_answer(solution))


def renderings(value: int) -> list[str]:
    """One integer in the ways of the kinds above."""
    size, sign = abs(value), "-" if value < 0 else ""
    wide = "".join(chr(ord(digit) + 0xFEE0) for digit in str(size))
    forms = [f"{size}", f"{size:,}", f"{size:,}".replace(",", " "), f"{size:,}".replace(",", r"\,"), f"{size}.0", wide]
    forms += [f"{size:,}".replace(",", "\u202f"), f"{size:,}".replace(",", "{,}"), f"{2 * size}/2", f"{size}e0"]
    forms += [rf"\frac{{{3 * size}}}{{3}}", f"{size}\\text{{ jars}}", rf"{size} \times 10^{{0}}", f"{size}.000"]
    return [sign + form for form in forms] + [f"−{size}" if value < 0 else f"{size} jars"]


FRAMES = [
    "#### {}",
    r"\boxed{{{}}}",
    "The answer is {}.",
    "So it is {}.",
    "So it is ${}$.",
    "It is {} because 3 is odd.",
]


@settings(max_examples=60)
@given(st.integers(-(10**9), 10**9), st.data())
def test_every_way_to_write_a_number_is_the_number_and_no_other(grader, value, data):
    form = data.draw(st.sampled_from(renderings(value)))
    solution = data.draw(st.sampled_from(FRAMES)).format(form)
    gold = data.draw(st.sampled_from(renderings(value)))
    assert is_right(grader, gold, solution), (gold, final_answer(solution))
    assert not is_right(grader, str(value + 1), solution)


@pytest.mark.parametrize("digits", [4301, 10_000])
def test_numbers_of_thousands_of_digits_are_graded(grader, digits):
    number = "9" * digits
    pairs = [(number, "9"), ("9", number), (number, number), (f"\\frac{{{number}}}{{7}}", "1"), (f"{number}.5", number)]
    verdicts = grader.grade_solutions([f"#### {answer}" for answer, _ in pairs], [gold for _, gold in pairs])
    assert [verdict.correct for verdict in verdicts] == [False] * len(pairs)
    assert not grader.grade_solutions([f"so {number} in all"], ["9"])[0].correct
    assert not grader.grade(["x " * 400], ["x " * 100_000])[0].correct


LONG = [
    "(1 ",
    "\\[",
    "$$",
    "$1 ",
    "<answer>",
    "Question: 1\n",
    "\\boxed 1 ",
    "#### (",
    "\\boxed{",
    "answer is ",
    "1 + ",
]


@pytest.mark.parametrize("piece", LONG)
def test_long_texts_are_read_in_one_pass(piece):
    started = time.process_time()
    final_answer(piece * 3000)
    # It takes about a second; work that grows with the square would take minutes.
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    ("text", "answer"), [("<think>\nso \\boxed{3}\n", ""), ("<think>\nso \\boxed{3}\n</think>\n#### 4\n", "4")]
)
def test_a_thought_under_way_states_nothing(text, answer):
    assert final_answer(text) == answer


@settings(max_examples=60)
@given(st.text("0123456789$\\{}[]()=+-*/^_., \nxabcdefrtq<>#:&|", max_size=80))
def test_any_text_gets_a_verdict(grader, text):
    assert not is_right(grader, "a reference that is never stated", text)
