"""Votes over sampled solutions, by every guide and number of samples, and what they come to at equal cost.

A choice never costs anything: what counts are the samples and their reading by the guide. At a budget of C operations
an arm takes N samples, and with a probability that makes the mean cost C, its guide's reading included, the next larger
number. So all arms cost the same, and a guide that reads as many tokens as the policy wrote chooses among about half as
many solutions as a majority vote does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Unpack

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float

from stepward.evaluate.samples.drawing import POLICY, SPENT
from stepward.evaluate.samples.settings import MAJORITY, SAMPLES, Choice, SampleStudy
from stepward.evaluate.samples.voting import best_of_n, majority_vote, oracle_bound, right_at, weighted_vote
from stepward.evaluate.tables import Row
from stepward.statistics.binomial import binomial_interval
from stepward.statistics.bootstrap import Resampling
from stepward.statistics.paired import holm_adjusted, paired_comparison

ORACLE = "oracle"


@dataclass(frozen=True)
class Method:
    """An arm and how it chooses. `rule` "any" is the oracle's; the majority has no aggregation."""

    arm: str
    rule: str
    aggregation: str = ""


class SampleOutcomes:
    """What every choice among the first N samples comes to.

    Args:
        solutions: as `sampling.solution_table` makes them, of all problems.
        spending: as `sampling.spending_table` makes them.
        study: of the settings.
        log_values: arms whose values are log-probabilities: their votes count in proportion to the probability.
        no_votes: arms whose values only rank.
    """

    def __init__(
        self,
        solutions: pa.Table,
        spending: pa.Table,
        study: SampleStudy,
        *,
        log_values: frozenset[str] = frozenset(),
        no_votes: frozenset[str] = frozenset(),
    ) -> None:
        self.study, self._log_values, self._no_votes = study, log_values, no_votes
        table = solutions.sort_by([("problem_id", "ascending"), ("sample", "ascending")])
        self.problem_ids = pc.unique(table["problem_id"]).to_pylist()
        self._columns = {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}
        self._problem = np.unique(self._columns["problem_id"].astype(str), return_inverse=True)[1].reshape(-1)
        self._spending = spending.sort_by("problem_id")

    @property
    def num_problems(self) -> int:
        """P."""
        return len(self.problem_ids)

    @cached_property
    def methods(self) -> list[Method]:
        """The majority and the oracle, then every guide with its aggregations, by vote and by best."""
        found = [Method(MAJORITY, "vote"), Method(ORACLE, "any")]
        for column in (name for name in self._columns if "/" in name):
            arm, aggregation = column.split("/")
            found += [Method(arm, "vote", aggregation)] * (arm not in self._no_votes)
            found.append(Method(arm, "best", aggregation))
        return found

    @property
    def arms(self) -> list[str]:
        """Everything that chooses, in the order of the methods."""
        return list(dict.fromkeys(method.arm for method in self.methods))

    def choice(self, arm: str) -> Method:
        """How an arm chooses in comparisons.

        Raises:
            ValueError: the settings name a choice that was not tabulated.
        """
        if arm in (MAJORITY, ORACLE):
            return next(method for method in self.methods if method.arm == arm)
        plain = Choice(rule="best", aggregation="last") if arm in self._no_votes else Choice()
        wanted = self.study.choices.get(arm, plain)
        mine = [method for method in self.methods if method.arm == arm]
        method = Method(arm, wanted.rule, wanted.aggregation)
        if method in mine:
            return method
        if arm in self.study.choices:
            shown = [f"{m.rule} {m.aggregation}" for m in mine]
            raise ValueError(f"samples.choices.{arm}: expected one of {shown}, got {wanted}. It must be tabulated.")
        return mine[0]

    def solved(self, method: Method, size: int) -> Bool[np.ndarray, " p"]:
        """Whether the choice among the first `size` samples of each problem is right."""
        rows = np.flatnonzero(self._columns["complete"].astype(bool) & (self._columns["sample"] < size))
        problem, right = self._problem[rows], self._columns["right"][rows].astype(bool)
        answer = self._columns["answer"][rows]
        if method.rule == "any":
            return oracle_bound(problem, right, self.num_problems)
        if method.arm == MAJORITY:
            return right_at(majority_vote(problem, answer, self.num_problems), right)
        value = self._columns[f"{method.arm}/{method.aggregation}"][rows].astype(np.float64)
        if method.rule == "best":
            return right_at(best_of_n(problem, value, self.num_problems), right)
        if method.arm in self._log_values:
            value = _probabilities(value, problem, self.num_problems)
        return right_at(weighted_vote(problem, answer, value, self.num_problems), right)

    def cost(self, arm: str, size: int, kind: str = "flops") -> Float[np.ndarray, " p"]:
        """What `size` samples of each problem cost, the reading of them by a guide included."""
        arms = {POLICY} if arm in (MAJORITY, ORACLE) else {POLICY, arm}
        return np.sum([self._spent[name, size, kind] for name in sorted(arms)], axis=0)

    def trials(self, measure: str, seed: int) -> pa.Table:
        """A row a problem for every choice among each number of samples: search "samples", arm, answer (the rule),
        aggregation, size, seed, the measure, and what the samples and their reading cost.
        """
        cells = [(method, size) for method in self.methods for size in self.study.sizes]
        names: dict[str, list[Any]] = {
            "search": [SAMPLES] * len(cells),
            "arm": [method.arm for method, _ in cells],
            "answer": [method.rule for method, _ in cells],
            "aggregation": [method.aggregation for method, _ in cells],
            "size": [size for _, size in cells],
            "seed": [seed] * len(cells),
        }
        columns: dict[str, Any] = {name: np.repeat(values, self.num_problems) for name, values in names.items()}
        columns["problem_id"] = np.tile(np.array(self.problem_ids, object), len(cells))
        columns[measure] = np.concatenate([self.solved(method, size) for method, size in cells])
        for kind in SPENT:
            columns[kind] = np.concatenate([self.cost(method.arm, size, kind) for method, size in cells])
        return pa.table(columns)

    @cached_property
    def _spent(self) -> dict[tuple[str, int, str], Float[np.ndarray, " p"]]:
        found: dict[tuple[str, int, str], np.ndarray] = {}
        for arm in pc.unique(self._spending["arm"]).to_pylist():
            mine = self._spending.filter(pc.equal(self._spending["arm"], arm))
            for size in self.study.sizes:
                rows = mine.filter(pc.equal(mine["size"], size))
                found |= {(arm, size, kind): rows[kind].to_numpy().astype(np.float64) for kind in SPENT}
        return found

    def flops_of(self, budget: int) -> float:
        """Mean operations of a budget in samples: those of so many of them, without a guide."""
        return float(self.cost(MAJORITY, _at_least(self.study, budget)).mean())

    def affordable(self, arm: str, flops: float) -> float | None:
        """Number of samples whose mean cost is `flops`, between two tabulated ones where the last is drawn by chance.

        At most the largest; None where not even the least is paid for.
        """
        sizes = self.study.sizes
        costs = np.array([self.cost(arm, size).mean() for size in sizes])
        if costs[0] > flops * (1 + 1e-9):
            return None
        return round(float(np.interp(flops, np.maximum.accumulate(costs), sizes)), 9)

    def expected(self, method: Method, size: float) -> Float[np.ndarray, " p"]:
        """Chance of a right answer with `size` samples a problem: of two tabulated numbers one is drawn."""
        below = max(n for n in self.study.sizes if n <= size)
        above = min(n for n in self.study.sizes if n >= size)
        share = (size - below) / (above - below) if above > below else 0.0
        first = self.solved(method, below).astype(np.float64)
        return first if not share else (1 - share) * first + share * self.solved(method, above)

    def expected_cost(self, arm: str, size: float) -> float:
        """Mean operations of `size` samples a problem."""
        sizes = self.study.sizes
        return float(np.interp(size, sizes, [self.cost(arm, n).mean() for n in sizes]))


