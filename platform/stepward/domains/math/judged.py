"""Labels by a judge, and labels on which a judge and rollouts agree.

Both look at finished solutions and label all of their beginnings: right until the first wrong step, wrong from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int
from pydantic import Field

from stepward.core.config import Config, with_defaults
from stepward.core.labels import LabelParts, LabelStage, Summary
from stepward.core.seeding import Rng
from stepward.core.wing import Rejected
from stepward.domains.math.defaults import ROLLOUTS
from stepward.domains.math.judge import Judge, JudgeSettings, Verdict
from stepward.domains.math.states import MathStates, math_states
from stepward.label import ContinuationLabels, CountTask, count_summary, reject, salvage

__all__ = ["ConsensusLabels", "JudgedLabels"]

Rollouts: Any = with_defaults(ContinuationLabels, ROLLOUTS)
Paths = Sequence[Int[np.ndarray, " _"]]


class _OfSolutions(Config):
    """Kinds of label that look at whole solutions."""

    POOL: ClassVar[dict[str, int]] = {}
    whole_problems: ClassVar[bool] = True

    def check(self, states: Any) -> None:
        """Solutions are texts here."""

    def summary(self, labels: LabelParts) -> Summary:
        """As of counts; what they took is what the judge wrote."""
        found = count_summary(labels)
        tokens = sum(int(np.sum(part["judge_tokens"].to_numpy())) for part in labels.labels(["judge_tokens"]))
        return Summary(found.rows, found.metrics, {"judgements": found.cost["rollouts"], "judge_tokens": float(tokens)})


class JudgedLabels(JudgeSettings, _OfSolutions):
    """A beginning has as many labels as solutions go on from it (times votes), and is right before the first error.

    The bare question is always right. What follows the first wrong step is wrong, too: it stands on it.
    """

    kind: Literal["judged"] = "judged"

    def task(self, settings: LabelStage, in_flight: int) -> JudgeTask:
        """What labels tables of rows."""
        return JudgeTask(settings, self)


class ConsensusLabels(_OfSolutions):
    """Judge and rollouts must name the same first wrong step; solutions on which they differ are left out.

    Source: Zhang et al. 2025, "The Lessons of Developing Process Reward Models", arXiv:2501.07301, section 3.1. By
    rollouts a step is wrong where none of them gets the answer right from there.
    """

    kind: Literal["consensus"] = "consensus"
    judge: JudgeSettings = Field(JudgeSettings(), description="who is asked")
    rollouts: Rollouts = Field(Rollouts(), description="how often the policy goes on from a beginning")

    def task(self, settings: LabelStage, in_flight: int) -> ConsensusTask:
        """What labels tables of rows."""
        return ConsensusTask(settings, self, in_flight)


class JudgeTask:
    """Labels beginnings by what a judge says of the solutions that go on from them; a `LabelTask`."""

    whole = "problem_id"

    def __init__(self, settings: LabelStage, judge: JudgeSettings) -> None:
        self.settings, self.judge = settings, Judge(judge)

    def __call__(self, rows: pa.Table) -> tuple[pa.Table, list[Rejected]]:
        """Labels of rows that some verdict is about; the others, with why there is none."""
        parts, rejected = salvage(self._both, rows, self.whole)
        return pa.concat_tables([self.no_labels(rows), *(table for table, _ in parts)]), rejected + [
            bad for _, lost in parts for bad in lost
        ]

    def label(self, rows: pa.Table) -> pa.Table:
        """All rows; raises where one of them has no verdict."""
        labels, lost = self._both(rows)
        if lost:
            raise ValueError(lost[0].error)
        return labels

    def no_labels(self, rows: pa.Table) -> pa.Table:
        """A table without rows, of the columns that `label` gives."""
        return self._both(rows.slice(0, 0))[0]

    def _both(self, rows: pa.Table) -> tuple[pa.Table, list[Rejected]]:
        states = math_states(rows)
        paths, places = states.paths(), _num_steps(states)
        verdicts = self.verdicts(rows, states, paths)
        counts, why = np.zeros((3, len(rows)), np.int64), [""] * len(rows)  # successes, labels, tokens of the judge
        for path, verdict in zip(paths, verdicts, strict=True):
            for row in path:
                why[row] = why[row] or verdict.error
                counts[0, row] += sum(not step or places[row] < step for step in verdict.votes)
                counts[1, row] += len(verdict.votes)
            counts[2, path[-1]] = verdict.num_tokens
        kept = np.flatnonzero(counts[1])
        labels = rows.take(kept)
        for name, column in zip(("successes", "num_rollouts", "judge_tokens"), counts, strict=True):
            labels = labels.append_column(name, pa.array(column[kept], pa.int32()))
        labels = labels.append_column("status", pa.array(["ok"] * len(kept), pa.string()))
        unjudged = "expected a finished solution that begins so, got none; keep the finished ones when mining"
        return labels, [reject(rows, int(i), why[i] or unjudged) for i in np.flatnonzero(counts[1] == 0)]

    def verdicts(self, rows: pa.Table, states: MathStates, paths: Paths) -> list[Verdict]:
        """What the judge says of each finished solution."""
        ends = [int(path[-1]) for path in paths]
        names = rows["id"].to_pylist()
        rng = Rng.from_ids(self.settings.seed, [names[i] for i in ends], "judge")
        keys = (rng.uniform(self.judge.settings.num_votes) * 2.0**53).astype(np.uint64)
        solutions = states.take(ends).steps()
        return self.judge.first_errors([states.question[i] for i in ends], solutions, keys)


class ConsensusTask(JudgeTask):
    """Verdicts that rollouts agree with; a `LabelTask`."""

    def __init__(self, settings: LabelStage, labels: ConsensusLabels, in_flight: int) -> None:
        super().__init__(settings, labels.judge)
        stage: Any = settings
        self.rollouts = CountTask(stage.model_copy(update={"labels": labels.rollouts}), in_flight)

    def verdicts(self, rows: pa.Table, states: MathStates, paths: Paths) -> list[Verdict]:
        """One vote for each solution on which both agree."""
        judged = super().verdicts(rows, states, paths)
        if not len(rows):
            return judged
        hopeless = self.rollouts.label(rows)["successes"].to_numpy() == 0
        places = _num_steps(states)
        return [self._agreed(v, places[path], hopeless[path]) for path, v in zip(paths, judged, strict=True)]

    def _agreed(self, verdict: Verdict, steps: Int[np.ndarray, " b"], hopeless: Bool[np.ndarray, " b"]) -> Verdict:
        if not verdict.votes:
            return verdict
        told = verdict.first_error
        first = int(min(steps[hopeless & (steps > 0)], default=0))
        before = int(max(steps[steps < first], default=0))  # not all beginnings need be there
        if told == first or before < told < first:
            return Verdict((told,), verdict.num_tokens)
        said = [f"step {step}" if step else "no step" for step in (told, first)]
        return Verdict((), verdict.num_tokens, f"no consensus: the judge finds {said[0]} wrong, rollouts {said[1]}")


def _num_steps(states: MathStates) -> Int[np.ndarray, " n"]:
    """Steps of beginnings, as the judge counts them."""
    return np.array([len(steps) for steps in states.steps()], np.int64)
