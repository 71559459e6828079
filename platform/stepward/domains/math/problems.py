"""The plain records every math reader returns.

Nothing here knows of models, tensors or files: a record is text and numbers, so it fits a Parquet row.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ModelSolution", "Problem", "RatedSolution"]


@dataclass(frozen=True, slots=True)
class Problem:
    r"""A question with its reference answer.

    Attributes:
        id: unique and deterministic, for instance ``gsm8k/test/12``; random streams are derived from it.
        question: the text shown to the proposer.
        answer: the final answer alone, as plain text or LaTeX without ``$`` and without ``\boxed``.
        source: the data set, for instance ``gsm8k``.
        solution: a reference solution, or "" where none is published.
        subject: for instance ``Precalculus``, or "".
        level: for instance ``Level 5``, or "".
        group: a text that rows of one problem share where they ask it in different words; "": the question itself.
    """

    id: str
    question: str
    answer: str
    source: str
    solution: str = ""
    subject: str = ""
    level: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class ModelSolution:
    """A solution written by a model, with the verdict published beside it.

    Attributes:
        id: ``<problem id>/<generator>``.
        problem: what was asked.
        generator: the model that wrote it.
        text: the solution, unchanged.
        correct: the published verdict on its final answer.
    """

    id: str
    problem: Problem
    generator: str
    text: str
    correct: bool


@dataclass(frozen=True, slots=True)
class RatedSolution:
    """A solution in steps, with one human rating a step.

    Attributes:
        id: unique and deterministic.
        problem: what was asked; its answer is "" where the data set publishes none.
        steps: the T steps.
        ratings: T ratings: 1 right, 0 neutral, -1 wrong, None not rated.
        generator: the model that wrote it, or "".
        final_answer_correct: the published verdict on the final answer, or None.
        tags: what else the row says, for instance ``("phase 2", "found_error")``.
    """

    id: str
    problem: Problem
    steps: tuple[str, ...]
    ratings: tuple[int | None, ...]
    generator: str = ""
    final_answer_correct: bool | None = None
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.steps) != len(self.ratings):
            raise ValueError(
                f"{self.id}: expected one rating a step, got {len(self.ratings)} ratings for {len(self.steps)} steps; "
                "use None for a step that was not rated"
            )

    @property
    def first_error(self) -> int:
        """Index of the first step rated -1, or -1 if there is none (the ProcessBench label)."""
        return self.ratings.index(-1) if -1 in self.ratings else -1