def rate_rows(outcomes: SampleOutcomes, confidence: float) -> Iterator[Row]:
    """Solve rate of every method and number of samples, with its Wilson interval and mean costs."""
    for method in outcomes.methods:
        for size in outcomes.study.sizes:
            solved = outcomes.solved(method, size)
            low, high = binomial_interval(
                np.array([solved.sum()]), np.array([len(solved)]), method="wilson", confidence=confidence
            )
            row = asdict(method) | {"size": size, "num_problems": len(solved), "solve_rate": float(solved.mean())}
            row |= {"low": float(low[0]), "high": float(high[0]), "chosen": method == outcomes.choice(method.arm)}
            yield row | {kind: float(outcomes.cost(method.arm, size, kind).mean()) for kind in SPENT}


def comparison_rows(
    outcomes: SampleOutcomes, rng: np.random.Generator, **statistics: Unpack[Resampling]
) -> Iterator[Row]:
    """Each champion minus every other arm at each budget, paired over problems.

    Holm's adjustment is over the arms that one champion meets at one budget. Budgets are given in samples: the mean
    FLOPs of so many of them, without a guide.
    """
    study = outcomes.study
    for budget in study.budgets:
        flops = outcomes.flops_of(budget)
        sizes = {arm: outcomes.affordable(arm, flops) for arm in outcomes.arms if arm != ORACLE}
        solved = {a: outcomes.expected(outcomes.choice(a), size) for a, size in sizes.items() if size is not None}
        for champion in (name for name in study.champions if name in solved):
            others = [arm for arm in solved if arm != champion]
            pairs = [
                paired_comparison(solved[champion], solved[arm], names=(champion, arm), rng=rng, **statistics)
                for arm in others
            ]
            for pair in holm_adjusted(pairs):
                row = {"budget": budget, "flops": flops, "main": budget == study.budget} | asdict(pair)
                row |= {"size": sizes[champion], "reference_size": sizes[pair.reference]}
                choices = [_shown(outcomes.choice(arm)) for arm in (champion, pair.reference)]
                yield row | dict(zip(("choice", "reference_choice"), choices, strict=True))


