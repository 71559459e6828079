"""ProcessBench: find the first wrong step (Zheng et al. 2024, arXiv:2412.06559).

3,400 solutions in four subsets: gsm8k 400, math 1,000, olympiadbench 1,000, omnimath 1,000.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from stepward.core.wing import Rejected
from stepward.domains.math.problems import Problem, RatedSolution
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

__all__ = ["PROCESSBENCH_ID", "ProcessBenchScore", "predict_first_error", "read_processbench", "score_processbench"]

PROCESSBENCH_ID = "Qwen/ProcessBench"


@dataclass(frozen=True, slots=True)
class ProcessBenchScore:
    """The published figures of one subset, as shares between 0 and 1.

    Attributes:
        error_accuracy: share of the erroneous solutions whose first wrong step was named exactly.
        correct_accuracy: share of the correct solutions that were called correct.
        f1: harmonic mean of the two; 0 where either is 0.
        num_erroneous: solutions with a wrong step.
        num_correct: solutions without.
    """

    error_accuracy: float
    correct_accuracy: float
    f1: float
    num_erroneous: int
    num_correct: int


def read_processbench(
    source: str | Path = PROCESSBENCH_ID, *, split: str = "gsm8k"
) -> tuple[list[RatedSolution], list[Rejected]]:
    """Read rows of ``id, generator, problem, steps, final_answer_correct, label``.

    Args:
        source: a JSON or JSONL file, or the data set id.
        split: the subset; only for a data set id.

    Returns:
        Rated solutions: 1 before the first error, -1 at it, None after it (nobody rated those); `first_error` gives
        the label back. The problems have no answer, for the data set publishes none.
    """
    name = source_name("processbench", source, split)

    def build(row: Row, number: int) -> Iterator[RatedSolution]:
        steps, label = required(row, "steps", list), required(row, "label", int)
        if not steps or not all(isinstance(step, str) for step in steps):
            raise RowError("field 'steps': expected a non-empty list of texts")
        if not -1 <= label < len(steps):
            raise RowError(f"field 'label': expected -1 to {len(steps) - 1} for {len(steps)} steps, got {label}")
        identity = optional_text(row, "id") or str(number)
        question = required_text(row, "problem")
        num_right = len(steps) if label == -1 else label
        ratings = [1 if t < num_right else -1 if t == label else None for t in range(len(steps))]
        yield RatedSolution(
            f"{name}/{identity}",
            Problem(f"{name}/{identity}/problem", question, "", "processbench"),
            tuple(steps),
            tuple(ratings),
            optional_text(row, "generator"),
            required(row, "final_answer_correct", bool),
        )

    return collect(read_rows(source, split=split), build)


def predict_first_error(
    scores: Float[np.ndarray, "n t"], lengths: Int[np.ndarray, " n"], threshold: float
) -> Int[np.ndarray, " n"]:
    """The first step whose score is below `threshold`, or -1.

    Args:
        scores: step scores, higher is better; what lies beyond a row's length is ignored.
        lengths: number of steps of each row.
        threshold: usually chosen on the gsm8k subset and kept for the others, as the paper does.

    Returns:
        [n] integers, -1 where every step passes.
    """
    low = (scores < threshold) & (np.arange(scores.shape[1]) < lengths[:, None])
    return np.where(low.any(axis=1), low.argmax(axis=1), -1)


def score_processbench(predicted: Int[np.ndarray, " n"], labels: Int[np.ndarray, " n"]) -> ProcessBenchScore:
    """Compare predicted first errors with the labels (both -1 for "no error").

    Raises:
        ValueError: the shapes differ, or one of the two kinds of solutions is missing, so F1 is not defined.
    """
    if predicted.shape != labels.shape:
        raise ValueError(f"expected one prediction a label, got shapes {predicted.shape} and {labels.shape}")
    hit, erroneous = predicted == labels, labels != -1
    num_erroneous, num_correct = int(erroneous.sum()), int((~erroneous).sum())
    if not num_erroneous or not num_correct:
        raise ValueError(
            f"expected erroneous and correct solutions, got {num_erroneous} and {num_correct}; score a whole subset"
        )
    error, correct = float(hit[erroneous].mean()), float(hit[~erroneous].mean())
    f1 = 2 * error * correct / (error + correct) if error + correct else 0.0
    return ProcessBenchScore(error, correct, f1, num_erroneous, num_correct)
