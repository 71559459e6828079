"""PRM800K: human ratings of solution steps on MATH (Lightman et al. 2023, arXiv:2305.20050).

One JSON object a line is one labelled trajectory. In phase 1 the labellers rated alternatives at every step and chose
one; in phase 2 whole solutions were generated beforehand and labelling stops at the first mistake.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from stepward.core.config import Plain
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

__all__ = ["PRM800KScore", "read_prm800k", "score_prm800k"]


@dataclass(frozen=True, slots=True)
class PRM800KScore:
    """How well step scores tell right from wrong steps, over all rated steps.

    Attributes:
        accuracy: share of the steps on the right side of the threshold.
        error_precision: share of the steps called wrong that are.
        error_recall: share of the wrong steps called wrong.
        error_f1: harmonic mean of the two, "wrong" being the class to find.
        auc: probability that a right step outscores a wrong one, ties count half (Mann–Whitney).
        num_right: right steps.
        num_wrong: wrong steps.
    """

    accuracy: float
    error_precision: float
    error_recall: float
    error_f1: float
    auc: float
    num_right: int
    num_wrong: int


def read_prm800k(source: str | Path, *, alternatives: bool = True) -> tuple[list[RatedSolution], list[Rejected]]:
    """Read labelled trajectories.

    Args:
        source: a JSONL file such as ``phase2_test.jsonl``, or a folder of them.
        alternatives: also give each rated step that was not chosen, as a solution of its own: the chosen steps
            before it (their ratings kept), then the alternative.

    Returns:
        Rated solutions, tagged ``phase 1`` or ``phase 2``, the finish reason, and ``quality control`` or
        ``screening`` where the row served that purpose (leave those out of training); and the rejected rows,
        among them those that the labeller reported as a bad problem.
    """
    name = source_name("prm800k", source, "")

    def build(row: Row, number: int) -> Iterator[RatedSolution]:
        question, label = required(row, "question", dict), required(row, "label", dict)
        finish = optional_text(label, "finish_reason")
        if finish == "bad_problem":
            raise RowError("the labeller reported a bad problem")
        problem = Problem(
            f"{name}/{number}/problem",
            required_text(question, "problem"),
            required_text(question, "ground_truth_answer"),
            "prm800k",
            optional_text(question, "ground_truth_solution"),
        )
        planned = question.get("pre_generated_steps") or []
        steps = [_Step.read(entry, planned[t : t + 1]) for t, entry in enumerate(required(label, "steps", list))]
        if not steps:
            raise RowError("no labelled steps")
        yield from _solutions(f"{name}/{number}", problem, steps, _tags(row, finish), alternatives)

    return collect(read_rows(source), build)


def score_prm800k(
    scores: Sequence[Float[np.ndarray, " _"]],
    ratings: Sequence[Sequence[int | None]],
    *,
    threshold: float = 0.5,
    neutral_is_right: bool = True,
) -> PRM800KScore:
    """Score step predictions against the ratings; steps rated None are left out.

    Args:
        scores: one array of step scores a solution, higher is better.
        ratings: the ratings, aligned with the scores.
        threshold: below it a step is called wrong.
        neutral_is_right: count rating 0 as right, the paper's choice for its best results.

    Raises:
        ValueError: lengths differ, or all rated steps are of one kind.
    """
    if [len(s) for s in scores] != [len(r) for r in ratings]:
        raise ValueError("expected one score a rating, got different lengths; score every step of every solution")
    flat = [(s, r) for row, rated in zip(scores, ratings, strict=True) for s, r in zip(row, rated, strict=True)]
    kept = np.array([(s, r) for s, r in flat if r is not None], dtype=float).reshape(-1, 2)
    right = kept[:, 1] >= (0 if neutral_is_right else 1)
    if right.all() or not right.any():
        raise ValueError(
            f"expected right and wrong steps, got {right.sum()} right of {len(right)}; score more solutions"
        )
    called_right = kept[:, 0] >= threshold
    found = float((~called_right & ~right).sum())
    precision = found / max(1, int((~called_right).sum()))
    recall = found / int((~right).sum())
    return PRM800KScore(
        accuracy=float((called_right == right).mean()),
        error_precision=precision,
        error_recall=recall,
        error_f1=2 * precision * recall / (precision + recall) if found else 0.0,
        auc=_auc(kept[right, 0], kept[~right, 0]),
        num_right=int(right.sum()),
        num_wrong=int((~right).sum()),
    )


@dataclass(frozen=True, slots=True)
class _Step:
    """One step of a trajectory: what was taken, and what else was rated there."""

    chosen: tuple[str, int | None]
    others: tuple[tuple[str, int | None], ...]

    @classmethod
    def read(cls, entry: Any, planned: list[object]) -> _Step:
        """`planned` is the pre-generated step in a list, or empty; it names the choice where the row names none."""
        rated = [_completion(c) for c in required(entry, "completions", list)]
        human, chosen = entry.get("human_completion"), entry.get("chosen_completion")
        if chosen is not None:
            if not isinstance(chosen, int) or not 0 <= chosen < len(rated):
                raise RowError(f"chosen_completion: expected 0 to {len(rated) - 1}, got {chosen!r}")
        elif human is not None:
            # A labeller wrote this step because every completion was wrong: it is right by construction.
            text, rating = _completion(human if isinstance(human, dict) else {"text": human})
            return cls((text, 1 if rating is None else rating), tuple(rated))
        elif rated:
            # Labelling ended here (first error, or given up): the step of the original solution is the trajectory's.
            texts = [text for text, _ in rated]
            chosen = texts.index(planned[0]) if planned and planned[0] in texts else 0
        else:
            raise RowError("a step has neither completions nor a human completion")
        return cls(rated[chosen], tuple(rated[:chosen] + rated[chosen + 1 :]))


def _completion(entry: Plain) -> tuple[str, int | None]:
    text, rating = required(entry, "text", str), entry.get("rating")
    if isinstance(rating, bool) or rating not in (-1, 0, 1, None):
        raise RowError(f"rating: expected -1, 0, 1 or null, got {rating!r}")
    return text, rating


def _tags(row: Row, finish: str) -> tuple[str, ...]:
    flags = {
        "phase 1" if row.get("generation") is None else "phase 2": True,
        finish: bool(finish),
        "quality control": row.get("is_quality_control_question") is True,
        "screening": row.get("is_initial_screening_question") is True,
    }
    return tuple(tag for tag, is_set in flags.items() if is_set)


def _solutions(
    identity: str, problem: Problem, steps: list[_Step], tags: tuple[str, ...], alternatives: bool
) -> Iterator[RatedSolution]:
    def solution(suffix: str, path: list[tuple[str, int | None]]) -> RatedSolution:
        texts, ratings = zip(*path, strict=True)
        return RatedSolution(identity + suffix, problem, texts, ratings, tags=tags)

    chosen = [step.chosen for step in steps]
    yield solution("", chosen)
    for t, step in enumerate(steps if alternatives else []):
        for number, other in enumerate(step.others):
            yield solution(f"/{t}/{number}", [*chosen[:t], other])


def _auc(right: Float[np.ndarray, " a"], wrong: Float[np.ndarray, " b"]) -> float:
    ordered = np.sort(wrong)
    below, upto = np.searchsorted(ordered, right, "left"), np.searchsorted(ordered, right, "right")
    return float((below + upto).mean() / (2 * len(wrong)))
