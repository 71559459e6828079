"""Candidate rankings as a kind of label: its settings, one worker's task, and what the labels amount to.

The figures answer, before a reward model is trained, whether a choice among the candidates can help at all: `headroom`
is the share of the error that the best of K by the truth saves against what needs no choice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from stepward.core.interfaces import rollout_policy
from stepward.core.labels import LabelParts, LabelStage, Summary
from stepward.core.wing import Rejected
from stepward.domains.pde.data import fields_of
from stepward.domains.pde.rankings import IN_FLIGHT, Ranker, RankingContent
from stepward.domains.pde.verifier import ReferenceVerifier
from stepward.label.task import salvage

BASELINES = ("deterministic", "mean_of_k")


class RankingLabels(RankingContent):
    """Candidate rankings: how good each of K candidates of a state is, one step on and later."""

    POOL: ClassVar[Mapping[str, int]] = {"batch_size": 16, "in_flight": IN_FLIGHT}  # a row holds fields: about 300 kB
    whole_problems: ClassVar[bool] = False

    kind: Literal["rankings"] = "rankings"

    def check(self, states: Any) -> None:
        """States of fields can always be ranked."""

    def task(self, settings: LabelStage, in_flight: int) -> RankingTask:
        """What labels tables of states."""
        return RankingTask(settings, in_flight)

    def summary(self, labels: LabelParts) -> Summary:
        """Mean errors, and the headroom of a choice."""
        return ranking_summary(labels, self.num_candidates)


class RankingTask:
    """Labels tables of states by ranking K candidates of each; a `LabelTask`.

    Args:
        settings: of the label stage; the proposer and the verifier are built here, once a worker.
        in_flight: candidates in memory at once; it changes speed and memory, never a label.
    """

    whole = None  # rows are independent

    def __init__(self, settings: LabelStage, in_flight: int) -> None:
        wing = settings.wing
        proposer = settings.here(settings.proposer).build()
        self.ranker = Ranker(
            settings.labels,
            domain=wing.domain,
            proposer=proposer,
            verifier=ReferenceVerifier(settings.labels.convention),
            policy=rollout_policy(proposer),
            seed=settings.seed,
            in_flight=in_flight,
        )

    def __call__(self, rows: pa.Table) -> tuple[pa.Table, list[Rejected]]:
        """Labels of the rows that can be labelled, in order, and the others with what went wrong."""
        labels, rejected = salvage(self.label, rows)
        return pa.concat_tables(labels or [self.no_labels(rows)]), rejected

    def label(self, rows: pa.Table) -> pa.Table:
        """Labels of rows, with `status`; raises what the proposer, the verifier or the domain raise."""
        labels = pa.concat_tables(list(self.ranker(rows)))
        return labels.append_column("status", pa.array(["ok"] * len(rows), pa.string()))

    def no_labels(self, rows: pa.Table) -> pa.Table:
        """A table without rows, of the columns that `label` gives."""
        return self.ranker.label(rows.slice(0, 0)).append_column("status", pa.array([], pa.string()))


def ranking_summary(work: LabelParts, num_candidates: int) -> Summary:
    """Rows by split, and by split the mean errors and the headroom (share saved by the best of K, paired, with its
    standard error) against the deterministic output and the mean of K.
    """
    rows: Counter[str] = Counter(labels=0)
    parts: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for part in work.labels(["split", "errors", "baseline_errors"]):
        if len(part):
            split = part["split"][0].as_py()
            rows.update({"labels": len(part), split: len(part)})
            parts.setdefault(split, []).append((fields_of(part, "errors"), fields_of(part, "baseline_errors")))
    metrics: dict[str, float] = {}
    for split, found in parts.items():
        errors, baselines = (np.concatenate(column).astype(np.float64) for column in zip(*found, strict=True))
        metrics |= {f"rows.{split}": float(len(errors))} | _figures(split, errors, baselines)
    return Summary(dict(rows), metrics, {"candidates": float(rows["labels"] * num_candidates)})


def _figures(split: str, errors: Float[np.ndarray, "n k"], baselines: Float[np.ndarray, "n b"]) -> dict[str, float]:
    best = errors.min(axis=1)
    finite = np.where(np.isfinite(errors), errors, np.nan)
    found = {
        f"error_best.{split}": float(best.mean()),
        f"error_random.{split}": float(np.nanmean(finite)),
        f"error_spread.{split}": float((np.nanstd(finite, axis=1) / np.nanmean(finite, axis=1)).mean()),
        f"blown_up.{split}": float(np.isnan(finite).mean()),
    }
    for name, base in zip(BASELINES, baselines.T, strict=True):
        saved = (base - best) / base.mean()
        found[f"error_{name}.{split}"] = float(base.mean())
        found[f"headroom_over_{name}.{split}"] = float(saved.mean())
        if len(saved) > 1:
            found[f"headroom_over_{name}_se.{split}"] = float(saved.std(ddof=1) / np.sqrt(len(saved)))
    return found
