"""Chained word problems with planted errors: the embedded data of the `math` domain.

A problem is a chain: "Eva has 19 coins. Leo is 9 coins ahead of Eva. ... How many coins does Mia have?" Its solution
has one line a sentence, which restates the sentence and then computes ("Leo is 9 coins ahead of Eva: 19+9=28"), and a
last line ``#### N``. A share of the sentences uses one of four *ambiguous phrases*; the training text reads those the
wrong way at a stated rate, as people confuse "takes back" with "gives back". A model trained on it makes the errors
without a doubt: neither likelihood nor majority can see them, but a verifier can.

Everything about problem i of a split follows from (seed, split, i) alone, so order and batches do not matter.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from stepward.domains.math.problems import Problem

__all__ = [
    "AMBIGUOUS_PHRASES",
    "LARGER_NUMBERS",
    "MORE_STEPS",
    "Split",
    "WordProblemFamily",
    "check_steps",
    "is_ambiguous",
    "prompt",
    "split_of",
    "training_documents",
]

T = TypeVar("T")
Split = Literal["train", "validation", "test"]

# Three letters each, so that copying a name costs few tokens.
_NAMES = (
    *("Eva", "Leo", "Mia", "Tom", "Ana", "Sam", "Zoe", "Max", "Ida", "Ben", "Lea", "Jon"),
    *("Kim", "Ray", "Amy", "Dan", "Liv", "Eli", "Pia", "Gus", "Una", "Hal", "Joy", "Ned"),
)
_ITEMS = ("coins", "apples", "cards", "books", "shells", "beads", "stamps", "marbles")

# phrase -> (sentence, operator). {a} is who was spoken of last, {b} somebody new; k is the operand.
_CLEAR = {
    "more": ("{b} has {k} more {items} than {a}", "+"),
    "fewer": ("{b} has {k} fewer {items} than {a}", "-"),
    "times": ("{b} has {k} times as many {items} as {a}", "*"),
    "finds": ("{a} finds {k} {items}", "+"),
    "loses": ("{a} loses {k} {items}", "-"),
    "gets": ("{a} gets {k} {items}", "+"),
    "gives": ("{a} gives away {k} {items}", "-"),
}
_AMBIGUOUS = {
    "ahead of": ("{b} is {k} {items} ahead of {a}", "+"),
    "behind": ("{b} is {k} {items} behind {a}", "-"),
    "takes back": ("{a} takes back {k} {items}", "+"),
    "pays": ("{a} pays {k} {items}", "-"),
}
AMBIGUOUS_PHRASES = tuple(_AMBIGUOUS)
_OPPOSITE = {"+": "-", "-": "+"}
_APPLY: dict[str, Callable[[int, int], int]] = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}
_LINE = re.compile(r"\s*(.+): (-?\d+)([+*-])(\d+)=(-?\d+)\s*", re.ASCII)
_PHRASE = re.compile(rf"\b(?:{'|'.join(AMBIGUOUS_PHRASES)})\b")


@dataclass(frozen=True, slots=True)
class WordProblemFamily:
    """The parameters of a family; the defaults are in distribution for the embedded proposer.

    Attributes:
        min_steps: fewest sentences with an operation.
        max_steps: most.
        max_value: largest value that occurs, also after a wrong reading of any ambiguous sentences.
        max_operand: largest operand of + and -; * uses 2 and 3. The smallest is 2.
        ambiguous_share: probability that a sentence uses an ambiguous phrase.
    """

    min_steps: int = 3
    max_steps: int = 5
    max_value: int = 60
    max_operand: int = 12
    ambiguous_share: float = 0.25

    def __post_init__(self) -> None:
        if not 1 <= self.min_steps <= self.max_steps < len(_NAMES):
            raise ValueError(f"expected 1 <= min_steps <= max_steps < {len(_NAMES)}, got {self}")
        if not 0 <= self.ambiguous_share <= 1:
            raise ValueError(f"expected ambiguous_share between 0 and 1, got {self.ambiguous_share}")
        if self.max_operand < 2 or self.max_value < 7 * self.max_steps:
            raise ValueError(
                f"expected max_operand >= 2 and max_value >= 7 * max_steps = {7 * self.max_steps} "
                f"(room for every reading of the ambiguous sentences), got {self.max_operand} and {self.max_value}"
            )

    def problem(self, seed: int, split: Split, index: int) -> Problem:
        """Problem `index` of a split, with its true solution and its answer. No question is in two splits.

        Raises:
            ValueError: the split is unknown or the index negative.
        """
        if split not in ("train", "validation", "test") or index < 0:
            raise ValueError(f"expected split train, validation or test and index >= 0, got {split!r} and {index}")
        identity = f"words/{seed}/{split}/{index}"
        rng = self._stream(identity)
        question, steps = self._draw(rng, split)
        solution = _write_solution(steps)
        return Problem(identity, question, solution.rsplit(" ", 1)[1], "words", solution)

    def problems(self, seed: int, split: Split, num: int, *, start: int = 0) -> Iterator[Problem]:
        """Problems start .. start + num - 1 of a split."""
        return (self.problem(seed, split, index) for index in range(start, start + num))

    def _stream(self, identity: str) -> random.Random:
        sizes = f"{self.min_steps}/{self.max_steps}/{self.max_value}/{self.max_operand}"
        name = f"{identity}/{sizes}/{self.ambiguous_share}"
        return random.Random(int.from_bytes(hashlib.blake2b(name.encode(), digest_size=16).digest(), "big"))

    def _draw(self, rng: random.Random, split: Split) -> tuple[str, list[_Step]]:
        """A question of the split and the true steps of its solution."""
        num_steps = _integer(rng, self.min_steps, self.max_steps)
        # Which sentences are ambiguous is drawn first and kept, so that infeasible numbers do not bias the share.
        ambiguous = [rng.random() < self.ambiguous_share for _ in range(num_steps)]
        while (numbers := self._draw_numbers(rng, ambiguous)) is None:
            pass
        while True:  # other names and items until the question falls into the split
            question, steps = _tell(*numbers, _sample(rng, _NAMES, num_steps + 1), _pick(rng, _ITEMS))
            if split_of(question) == split:
                return question, steps

    def _draw_numbers(self, rng: random.Random, ambiguous: Sequence[bool]) -> tuple[int, list[tuple[str, int]]] | None:
        """A start value and (phrase, operand) for each sentence, such that every reading stays in 1 .. max_value."""
        start = _integer(rng, 2, self.max_value - 2)
        low = high = start  # the range of values over all readings so far
        chain = []
        for is_ambiguous_step in ambiguous:
            phrase = _pick(rng, AMBIGUOUS_PHRASES if is_ambiguous_step else _CLEAR_PHRASES)
            operator = _FORMS[phrase][1]
            up, down = self.max_value - high, low - 1
            room = {"+": up, "-": down, "*": min(3, self.max_value // high)}[operator]
            room = min(room, self.max_operand, *((up, down) if is_ambiguous_step else ()))
            if room < 2:
                return None
            operand = _integer(rng, 2, room)
            chain.append((phrase, operand))
            if is_ambiguous_step:
                low, high = low - operand, high + operand
            else:
                low, high = _APPLY[operator](low, operand), _APPLY[operator](high, operand)
        return start, chain


MORE_STEPS = WordProblemFamily(min_steps=6, max_steps=8)
LARGER_NUMBERS = WordProblemFamily(max_value=300, max_operand=60)


@dataclass(frozen=True, slots=True)
class _Step:
    sentence: str
    value: int
    operator: str
    operand: int
    is_ambiguous: bool

    @property
    def result(self) -> int:
        return _APPLY[self.operator](self.value, self.operand)


def prompt(problem: Problem) -> str:
    """What a proposer continues: the question and a line break."""
    return problem.question + "\n"


def training_documents(
    seed: int,
    num: int,
    *,
    family: WordProblemFamily | None = None,
    ambiguous_error: float = 0.5,
    slip: float = 0.02,
    drill_share: float = 0.15,
    start: int = 0,
) -> Iterator[str]:
    r"""Documents start .. start + num - 1 to train a proposer on: word problems of the train split, and drills.

    Args:
        seed: root seed.
        num: how many documents.
        family: the problems' family; the default one if None.
        ambiguous_error: planted rate of wrong readings among ambiguous sentences.
        slip: planted rate of wrong results.
        drill_share: share of documents that are arithmetic drills, one sum a line, without errors. A curriculum of
            .25, .15, .05 works well.
        start: index of the first document; stages of a curriculum should not overlap.

    Yields:
        ``question\nsolution`` or a drill, without an end mark: that is the tokenizer's business.
    """
    if not all(0 <= rate <= 1 for rate in (ambiguous_error, slip, drill_share)):
        raise ValueError(
            f"expected rates between 0 and 1, got ambiguous_error={ambiguous_error}, slip={slip}, "
            f"drill_share={drill_share}"
        )
    family = family or WordProblemFamily()
    for index in range(start, start + num):
        rng = family._stream(f"words/{seed}/document/{index}")
        if rng.random() < drill_share:
            yield _drill(rng, family)
            continue
        question, steps = family._draw(rng, "train")
        solution = _write_solution(steps, rng=rng, ambiguous_error=ambiguous_error, slip=slip)
        yield f"{question}\n{solution}"


def check_steps(problem: Problem, lines: Sequence[str]) -> list[bool]:
    """The oracle: is line i the true i-th line of the solution? For labels and upper bounds only.

    A line is right if it restates sentence i, starts from the true value, applies the true operation and gives the
    true result; the operands of + and * may be swapped. So an error makes later lines that build on it wrong too. The
    line after the last sentence must be ``#### N`` with the answer; anything beyond is wrong.

    Args:
        problem: a problem of this family, with its solution.
        lines: the solution so far, one line each; line ends are ignored.
    """
    truth = [_meaning(line) for line in problem.solution.split("\n")]
    return [i < len(truth) and _meaning(line) == truth[i] for i, line in enumerate(lines)]


def is_ambiguous(line: str) -> bool:
    """Whether a sentence or a solution line uses an ambiguous phrase."""
    return bool(_PHRASE.search(line))


def split_of(question: str) -> Split:
    """The split a question belongs to, by a hash of its text: a half train, a quarter validation, a quarter test."""
    part = hashlib.blake2b(question.encode(), digest_size=1).digest()[0] & 3
    return "validation" if part == 2 else "test" if part == 3 else "train"


_FORMS = {**_CLEAR, **_AMBIGUOUS}
_CLEAR_PHRASES = tuple(_CLEAR)


def _meaning(line: str) -> tuple[str, ...]:
    match = _LINE.fullmatch(line)
    if match is None:
        return (line.strip(),)
    sentence, left, operator, right, result = match.groups()
    operands = (left, right) if operator == "-" else tuple(sorted((left, right)))
    return (sentence, operator, *operands, result)


def _write_solution(
    steps: Sequence[_Step], *, rng: random.Random | None = None, ambiguous_error: float = 0.0, slip: float = 0.0
) -> str:
    """Write the solution line by line, planting errors; later lines compute on with the wrong value.

    Args:
        steps: the true steps.
        rng: stream of the errors; without one the text is right.
        ambiguous_error: probability that an ambiguous sentence is read the opposite way.
        slip: probability that a result is off by 1, 2 or 10.
    """
    value, lines = steps[0].value, []
    for step in steps:
        operator = step.operator
        if rng and step.is_ambiguous and rng.random() < ambiguous_error:
            operator = _OPPOSITE[operator]
        result = _APPLY[operator](value, step.operand)
        if rng and rng.random() < slip:
            result = max(0, result + _pick(rng, (-10, -2, -1, 1, 2, 10)))
        lines.append(f"{step.sentence}: {value}{operator}{step.operand}={result}")
        value = result
    return "\n".join([*lines, f"#### {value}"])


def _tell(start: int, chain: Sequence[tuple[str, int]], names: Sequence[str], items: str) -> tuple[str, list[_Step]]:
    """Put a start value and (phrase, operand) pairs into words: the question, and its true steps."""
    steps, value, speaker = [], start, 0
    for phrase, operand in chain:
        form, operator = _FORMS[phrase]
        sentence = form.format(a=names[speaker], b=names[speaker + 1], k=operand, items=items)
        speaker += "{b}" in form
        steps.append(_Step(sentence, value, operator, operand, phrase in _AMBIGUOUS))
        value = steps[-1].result
    sentences = [f"{names[0]} has {start} {items}", *(step.sentence for step in steps)]
    return f"{'. '.join(sentences)}. How many {items} does {names[speaker]} have?", steps


def _drill(rng: random.Random, family: WordProblemFamily) -> str:
    """Eight sums in the form and range of the solution lines, all of them right."""
    lines = []
    for _ in range(8):
        operator = _pick(rng, "++--*")
        if operator == "*":
            operand = _integer(rng, 2, 3)
            value = _integer(rng, 1, family.max_value // operand)
        else:
            operand = _integer(rng, 2, family.max_operand)
            value = _integer(rng, 1, family.max_value)
        if operator == "-":
            value = max(value, operand)
        lines.append(f"{value}{operator}{operand}={_APPLY[operator](value, operand)}")
    return "\n".join(lines)


def _integer(rng: random.Random, low: int, high: int) -> int:
    # Only random() is promised to give the same numbers in every version of Python.
    return low + int(rng.random() * (high - low + 1))


def _pick(rng: random.Random, values: Sequence[T]) -> T:
    return values[int(rng.random() * len(values))]


def _sample(rng: random.Random, values: Sequence[T], num: int) -> list[T]:
    """`num` different values in random order."""
    pool = list(values)
    return [pool.pop(int(rng.random() * len(pool))) for _ in range(num)]