def gap_rows(
    outcomes: SampleOutcomes, rng: np.random.Generator, confidence: float, num_resamples: int
) -> Iterator[Row]:
    """How much of the way from the majority vote to the oracle each arm goes, with N samples each whatever they cost.

    The interval is of Σ (arm − majority) / Σ (oracle − majority), resampled over problems (percentile).
    """
    for size in (size for size in outcomes.study.sizes if size > 1):
        bound = outcomes.solved(outcomes.choice(ORACLE), size).astype(float)
        base = outcomes.solved(outcomes.choice(MAJORITY), size).astype(float)
        for method in outcomes.methods:
            if method.arm in (MAJORITY, ORACLE) or bound.mean() == base.mean():
                continue
            gain = outcomes.solved(method, size) - base
            draws = deepcopy(rng).integers(0, len(gain), (num_resamples, len(gain)), dtype=np.int32)
            gains, ways = gain[draws].sum(axis=1), (bound - base)[draws].sum(axis=1)
            shares = gains[ways > 0] / ways[ways > 0]  # a resample without a gap has no share of it
            low, high = np.quantile(shares, [(1 - confidence) / 2, (1 + confidence) / 2])
            yield asdict(method) | {
                "size": size,
                "majority": float(base.mean()),
                "solve_rate": float(base.mean() + gain.mean()),
                "oracle": float(bound.mean()),
                "share": float(gain.sum() / (bound - base).sum()),
                "low": float(low),
                "high": float(high),
            }


def steering_rows(
    outcomes: SampleOutcomes,
    searches: Mapping[tuple[str, str, str], dict[str, np.ndarray]],
    rng: np.random.Generator,
    **statistics: Unpack[Resampling],
) -> Iterator[Row]:
    """Searches that steer against choosing among plain samples at the same mean FLOPs.

    Args:
        outcomes: of the sample study.
        searches: (search, guide, rule that chooses) -> "solved" [P] and "flops" [P], problems in the order of
            `outcomes.problem_ids`.
    """
    facts, pairs = [], []
    for (search, guide, rule), found in searches.items():
        flops = float(found["flops"].mean())
        for arm in _rivals(outcomes):
            size = outcomes.affordable(arm, flops)
            if size is None:
                continue
            method = outcomes.choice(arm)
            reference = outcomes.expected(method, size)
            facts.append(
                {
                    "guide": guide,
                    "rule": rule,
                    "flops": flops,
                    "reference_size": size,
                    "reference_choice": _shown(method),
                }
            )
            facts[-1]["reference_flops"] = outcomes.expected_cost(arm, size)
            pairs.append(paired_comparison(found["solved"], reference, names=(search, arm), rng=rng, **statistics))
    for fact, pair in zip(facts, holm_adjusted(pairs) if pairs else [], strict=True):
        row = asdict(pair)
        yield {"search": row.pop("arm")} | fact | row


def _rivals(outcomes: SampleOutcomes) -> list[str]:
    """Arms that searches are compared with."""
    study = outcomes.study
    return [name for name in dict.fromkeys((*study.champions, *study.rivals)) if name in outcomes.arms]


def _at_least(study: SampleStudy, budget: int) -> int:
    """The tabulated number of samples nearest to a budget from above."""
    return next(size for size in study.sizes if size >= budget)


def _shown(method: Method) -> str:
    return f"{method.rule} {method.aggregation}".strip()


def _probabilities(log_values: np.ndarray, problem: np.ndarray, num_problems: int) -> Float[np.ndarray, " m"]:
    """Exp of log-probabilities, relative to the largest of each problem so that none underflows with all the others."""
    highest = np.full(num_problems, -np.inf)
    np.maximum.at(highest, problem, log_values)
    return np.exp(log_values - highest[problem])
