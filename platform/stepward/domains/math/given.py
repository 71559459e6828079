"""Labels that come with the data: solutions in steps, each step rated, and so no policy and no rollout.

Every rated beginning of a solution is a row, learned from like a continuation count: `num_rollouts` is how many ratings
it has, `successes` how many of them call its last step right. Beginnings that several solutions share are one row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator

from stepward.core.batch import Batch
from stepward.core.config import Config, Plain
from stepward.core.labels import LabelParts, LabelStage, Summary
from stepward.core.registry import lookup
from stepward.core.weights import data_digest
from stepward.core.wing import Rejected
from stepward.domains.math.data import SPLITS, problem_table, split_by_text
from stepward.domains.math.problems import Problem, RatedSolution
from stepward.domains.math.readers import (
    read_math_shepherd,
    read_openrlhf,
    read_prm800k,
    read_prmbench,
    read_processbench,
    read_trl,
)
from stepward.domains.math.readers.rows import (
    Row,
    RowError,
    collect,
    optional_text,
    read_rows,
    required,
    required_text,
    source_name,
)
from stepward.domains.math.states import Ending, object_array, roots, state_columns
from stepward.domains.math.steps import LINES, StepRule, states_answer
from stepward.domains.math.synthetic import Split
from stepward.label import count_summary, salvage

__all__ = ["FORMATS", "GivenLabels", "read_steps"]

NOT_FOR_TRAINING = frozenset({"quality control", "screening"})  # tags of solutions that tested the raters
SOLUTION = pa.struct([("trace", pa.string()), ("steps", pa.list_(pa.string())), ("ratings", pa.list_(pa.int8()))])


def read_steps(path: str | Path) -> tuple[list[RatedSolution], list[Rejected]]:
    """A user's rated solutions, one row each: question, steps and ratings (1 right, 0 neutral, -1 wrong, null
    not rated), or labels (true, false, null), and maybe id and answer.
    """
    name = source_name("steps", path, "")

    def build(row: Row, number: int) -> Iterator[RatedSolution]:
        steps, named = required(row, "steps", list), "labels" if "labels" in row else "ratings"
        ratings = required(row, named, list)
        if named == "labels" and all(label is None or isinstance(label, bool) for label in ratings):
            ratings = [None if label is None else 1 if label else -1 for label in ratings]
        if not steps or not all(isinstance(step, str) and step.strip() for step in steps):
            raise RowError("field 'steps': expected a list of texts, none of them empty")
        if len(steps) != len(ratings) or not all(r is None or (type(r) is int and r in (-1, 0, 1)) for r in ratings):
            raise RowError(f"field {named!r}: expected {len(steps)} numbers among 1, 0, -1 and null, got {ratings}")
        identity = optional_text(row, "id") or f"{name}/{number}"
        problem = Problem(
            f"{identity}/problem", required_text(row, "question", "problem"), optional_text(row, "answer"), "steps"
        )
        yield RatedSolution(identity, problem, tuple(steps), tuple(ratings))

    return collect(read_rows(path), build)


# name -> reader of files of rated solutions
FORMATS: dict[str, Any] = {
    "steps": read_steps,
    "prm800k": read_prm800k,
    "math_shepherd": read_math_shepherd,
    "processbench": read_processbench,
    "prmbench": read_prmbench,
    "trl": read_trl,
    "openrlhf": read_openrlhf,
}


class GivenLabels(Config):
    """Step labels given with the data: they bring their own problems and partial solutions, and roll nothing out."""

    POOL: ClassVar[Mapping[str, int]] = {}
    whole_problems: ClassVar[bool] = False

    kind: Literal["given"] = "given"
    path: str | None = Field(None, description="file or folder of rated solutions, or a data set id")
    format: str = Field(
        "steps", description=f"of the file: {', '.join(FORMATS)}; steps: your rows of question, steps, ratings"
    )
    split: Literal["hash", "no_test", "train", "validation", "test"] = Field(
        "hash",
        description="split of its problems; hash: 70, 10 and 20 % by the text of the question; no_test: 90 and 10 %",
    )
    steps: StepRule = Field(
        LINES, description="how the given steps are written one after the other, and where they end"
    )
    neutral: Literal["right", "wrong", "left_out"] = Field("right", description="what a step rated neutral counts as")

    @field_validator("format")
    @classmethod
    def _is_known(cls, name: str) -> str:
        lookup(FORMATS, name, kind="format")
        return name

    def problems(self, split: Split, seed: int) -> tuple[pa.Table, list[Rejected]]:
        """Problems of a split, each question once: the columns of `problem_table`, and `given`, its rated solutions."""
        if self.path is None:
            raise ValueError("labels.path: expected a file of rated solutions with labels.kind=given, got none.")
        solutions, rejected = _read(self.path, self.format, data_digest(self.path))
        by_question: dict[str, list[RatedSolution]] = {}
        for solution in solutions:
            if not NOT_FOR_TRAINING & set(solution.tags) and self._split_of(solution.problem) == split:
                by_question.setdefault(solution.problem.question, []).append(solution)
        table = problem_table(found[0].problem for found in by_question.values())
        given = [[_plain(solution) for solution in found] for found in by_question.values()]
        return table.append_column("given", pa.array(given, pa.list_(SOLUTION))), rejected

    def mine(self, problems: pa.Table, seed: int) -> pa.Table:
        """Every rated beginning, each text once a problem; see `state_columns`, `successes` and `num_rollouts`.

        Steps stand as a proposer writes them that follows the same rule: where a step is a line, line breaks within it
        become spaces. Tokens and their likelihood are not known: 0.
        """
        rows: dict[tuple[str, str], dict[str, Any]] = {}
        for problem in problems.to_pylist():
            for solution in problem["given"]:
                for place, text, ends, ending, rating in _beginnings(solution, self.steps):
                    right = self._right(rating)
                    if right is None:
                        continue
                    new = {"id": f"{solution['trace']}/{place}", "problem_id": problem["id"], "num_steps": place}
                    new |= {name: problem[name] for name in ("question", "answer")} | {"trace": solution["trace"]}
                    new |= {"ending": ending, "ends": ends, "successes": 0, "num_rollouts": 0}
                    row = rows.setdefault((problem["id"], text), new)
                    row["successes"] += right
                    row["num_rollouts"] += 1
        return _table(list(rows.values()), [text for _, text in rows])

    def check(self, states: Batch) -> None:
        """Rated solutions need nothing of states."""

    def task(self, settings: LabelStage, in_flight: int) -> GivenTask:
        """Nothing is left to do for a row."""
        return GivenTask()

    def summary(self, labels: LabelParts) -> Summary:
        """As of counts; what they took is ratings."""
        found = count_summary(labels)
        return replace(found, cost={"ratings": found.cost["rollouts"]})

    def _split_of(self, problem: Problem) -> Split:
        if self.split != "hash" and self.split != "no_test":
            return self.split
        text = problem.group or problem.question
        return SPLITS[split_by_text(text, (70, 10, 20) if self.split == "hash" else (90, 10))]

    def _right(self, rating: int | None) -> int | None:
        """1 or 0; None for a beginning that is no row."""
        if rating == 0:
            return {"right": 1, "wrong": 0, "left_out": None}[self.neutral]
        return None if rating is None else int(rating > 0)


class GivenTask:
    """Passes rows on with the labels that they came with; a `LabelTask`."""

    whole = None

    def __call__(self, rows: pa.Table) -> tuple[pa.Table, list[Rejected]]:
        labels, rejected = salvage(self.label, rows)
        return pa.concat_tables([self.no_labels(rows), *labels]), rejected

    def label(self, rows: pa.Table) -> pa.Table:
        """The rows as they are: their labels came with the data."""
        return rows.append_column("status", pa.array(["ok"] * len(rows), pa.string()))

    def no_labels(self, rows: pa.Table) -> pa.Table:
        """A table without rows, with the columns of labels."""
        return self.label(rows.slice(0, 0))


@lru_cache(maxsize=1)
def _read(path: str, name: str, digest: str | None) -> tuple[list[RatedSolution], list[Rejected]]:
    """Read once for all splits, and again when the content has changed."""
    try:
        solutions, rejected = FORMATS[name](path)
    except FileNotFoundError as error:
        raise ValueError(f"labels.path: {error}") from None
    return solutions, rejected


def _plain(solution: RatedSolution) -> Plain:
    return {"trace": solution.id, "steps": list(solution.steps), "ratings": list(solution.ratings)}


def _beginnings(
    solution: Plain, rule: StepRule
) -> Iterator[tuple[int, str, tuple[int, ...] | None, Ending, int | None]]:
    """(steps, text, where they end, ending, rating of the last step) of every beginning."""
    text, ends = "", tuple[int, ...]()
    for place, (step, rating) in enumerate(zip(solution["steps"], solution["ratings"], strict=True), 1):
        written = rule.written(step)
        text += written
        ends = (*ends, len(text))
        ending = Ending.ANSWERED if states_answer(written) else Ending.OPEN
        yield place, text, None if rule == LINES else ends, ending, rating


def _table(rows: list[Plain], texts: Iterable[str]) -> pa.Table:
    words = {name: np.array([row[name] for row in rows], object) for name in ("question", "answer")}
    numbers = {name: np.array([row[name] for row in rows], np.int64) for name in ("num_steps", "ending")}
    states = roots(words["question"], words["answer"]).replace(
        text=np.array(list(texts), object),
        num_steps=numbers["num_steps"],
        ending=numbers["ending"].astype(np.int8),
        ends=object_array([row["ends"] for row in rows]),
    )
    names = ("id", "problem_id", "question", "answer", "trace")
    columns = {name: pa.array([row[name] for row in rows], pa.string()) for name in names} | state_columns(states)
    counts = {name: pa.array([row[name] for row in rows], pa.int32()) for name in ("successes", "num_rollouts")}
    return pa.table(columns | counts)
