"""Benchmarks of step judges on mathematics: ProcessBench, PRMBench, and rated solutions of your own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from itertools import accumulate
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator

from stepward.core.benchmarks import Benchmarks, Metric, Reference
from stepward.core.config import Config
from stepward.core.registry import lookup
from stepward.core.rows import stem
from stepward.core.wing import Rejected
from stepward.domains.math.given import FORMATS
from stepward.domains.math.problems import RatedSolution
from stepward.domains.math.readers import PROCESSBENCH_ID, read_prmbench, read_processbench
from stepward.domains.math.readers.rows import is_files
from stepward.domains.math.states import Ending, MathStates, roots
from stepward.domains.math.steps import LINES, states_answer

BUT_LAST, BUT_FIRST = slice(None, -1), slice(1, None)
__all__ = ["BENCHMARKS", "PRMBench", "ProcessBench", "RatedSteps"]


class PRMBench(Config):
    """PRMBench: steps of eight kinds of error among right ones, and solutions without (arXiv:2501.03124).

    Counted as its own program does: of rows that share kind and ``idx`` the first, and error steps that lie outside a
    process count for nothing.
    """

    kind: Literal["prmbench"] = "prmbench"
    metric: ClassVar[Metric] = "steps"
    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "simplicity": ("redundency", "circular"),
        "soundness": ("counterfactual", "step_contradiction", "domain_inconsistency", "confidence"),
        "sensitivity": ("missing_condition", "deception", "multi_solutions"),
    }

    path: str | None = Field(None, description="file, folder or pattern of the published rows")

    def solutions(self) -> tuple[pa.Table, list[Rejected]]:
        """One row a solution; see `stepward.core.benchmarks.Benchmark`."""
        found, rejected = read_prmbench(_given(self.path), outside="ignored")
        first = {solution.tags[:2] if len(solution.tags) > 1 else solution.id: solution for solution in found[::-1]}
        kept = {id(solution) for solution in first.values()}
        return _table([(s.tags[0], s) for s in found if id(s) in kept]), rejected

    def references(self) -> list[Reference]:
        """PRMScores of the published leaderboard."""
        return _references("prmbench")


class ProcessBench(Config):
    """ProcessBench: name the first wrong step, or none (arXiv:2412.06559); a subset is a category."""

    kind: Literal["processbench"] = "processbench"
    metric: ClassVar[Metric] = "first_error"
    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {"mean": ("gsm8k", "math", "olympiadbench", "omnimath")}

    path: str = Field(PROCESSBENCH_ID, description="file, folder or pattern of its rows, or the data set id")
    subsets: tuple[str, ...] = Field(
        ("gsm8k", "math", "olympiadbench", "omnimath"), min_length=1, description="of the data set id; of files: all"
    )

    def solutions(self) -> tuple[pa.Table, list[Rejected]]:
        """One row a solution; see `stepward.core.benchmarks.Benchmark`."""
        if is_files(self.path):
            parts = [read_processbench(_given(self.path))]
        else:
            parts = [read_processbench(self.path, split=subset) for subset in self.subsets]
        found = [(_subset(solution), solution) for solutions, _ in parts for solution in solutions]
        return _table(found), [row for _, rejected in parts for row in rejected]

    def references(self) -> list[Reference]:
        """F1 as published."""
        return _references("processbench")


class RatedSteps(Config):
    """Rated solutions of your own, or of a published format: right and wrong steps told apart."""

    kind: Literal["steps"] = "steps"
    metric: ClassVar[Metric] = "steps"
    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    path: str | None = Field(None, description="file, folder or pattern")
    format: str = Field("steps", description=f"of the rows: {', '.join(FORMATS)}")
    neutral: Literal["right", "wrong", "left_out"] = Field("right", description="what a step rated neutral counts as")

    @field_validator("format")
    @classmethod
    def _is_known(cls, name: str) -> str:
        lookup(FORMATS, name, kind="format")
        return name

    def solutions(self) -> tuple[pa.Table, list[Rejected]]:
        """One row a solution; see `stepward.core.benchmarks.Benchmark`."""
        found, rejected = FORMATS[self.format](_given(self.path))
        return _table([(solution.problem.source, solution) for solution in found], self.neutral), rejected

    def references(self) -> list[Reference]:
        """None are published."""
        return []


def solution_steps(table: pa.Table) -> tuple[MathStates, MathStates]:
    """(before, after) each step of solutions, a line a step; every row of the table is a problem of its own.

    Tokens of the policy are not known: each line counts as one.
    """
    rows = [
        (i, row["question"], [LINES.written(step) for step in row["steps"]]) for i, row in enumerate(table.to_pylist())
    ]
    texts = [list(accumulate(steps, initial="")) for _, _, steps in rows]
    problem = np.repeat([i for i, _, _ in rows], [len(steps) for _, _, steps in rows]).astype(np.int64)
    question = np.array([question for _, question, _ in rows], object)[problem]
    number = np.array([k + 1 for _, _, steps in rows for k in range(len(steps))], np.int64)
    said = [states_answer(step) for _, _, steps in rows for step in steps]
    ending = np.where(said, Ending.ANSWERED, Ending.OPEN).astype(np.int8)
    empty = roots(question, np.full(len(question), "", object)).replace(problem=problem)
    before, after = (np.array([t for text in texts for t in text[part]], object) for part in (BUT_LAST, BUT_FIRST))
    parents = empty.replace(text=before, num_steps=number - 1, num_tokens=number - 1)
    children = empty.replace(text=after, num_steps=number, num_tokens=number, ending=ending)
    return parents, children.replace(last_tokens=np.ones_like(number))


def _given(path: str | None) -> str:
    if path is None:
        raise ValueError("benchmark.path: expected a file or folder of labelled solutions, got none.")
    if not is_files(path):
        raise ValueError(f"benchmark.path: expected a file, a folder or a pattern, got {path!r}, which does not exist.")
    return path


def _subset(solution: RatedSolution) -> str:
    """``gsm8k`` of an id such as ``processbench/gsm8k/gsm8k-0``; the file where ids tell nothing."""
    _, file, name = solution.id.split("/", 2)
    return name.rpartition("-")[0] or stem(file)


def _table(found: list[tuple[str, RatedSolution]], neutral: str = "right") -> pa.Table:
    neutrally = {"right": 1, "wrong": 0, "left_out": None}[neutral]
    labels = [[neutrally if r == 0 else None if r is None else int(r > 0) for r in s.ratings] for _, s in found]
    return pa.table(
        {
            "id": pa.array([s.id for _, s in found], pa.string()),
            "cluster": pa.array([s.problem.group or s.problem.question for _, s in found], pa.string()),
            "category": pa.array([category for category, _ in found], pa.string()),
            "question": pa.array([s.problem.question for _, s in found], pa.string()),
            "steps": pa.array([list(s.steps) for _, s in found], pa.list_(pa.string())),
            "labels": pa.array(labels, pa.list_(pa.int8())),
        }
    )


def _references(name: str) -> list[Reference]:
    text = (files("stepward.domains.math") / "published_figures.json").read_text(encoding="utf-8")
    known: dict[str, Any] = json.loads(text)[name]
    return [
        Reference(judge, category, value, known["source"])
        for judge, values in known["figures"].items()
        for category, value in values.items()
    ]


BENCHMARKS = Benchmarks(
    kinds={"prmbench": PRMBench, "processbench": ProcessBench, "steps": RatedSteps},
    steps=solution_steps,
    guides={
        "random": {"kind": "random"},
        "length": {"kind": "length", "unit": "characters"},
        "place": {"kind": "length", "unit": "steps"},
    },
)
