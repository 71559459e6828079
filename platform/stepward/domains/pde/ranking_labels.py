"""Candidate rankings as a kind of label: its settings, one worker's task, and what the labels amount to.

The figures answer, before a reward model is trained, whether a choice among the candidates can help at all: `headroom`
is the share of the error that the best of K by the truth saves against what needs no choice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from stepward.core.batch import Batch
from stepward.core.interfaces import rollout_policy
from stepward.core.labels import LabelParts, LabelStage, Summary
from stepward.core.wing import Rejected
from stepward.domains.pde.constants import best_constant, changed_errors, read_off
from stepward.domains.pde.data import fields_of
from stepward.domains.pde.rankings import IN_FLIGHT, Ranker, RankingContent
from stepward.domains.pde.verifier import ReferenceVerifier
from stepward.label.task import salvage

COLUMNS = ("errors", "baseline_errors", "change_terms")
BASELINES = ("deterministic", "mean_of_k", "constant", "read_off_state")


class RankingLabels(RankingContent):
    """Candidate rankings: how good each of K candidates of a state is, one step on and later."""

    POOL: ClassVar[Mapping[str, int]] = {"batch_size": 16, "in_flight": IN_FLIGHT}  # a row holds fields: about 300 kB
    whole_problems: ClassVar[bool] = False

    kind: Literal["rankings"] = "rankings"

    def check(self, states: Batch) -> None:
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
    standard error) against what needs no choice: the deterministic output, the mean of K, the best constant, and one
    that is read off the state.
    """
    rows: Counter[str] = Counter(labels=0)
    parts: dict[str, list[tuple[np.ndarray, ...]]] = {}
    for part in work.labels(["split", *COLUMNS]):
        if len(part):
            split = part["split"][0].as_py()
            rows.update({"labels": len(part), split: len(part)})
            parts.setdefault(split, []).append(tuple(fields_of(part, name) for name in COLUMNS))
    metrics: dict[str, float] = {}
    found = {split: [np.concatenate(column).astype(np.float64) for column in zip(*some, strict=True)]
             for split, some in parts.items()}  # fmt: skip
    for split, (errors, baselines, terms) in found.items():
        baselines = np.concatenate([baselines, _steady(found, errors, baselines, terms)], axis=1)
        metrics |= {f"rows.{split}": float(len(errors))} | _figures(split, errors, baselines)
    return Summary(dict(rows), metrics, {"candidates": float(rows["labels"] * num_candidates)})


def _steady(
    found: Mapping[str, list[np.ndarray]], errors: np.ndarray, baselines: np.ndarray, terms: np.ndarray
) -> Float[np.ndarray, "n 2"]:
    """Errors of the best constant and of one read off each state, both learned on training states.

    Training states are judged by a rule that was learned on the other half of them. A constant is a change of the
    deterministic output, or always the same of the K candidates, where these are made alike for all states: whichever
    is better.
    """
    known, base, learned = found.get("train", [errors, baselines, terms])
    good = np.isfinite(learned).all(axis=1) & np.isfinite(base[:, 0])
    if not good.any():
        return np.repeat(baselines[:, :1], 2, axis=1)
    constant = best_constant(learned[good])
    changed = changed_errors(terms, baselines[:, 0], constant[None])
    fixed = known.mean(axis=0)
    if fixed.min() < changed_errors(learned[good], base[good, 0], constant[None]).mean():
        changed = errors[:, fixed.argmin()]
    own = terms is learned and good.sum() > 3
    theta = _from_the_other_half(terms, good) if own else read_off(learned[good], terms)
    steady = np.stack([changed, changed_errors(terms, baselines[:, 0], theta)], axis=1)
    return np.where(np.isfinite(steady), steady, baselines[:, :1])


def _from_the_other_half(terms: Float[np.ndarray, "n f"], good: np.ndarray) -> Float[np.ndarray, "n 2"]:
    first = np.arange(len(terms)) < len(terms) // 2
    halves = [read_off(terms[good & mine], terms) for mine in (~first, first)]
    return np.where(first[:, None], *halves)


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
