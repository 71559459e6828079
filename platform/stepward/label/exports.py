"""Labels in the forms that other libraries train on: solutions in steps, with a label a step.

The beginnings of a label artifact become solutions again: each that no other goes on from, with what is known of the
beginnings on its way. A label is S of M; where a form wants right or wrong, a step is right where S / M is above a
bound.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import Field

from stepward.core.config import Config, Plain, else_kind
from stepward.core.wing import Wing

__all__ = ["Export", "LabelledSolution", "TRLExport", "solutions_of"]


@dataclass(frozen=True)
class LabelledSolution:
    """A solution with what is known of its steps.

    Attributes:
        id: of the label of its last step.
        question: what is asked.
        answer: reference answer, or "".
        steps: the T steps.
        successes: S of each of the T beginnings that end with a step; None where there is no label.
        num_rollouts: M of each.
    """

    id: str
    question: str
    answer: str
    steps: tuple[str, ...]
    successes: tuple[float | None, ...]
    num_rollouts: tuple[float | None, ...]

    @property
    def shares(self) -> list[float | None]:
        """S / M of every step, None where there is no label."""
        pairs = zip(self.successes, self.num_rollouts, strict=True)
        return [None if s is None or not m else float(s) / float(m) for s, m in pairs]


def solutions_of(labels: pa.Table, wing: Wing) -> Iterator[LabelledSolution]:
    """Solutions of label rows, in the order of their problems; a bare question is none.

    Raises:
        ValueError: solutions of the domain are no texts, or labels are no counts.
    """
    if wing.written is None:
        raise ValueError(f"domain {wing.name!r}: expected one whose solutions are written as steps, such as 'math'")
    needed = ("id", "problem_id", "question", "successes", "num_rollouts")
    if missing := [name for name in needed if name not in labels.column_names]:
        raise ValueError(f"labels: expected the columns {list(needed)}, but {missing} is missing")
    problems: dict[str, dict[tuple[str, ...], dict[str, Any]]] = defaultdict(dict)
    steps = wing.written.steps(wing.states(labels))
    for row, written in zip(labels.to_pylist(), map(tuple, steps), strict=True):
        same = problems[row["problem_id"]].setdefault(written, {**row, "successes": 0, "num_rollouts": 0})
        same["successes"] += row["successes"]  # one text may be there twice, once as finished
        same["num_rollouts"] += row["num_rollouts"]
    for rows in problems.values():
        inner = {written[:end] for written in rows for end in range(len(written))}
        for whole, row in rows.items():
            if whole and whole not in inner:
                way = [rows.get(whole[: end + 1], {}) for end in range(len(whole))]
                counts = [tuple(at.get(name) for at in way) for name in ("successes", "num_rollouts")]
                yield LabelledSolution(row["id"], row["question"], row.get("answer") or "", whole, *counts)


class _Export(Config):
    """A form of labels."""

    @abstractmethod
    def row(self, solution: LabelledSolution) -> Plain:
        """A solution in this form; ValueError where it cannot be said in it."""


class _Bounded(_Export):
    above: float = Field(
        0.0, ge=0, lt=1, description="a step is right where its share of successes is above; 0: any success is enough"
    )

    def ratings(self, solution: LabelledSolution) -> list[int | None]:
        """1 right, −1 wrong, None not labelled."""
        return [None if share is None else 1 if share > self.above else -1 for share in solution.shares]


def _known(solution: LabelledSolution) -> int:
    """Steps before the first without a label."""
    known = solution.shares.index(None) if None in solution.shares else len(solution.steps)
    if not known:
        raise ValueError("expected a label of the first step, got none: this form has no steps without a label")
    return known


class TRLExport(_Bounded):
    """TRL's stepwise supervision: prompt, completions, labels (true or false); it ends before a step without label."""

    kind: Literal["trl"] = "trl"

    def row(self, solution: LabelledSolution) -> Plain:
        """Steps up to the first without label."""
        known = _known(solution)
        labels = [rating == 1 for rating in self.ratings(solution)[:known]]
        return {"prompt": solution.question, "completions": list(solution.steps[:known]), "labels": labels}


class OpenRLHFExport(_Bounded):
    """OpenRLHF's process rewards: a placeholder after each step of `input`, and in `value` what is learned there."""

    kind: Literal["openrlhf"] = "openrlhf"
    placeholder: str = Field("ки", min_length=1, description="token that stands at the end of a step")
    reward_tokens: tuple[str, str] | None = Field(
        ("+", "-"), description="tokens for right and wrong; none: the share of successes as a soft value"
    )

    def row(self, solution: LabelledSolution) -> Plain:
        """One text with the placeholder after each step, and one label each."""
        known = _known(solution)
        lines = [f"Step {n}: {step} {self.placeholder}" for n, step in enumerate(solution.steps[:known], 1)]
        text = f"{solution.question} " + "\n".join(lines)
        if text.count(self.placeholder) != known:
            raise ValueError(f"expected a text without the placeholder {self.placeholder!r}; choose another one")
        value: list[Any] = solution.shares[:known]
        if self.reward_tokens is not None:
            value = [self.reward_tokens[rating != 1] for rating in self.ratings(solution)[:known]]
        return {"input": text, "value": value}


class PRM800KExport(_Bounded):
    """Rows as those of PRM800K: one completion a step, rated 1, −1 or null."""

    kind: Literal["prm800k"] = "prm800k"

    def row(self, solution: LabelledSolution) -> Plain:
        """Every step as its one completion."""
        rated = zip(solution.steps, self.ratings(solution), strict=True)
        steps = [{"completions": [{"text": text, "rating": rating}], "chosen_completion": 0} for text, rating in rated]
        question = {"problem": solution.question, "ground_truth_answer": solution.answer or None}
        finish = "found_error" if -1 in self.ratings(solution) else "solution"
        return {"question": question, "label": {"steps": steps, "total_time": 0, "finish_reason": finish}}


class StepsExport(_Bounded):
    """Rows of question, answer, steps, ratings and values (shares of successes): what `labels.kind=given` reads."""

    kind: Literal["steps"] = "steps"

    def row(self, solution: LabelledSolution) -> Plain:
        """All that is known of the solution."""
        whole = {"id": solution.id, "question": solution.question, "answer": solution.answer}
        return whole | {
            "steps": list(solution.steps),
            "ratings": self.ratings(solution),
            "values": solution.shares,
            "num_rollouts": list(solution.num_rollouts),
        }


class DatasetExport(StepsExport):
    """The same rows as a folder of Hugging Face datasets, which `datasets.load_from_disk` opens."""

    kind: Literal["datasets"] = "datasets"  # type: ignore[assignment]


Export = Annotated[
    TRLExport | OpenRLHFExport | PRM800KExport | StepsExport | DatasetExport,
    Field(discriminator="kind"),
    else_kind("trl"),
]
