"""Solutions under way: the question and the text written so far, step by step.

A state is its text. Tokens are an affair of whoever reads it: a proposer and a reward model may have tokenizers of
their own, so states count tokens and never hold them.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int, Int8, Shaped, UInt64

from stepward.core.batch import ArrayBatch
from stepward.core.interfaces import Status
from stepward.domains.math.grading.extraction import final_answer
from stepward.domains.math.steps import LINES

__all__ = [
    "COLUMNS",
    "Ending",
    "MathDomain",
    "MathStates",
    "last_end",
    "math_states",
    "prefix_keys",
    "roots",
    "object_array",
    "short_texts",
    "state_columns",
    "text_hashes",
    "text_keys",
]


class Ending(IntEnum):
    """Why nothing can be added to a solution; the last four are dead ends, and the reason that is recorded."""

    OPEN = 0  # another step can be written
    ANSWERED = 1  # it states a final answer
    NO_ANSWER = 2  # the model ended its text without an answer
    OUT_OF_STEPS = 3  # as many steps as allowed, and no answer among them
    LINE_TOO_LONG = 4  # a step did not end within the tokens allowed
    OUT_OF_CONTEXT = 5  # the text, or the question alone, does not fit the context of the model


_STATUS = np.array([Status.OPEN, Status.COMPLETE] + [Status.DEAD] * (len(Ending) - 2), dtype=np.int8)


@dataclass(frozen=True)
class MathStates(ArrayBatch):
    """n solutions under way.

    Attributes:
        question: what is asked, as str.
        reference: the right answer, as str, for the verifier alone; "" where there is none.
        text: the solution so far, as str.
        num_steps: steps written.
        num_tokens: tokens sampled for them.
        last_tokens: tokens of the last step; 0 where the last proposal could not add any.
        log_prob: log p of all tokens sampled, under the proposer at temperature 1, in nats.
        ending: an `Ending`.
        ends: where each step ends in the text, a tuple; None where steps are lines. What showed that a step is over,
            such as the first word of the next sentence, may follow the last end.
    """

    question: Shaped[np.ndarray, " n"]
    reference: Shaped[np.ndarray, " n"]
    text: Shaped[np.ndarray, " n"]
    num_steps: Int[np.ndarray, " n"]
    num_tokens: Int[np.ndarray, " n"]
    last_tokens: Int[np.ndarray, " n"]
    log_prob: Float[np.ndarray, " n"]
    ending: Int8[np.ndarray, " n"]
    ends: Shaped[np.ndarray, " n"]

    def steps(self) -> list[list[str]]:
        """The texts of the steps of every solution."""
        return [
            LINES.split(text) if ends is None else [text[a:b] for a, b in pairwise((0, *ends))]
            for text, ends in zip(self.text, self.ends, strict=True)
        ]

    def last_ends(self) -> list[int]:
        """Where the next step of every open solution begins."""
        return [last_end(text, ends) for text, ends in zip(self.text, self.ends, strict=True)]

    def written(self) -> Shaped[np.ndarray, " n"]:
        """The steps of every solution as one text: what there is to judge."""
        return object_array(
            [t if e is None else t[: last_end(t, e)] for t, e in zip(self.text, self.ends, strict=True)]
        )

    def before(self) -> Shaped[np.ndarray, " n"]:
        """The same without the last step."""
        texts = []
        for text, ends, num in zip(self.text, self.ends, self.num_steps.tolist(), strict=True):
            found = (0, *(LINES.ends(text) if ends is None else ends))
            texts.append(text[: found[min(max(num - 1, 0), len(found) - 1)]])
        return object_array(texts)

    def paths(self) -> list[Int[np.ndarray, " _"]]:
        """Of every state that is over: the rows it went through, the shortest first, and itself.

        Those are the open states of its problem that its text begins with, as far as they are in the batch.
        """
        is_open, where = self.ending == Ending.OPEN, defaultdict[int, dict[str, int]](dict)
        for i in np.flatnonzero(is_open):
            where[int(self.problem[i])][self.text[i]] = int(i)
        sizes = {problem: sorted(set(map(len, texts))) for problem, texts in where.items()}
        paths = []
        for i in np.flatnonzero(~is_open):
            problem, text = int(self.problem[i]), self.text[i]
            texts, begun = where[problem], (text[:size] for size in sizes.get(problem, ()) if size <= len(text))
            paths.append(np.array([*(texts[beginning] for beginning in begun if beginning in texts), i], np.int64))
        return paths

    def ended(self) -> list[str]:
        """Why each solution is over, such as "answered" or "out_of_context"; "" where it is not."""
        names = {ending: ending.name.lower() for ending in Ending} | {Ending.OPEN: ""}
        return [names[Ending(ending)] for ending in self.ending]

    def rollout_columns(self, starts: MathStates) -> dict[str, pa.Array]:
        """What was added to `starts`, row by row: text, the answer found in it ("" without one), ending, num_tokens."""
        added = [text[len(start) :] for start, text in zip(starts.text, self.text, strict=True)]
        answered = self.ending == Ending.ANSWERED
        answers = [final_answer(text) if yes else "" for text, yes in zip(self.text, answered, strict=True)]
        return {
            "text": pa.array(added, pa.string()),
            "answer": pa.array(answers, pa.string()),
            "ending": pa.array(self.ending, pa.int8()),
            "num_tokens": pa.array(self.num_tokens - starts.num_tokens, pa.int32()),
        }


COLUMNS = {
    "text": pa.string(),
    "num_steps": pa.int32(),
    "num_tokens": pa.int32(),
    "last_tokens": pa.int32(),
    "log_prob": pa.float64(),
    "ending": pa.int8(),
    "ends": pa.list_(pa.int32()),
}


class MathDomain:
    """The domain as a search sees it: whether an answer was written, never whether it is right."""

    name = "math"

    def status(self, states: MathStates) -> Int8[np.ndarray, " n"]:
        """Open while lines may follow, complete with an answer, dead without one at the end."""
        return _STATUS[states.ending]

    def keys(self, states: MathStates) -> UInt64[np.ndarray, " n"]:
        """Of the text, and of whether and why it ended: equal texts of one problem have the same future."""
        return text_hashes(f"{ending}\x1f{text}" for ending, text in zip(states.ending, states.text, strict=True))

    def step_tokens(self, states: MathStates) -> Int[np.ndarray, " n"]:
        """Tokens of the last line of every solution."""
        return states.last_tokens


def roots(question: Shaped[np.ndarray, " n"], reference: Shaped[np.ndarray, " n"]) -> MathStates:
    """Solutions without a line; problem i is row i."""
    num = len(question)
    return MathStates(
        problem=np.arange(num),
        question=question,
        reference=reference,
        text=np.full(num, "", dtype=object),
        num_steps=np.zeros(num, np.int64),
        num_tokens=np.zeros(num, np.int64),
        last_tokens=np.zeros(num, np.int64),
        log_prob=np.zeros(num),
        ending=np.zeros(num, np.int8),
        ends=np.full(num, None, dtype=object),
    )


def math_states(table: pa.Table) -> MathStates:
    """Problems (id, question, answer) or partial solutions (…, problem_id and `COLUMNS`) as states.

    Rows with one problem_id share a problem index, numbered in the order of sorted ids.
    """
    states = roots(_objects(table, "question"), _objects(table, "answer"))
    if "text" not in table.column_names:
        return states
    problem = np.unique(_objects(table, "problem_id").astype(str), return_inverse=True)[1].reshape(-1)
    numbers = {name: table[name].to_numpy().astype(np.int64) for name in ("num_steps", "num_tokens", "last_tokens")}
    return states.replace(
        problem=problem.astype(np.int64),
        text=_objects(table, "text"),
        log_prob=table["log_prob"].to_numpy().astype(np.float64),
        ending=table["ending"].to_numpy().astype(np.int8),
        ends=_ends(table["ends"].to_pylist() if "ends" in table.column_names else [None] * len(table)),
        **numbers,
    )


def state_columns(states: MathStates) -> dict[str, pa.Array]:
    """What a table needs, beside the problem, to make the states again."""
    return {name: pa.array(getattr(states, name), kind) for name, kind in COLUMNS.items()}


def short_texts(states: MathStates) -> list[str]:
    """The last step of every solution without what it restates, at most 24 characters; "?" for a bare question."""
    lines = [steps[-1].strip("\n") if steps else "" for steps in states.steps()]
    return [line.rpartition(": ")[2][:24] if line else "?" for line in lines]


def last_end(text: str, ends: tuple[int, ...] | None) -> int:
    """Where the last finished step of a text ends; without `ends` its steps are lines."""
    return text.rfind("\n") + 1 if ends is None else (0, *ends)[-1]


def prefix_keys(states: MathStates) -> UInt64[np.ndarray, " n"]:
    """Identity of question and steps together, for caches that many problems share."""
    return text_keys(states.question, states.written())


def text_keys(questions: Iterable[str], texts: Iterable[str]) -> UInt64[np.ndarray, " n"]:
    """Identity of each question with its text."""
    return text_hashes(f"{q}\x1f{text}" for q, text in zip(questions, texts, strict=True))


def text_hashes(texts: Iterable[str]) -> UInt64[np.ndarray, " n"]:
    """The first 64 bits of BLAKE2b of every text."""
    digests = (hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest() for text in texts)
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def _objects(table: pa.Table, name: str) -> Shaped[np.ndarray, " n"]:
    return object_array(table[name].to_pylist())


def _ends(rows: Sequence[Sequence[int] | None]) -> Shaped[np.ndarray, " n"]:
    return object_array([None if row is None else tuple(row) for row in rows])


def object_array(values: Sequence[object]) -> Shaped[np.ndarray, " n"]:
    """An array of objects, tuples of equal length included."""
    array = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        array[i] = value
    return array
