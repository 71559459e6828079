"""Figures of judges of steps: thresholds that are chosen elsewhere than they are reported, intervals over problems."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from stepward.core.benchmarks import Benchmark
from stepward.core.seeding import stable_hash
from stepward.statistics.step_judges import METRICS, JudgedSteps, ordered_pairs

ALWAYS = "always_right"  # the rival that calls every step right
Scores = list[list[float] | None]  # of the steps of every solution; None where it could not be scored
CANDIDATES = 200  # thresholds tried: quantiles of the scores


@dataclass(frozen=True)
class Scored:
    """A judge and its scores.

    Attributes:
        guide: its name.
        rows: `id` and `scores`, one list a solution; null where it could not score.
        own: threshold of its own; None where it has none.
    """

    guide: str
    rows: pa.Table
    own: float | None


class Judging:
    """What figures of all judges of one benchmark share: labels, categories, folds, resamples.

    Args:
        solutions: of the benchmark; see `Benchmark.solutions`.
        benchmark: its metric and groups.
        threshold_from: category that chooses thresholds and is not reported then; None: halves of the problems choose
            for one another.
        confidence: mass of intervals.
        num_resamples: of the problems.
        seed: of folds and resamples.
    """

    def __init__(
        self,
        solutions: pa.Table,
        benchmark: Benchmark,
        *,
        threshold_from: str | None,
        confidence: float,
        num_resamples: int,
        seed: int,
    ) -> None:
        self.metric, self.groups = METRICS[benchmark.metric], benchmark.groups
        self.labels = [[-1 if v is None else v for v in row] for row in solutions["labels"].to_pylist()]
        self.category = np.array(solutions["category"].to_pylist(), object)
        clusters = solutions["cluster"].to_pylist()
        names, self.cluster = np.unique(np.array(clusters, object).astype(str), return_inverse=True)
        self.from_category, self.confidence = threshold_from, confidence
        if threshold_from is not None and threshold_from not in set(self.category):
            raise ValueError(f"threshold_from: expected one of {sorted(set(self.category))}, got {threshold_from!r}")
        fold = np.array([stable_hash(seed, name, "fold") % 2 for name in names])
        self.fold = fold[self.cluster]
        rng = np.random.default_rng(stable_hash(seed, "benchmark"))
        self.resamples = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=num_resamples)

    def steps(self, scores: Scores, rows: Int[np.ndarray, " n"]) -> JudgedSteps:
        """The steps of some solutions, which are numbered from 0 here."""
        lengths = [len(self.labels[i]) for i in rows]
        label = np.array([v for i in rows for v in self.labels[i]], np.int64)
        score = np.array([v for i in rows for v in scores[i] or ()], np.float64)
        return JudgedSteps(np.repeat(np.arange(len(rows)), lengths), label, score, len(rows))

    def counts(self, scores: Scores, rows: Int[np.ndarray, " n"], threshold: float) -> Float[np.ndarray, "n k"]:
        """Counts of each of some solutions: those of the metric, and ordered pairs."""
        steps = self.steps(scores, rows)
        return np.concatenate([self.metric.counts(steps, threshold), ordered_pairs(steps)], axis=1)

    def figures(self, sums: Float[np.ndarray, "b k"]) -> dict[str, Float[np.ndarray, " b"]]:
        """Figures of sums of `counts`: those of the metric, and the AUC within solutions."""
        pairs = np.where(sums[..., -1] > 0, sums[..., -1], np.nan)
        return self.metric.figures(sums[..., :-2]) | {"auc": sums[..., -2] / pairs}

    def chosen(self, scores: Scores, rows: Int[np.ndarray, " n"]) -> float:
        """The threshold of the best headline on some solutions; of equal ones the middle."""
        steps = self.steps(scores, rows)
        values = np.unique(steps.score)
        between = (values[1:] + values[:-1]) / 2
        if len(between) > CANDIDATES:
            between = np.unique(np.quantile(between, np.linspace(0, 1, CANDIDATES)))
        tried = np.array([values[0] - 1, *between, values[-1] + 1])
        found = []
        for threshold in tried:
            sums = self.metric.counts(steps, threshold).sum(axis=0, keepdims=True)
            found.append(float(self.metric.figures(sums)[self.metric.headline][0]))
        best = np.flatnonzero(np.array(found) >= max(found) - 1e-12)
        return float(tried[best[len(best) // 2]])


def figure_rows(judging: Judging, scored: Scored) -> Iterator[dict[str, Any]]:
    """Figures of one judge at its own threshold and at one that was chosen elsewhere: of all, of groups, of categories.

    A solution that could not be scored is left out, and counted.
    """
    scores = scored.rows["scores"].to_pylist()
    known = np.array([row is not None for row in scores], bool)
    usable = np.flatnonzero(known)
    plans: dict[str, list[tuple[float, Int[np.ndarray, " n"]]]] = {}
    if scored.own is not None:
        plans["own"] = [(scored.own, usable)]
    if scored.guide != ALWAYS and len(usable):
        plans["chosen"] = list(_elsewhere(judging, scores, usable))
    for rule, parts in plans.items():
        if not any(len(part) for _, part in parts):
            continue
        rows = np.concatenate([part for _, part in parts])
        counts = np.concatenate([judging.counts(scores, part, threshold) for threshold, part in parts])
        order = np.argsort(rows)
        head = {"guide": scored.guide, "threshold": rule, "not_scored": int((~known).sum())}
        head["threshold_value"] = float(np.mean([threshold for threshold, _ in parts]))
        for category, values in _figures(judging, counts[order], rows[order]):
            yield head | {"category": category} | values


def _elsewhere(
    judging: Judging, scores: Scores, usable: Int[np.ndarray, " n"]
) -> Iterator[tuple[float, Int[np.ndarray, " m"]]]:
    """(threshold, solutions that it is reported on), chosen on others."""
    if judging.from_category is not None:
        mine = judging.category[usable] == judging.from_category
        yield judging.chosen(scores, usable[mine]), usable[~mine]
        return
    for fold in (0, 1):
        mine, others = usable[judging.fold[usable] == fold], usable[judging.fold[usable] != fold]
        if len(mine) and len(others):
            yield judging.chosen(scores, others), mine


def _figures(
    judging: Judging, counts: Float[np.ndarray, "n k"], rows: Int[np.ndarray, " n"]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(category, figures with intervals), of all first, then means of groups, then categories."""
    category = judging.category[rows]
    names = sorted(set(category))
    found = {name: _resampled(judging, counts[category == name], rows[category == name]) for name in names}
    found["all"] = _resampled(judging, counts, rows)
    groups = {name: [c for c in parts if c in names] for name, parts in judging.groups.items()}
    parts_of = {"all": ["all"]} | {n: parts for n, parts in groups.items() if parts} | {n: [n] for n in names}
    for name, parts in parts_of.items():
        inside = np.isin(category, parts) | (name == "all")
        values: dict[str, Any] = {"num_solutions": int(inside.sum())}
        values["num_problems"] = len(np.unique(judging.cluster[rows[inside]]))
        for figure in found["all"][0]:
            defined = [found[part] for part in parts if np.isfinite(found[part][0][figure])]
            if defined:
                draws = np.mean([draw[figure] for _, draw in defined], axis=0)
                low, high = np.nanquantile(draws, [(1 - judging.confidence) / 2, (1 + judging.confidence) / 2])
                values[figure] = float(np.mean([value[figure] for value, _ in defined]))
                values |= {f"{figure}_low": float(low), f"{figure}_high": float(high)}
        yield name, values


def _resampled(
    judging: Judging, counts: Float[np.ndarray, "n k"], rows: Int[np.ndarray, " n"]
) -> tuple[dict[str, float], dict[str, Float[np.ndarray, " b"]]]:
    """Figures, and figures of resampled problems."""
    by_cluster = np.zeros((judging.resamples.shape[1], counts.shape[1]))
    np.add.at(by_cluster, judging.cluster[rows], counts)
    value = {name: float(v[0]) for name, v in judging.figures(counts.sum(axis=0, keepdims=True)).items()}
    return value, judging.figures(judging.resamples @ by_cluster)
