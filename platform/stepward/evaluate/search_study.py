"""Solve rate against cost: guides in one search, on the same problems, with paired comparisons.

A search never sees the truth. It runs first; what it chose is judged afterwards, here, by the wing's verifier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stepward.core.cost import KINDS
from stepward.core.interfaces import Proposer, RewardModel
from stepward.core.seeding import Rng
from stepward.core.wing import Wing
from stepward.evaluate.samples.voting import right_at, weighted_vote
from stepward.evaluate.settings import EvaluateSettings, SearchPlan
from stepward.search.loop import SearchResult
from stepward.search.registry import build_search
from stepward.statistics.frontier import compare_frontiers, solve_frontier
from stepward.statistics.paired import holm_adjusted, paired_comparison

MEASURED = ("seconds",)  # columns that differ from run to run: no part of an artifact's content digest


def search_outcomes(
    problems: pa.Table, plan: SearchPlan, *, guide: RewardModel, proposer: Proposer, wing: Wing, seed: int
) -> pa.Table:
    """Run one search under one guide; one row a problem, in the order of `problems`.

    A row depends on its problem, the plan, the guide and the seed alone, not on the problems beside it; every guide
    meets the same random numbers.

    Returns:
        problem_id, solvable (null where the domain does not know), solved, expansions_at_solve (infinite if unsolved),
        voted (whether the answer of greatest total value is right; null where solutions state none, or values are no
        weights), num_solutions, and what was spent of every kind of cost.
    """
    ids = problems["id"].to_pylist()
    states = wing.states(problems)
    if plan.step_factor != 1:
        states = _rebudgeted(wing, states, plan.step_factor)
    result = build_search(plan.search)(
        states,
        domain=wing.domain,
        proposer=proposer,
        reward=guide,
        budget=plan.cost_limit,
        rng=Rng.from_ids(seed, ids, "search"),
    )
    right = wing.verifier().outcome(result.states) > 0.5
    solved = right_at(result.best, right)
    solvable = None if wing.exact is None else wing.exact(states) > 0
    columns: dict[str, Any] = {
        "problem_id": pa.array(ids, pa.string()),
        "solvable": pa.array([None] * len(ids) if solvable is None else solvable, pa.bool_()),
        "solved": pa.array(solved),
        "expansions_at_solve": pa.array(np.where(solved, result.cost["expansions"], np.inf), pa.float64()),
        "voted": pa.array(_voted(result, right, wing), pa.bool_()),
        "num_solutions": pa.array(np.bincount(result.problem, minlength=len(ids)), pa.int64()),
    }
    return pa.table(columns | {kind: pa.array(result.cost[kind], pa.float64()) for kind in KINDS})


def _voted(result: SearchResult, right: np.ndarray, wing: Wing) -> list[bool | None]:
    num = len(result.best)
    if wing.answers is None or (result.value < 0).any():
        return [None] * num
    answers = np.array(wing.answers(result.states), object)
    return right_at(weighted_vote(result.problem, answers, result.value * result.weight, num), right).tolist()


def frontier_table(outcomes: pa.Table, settings: EvaluateSettings) -> pa.Table:
    """Solve rate with its interval, of every search, guide and budget, with what had been spent.

    `solvable` counts the problems that any search could solve; `solve_rate` is over all problems all the same.
    """
    rows = []
    for search, plan in settings.searches.items():
        for arm in settings.arms(search):
            cell = select(outcomes, search, arm)
            costs = cell["expansions_at_solve"].to_numpy()
            spent = cell["expansions"].to_numpy()
            solvable = pc.sum(cell["solvable"]).as_py()
            for point in solve_frontier(costs, np.array(_budgets(plan, settings)), confidence=settings.confidence):
                rows.append(
                    {"search": search, "arm": arm, "branching": plan.branching, "step_factor": plan.step_factor}
                    | asdict(point)
                    | {
                        "num_solvable": solvable,
                        "solve_rate_of_solvable": point.num_solved / solvable if solvable else None,
                        "mean_expansions": float(np.minimum(spent, point.budget).mean()),
                    }
                )
    return table_of(rows)


def cost_table(outcomes: pa.Table, settings: EvaluateSettings) -> pa.Table:
    """Mean cost a problem of every kind, of every search and guide, for its whole budget."""
    rows = []
    for search, plan in settings.searches.items():
        for arm in settings.arms(search):
            cell = select(outcomes, search, arm)
            means = {kind: float(cell[kind].to_numpy().mean()) for kind in KINDS}
            rate = float(np.mean(cell["solved"].to_numpy(zero_copy_only=False)))
            rows.append({"search": search, "arm": arm, "budget": plan.budget, "solve_rate": rate} | means)
    return table_of(rows)


def comparison_table(outcomes: pa.Table, settings: EvaluateSettings, rng: np.random.Generator) -> pa.Table:
    """Paired differences in solve rate: guides against each reference in each search, budget by budget.

    Holm's adjustment is over the guides and budgets of one search and one reference.
    """
    rows = []
    for search, plan in settings.searches.items():
        arms = settings.arms(search)
        costs = {arm: select(outcomes, search, arm)["expansions_at_solve"].to_numpy() for arm in arms}
        for reference in (name for name in settings.references if name in arms and len(arms) > 1):
            rows += _compare(costs, reference, _budgets(plan, settings), settings, rng, {"search": search})
    return table_of(rows)


def search_table(outcomes: pa.Table, settings: EvaluateSettings, rng: np.random.Generator) -> pa.Table:
    """Other searches against the first one, guide by guide and problem by problem, at the budget of the other.

    Searches that take whole solutions are sized to fill their budget, so no smaller budget would be fair to them.
    Holm's adjustment is over the whole table.
    """
    main = next(iter(settings.searches))
    facts, rows = [], []
    for search, plan in settings.searches.items():
        if search == main or plan.step_factor != settings.searches[main].step_factor:
            continue
        for arm in (name for name in settings.arms(search) if name in settings.arms(main)):
            cells = {name: select(outcomes, name, arm) for name in (search, main)}
            solved = [cell["expansions_at_solve"].to_numpy() <= plan.budget for cell in cells.values()]
            spent = [float(np.minimum(cell["expansions"].to_numpy(), plan.budget).mean()) for cell in cells.values()]
            facts.append({"search": search, "guide": arm, "branching": plan.branching, "budget": plan.budget})
            facts[-1] |= {"mean_expansions": spent[0], "reference_mean_expansions": spent[1]}
            rows.append(paired_comparison(*solved, names=(search, main), rng=rng, **_statistics(settings)))
    merged = [fact | asdict(row) for fact, row in zip(facts, holm_adjusted(rows), strict=True)]
    return table_of(merged).drop_columns(["arm"]) if merged else table_of(merged)


def solve_curve(costs: np.ndarray, max_budget: int, num_points: int = 40) -> pa.Table:
    """Solve rate at expansions spread evenly on a logarithmic scale, for drawing."""
    steps = np.unique(np.geomspace(1, max_budget, num_points).round().astype(np.int64))
    return pa.table({"step": steps, "solve_rate": (costs[None, :] <= steps[:, None]).mean(axis=1)})


def select(outcomes: pa.Table, search: str, arm: str) -> pa.Table:
    """Rows of one search and guide, ordered by problem, so that rows of different guides are pairs."""
    mask = pc.and_(pc.equal(outcomes["search"], search), pc.equal(outcomes["arm"], arm))
    return outcomes.filter(mask).sort_by("problem_id")


def _compare(
    costs: Mapping[str, np.ndarray],
    reference: str,
    budgets: Sequence[int],
    settings: EvaluateSettings,
    rng: np.random.Generator,
    names: dict[str, Any],
) -> list[dict[str, Any]]:
    compared = compare_frontiers(
        costs,
        reference,
        np.array(budgets),
        rng=rng,
        **_statistics(settings),
    )
    return [names | {"budget": row.budget} | asdict(row.comparison) for row in compared]


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as a table; without any, an empty table that can still be written."""
    return pa.Table.from_pylist(rows) if rows else pa.table({"empty": pa.array([], pa.null())})


def _statistics(settings: EvaluateSettings) -> dict[str, Any]:
    return {"confidence": settings.confidence, "num_resamples": settings.num_resamples}


def _budgets(plan: SearchPlan, settings: EvaluateSettings) -> list[int]:
    """Budgets at which a run of this plan can be read off."""
    within = [budget for budget in settings.budgets if budget < plan.budget] if plan.anytime else []
    return [*within, plan.budget]


def _rebudgeted(wing: Wing, states: Any, factor: float) -> Any:
    if wing.rebudget is None:
        raise ValueError(
            f"step_factor: expected 1, because solutions of {wing.name!r} have no step budget, got {factor:g}."
        )
    return wing.rebudget(states, factor)
