"""From trials with a binary measure to tables: solve rates against cost, paired comparisons, other searches, costs.

Arms of one search are on the same problems, so comparisons are paired; a search that ends at its first solution is read
off at every smaller budget too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float

from stepward.core.cost import KINDS
from stepward.core.wing import Wing
from stepward.evaluate.settings import EvaluateSettings
from stepward.evaluate.tables import Row, table_of
from stepward.evaluate.trials import select
from stepward.statistics.frontier import compare_frontiers, solve_frontier
from stepward.statistics.paired import holm_adjusted, paired_comparison


def solving_tables(trials: pa.Table, settings: EvaluateSettings, wing: Wing) -> dict[str, pa.Table]:
    """frontier, comparisons, searches and costs."""
    rng = settings.resampling()
    return {
        "frontier": frontier_table(trials, settings),
        "comparisons": comparison_table(trials, settings, rng),
        "searches": search_table(trials, settings, rng),
        "costs": cost_table(trials, settings),
    }


def frontier_table(trials: pa.Table, settings: EvaluateSettings) -> pa.Table:
    """Solve rate with its interval, of every search, arm and budget, with what had been spent.

    `num_solvable` counts the problems that any search could solve; `solve_rate` is over all problems all the same.
    `num_exhausted` counts those whose search had nothing left to expand by then, and so would solve no more with a
    larger budget.
    """
    rows = []
    for search, arms in settings.families().items():
        for name, arm in arms.items():
            cell = select(trials, search, name)
            costs, spent = cell["expansions_at_solve"].to_numpy(), cell["expansions"].to_numpy()
            over = cell["exhausted"].to_numpy(zero_copy_only=False) & ~np.isfinite(costs)
            solvable = pc.sum(cell["solvable"]).as_py()
            facts: Row = {"search": search, "arm": name, "branching": _branching(settings, search)}
            facts["step_factor"] = arm.step_factor
            budgets = np.array(budgets_of(settings, search, [cell]))
            for point in solve_frontier(costs, budgets, confidence=settings.confidence):
                known = {"num_solvable": solvable}
                known["solve_rate_of_solvable"] = point.num_solved / solvable if solvable else None
                known["mean_expansions"] = float(np.minimum(spent, point.budget).mean())
                known["num_exhausted"] = int((over & (spent <= point.budget)).sum())
                rows.append(facts | asdict(point) | known)
    return table_of(rows)


def cost_table(trials: pa.Table, settings: EvaluateSettings) -> pa.Table:
    """Mean cost a problem of every kind, of every search and arm, for its whole budget."""
    rows = []
    for search, arms in settings.families().items():
        for name in arms:
            cell = select(trials, search, name)
            means = {kind: float(cell[kind].to_numpy().mean()) for kind in KINDS}
            rate = float(np.mean(_solved(cell, settings)))
            budget = budgets_of(settings, search, [cell])[-1]
            rows.append({"search": search, "arm": name, "budget": budget, "solve_rate": rate} | means)
    return table_of(rows)


def comparison_table(trials: pa.Table, settings: EvaluateSettings, rng: np.random.Generator) -> pa.Table:
    """Paired differences in solve rate: arms against each reference in each search, budget by budget.

    Holm's adjustment is over the arms and budgets of one search and one reference.
    """
    rows: list[Row] = []
    for search, arms in settings.families().items():
        cells = {name: select(trials, search, name) for name in arms}
        costs = {name: cell["expansions_at_solve"].to_numpy() for name, cell in cells.items()}
        budgets = budgets_of(settings, search, cells.values())
        for reference in (name for name in settings.references if name in arms and len(arms) > 1):
            rows += _compare(costs, reference, budgets, settings, rng, {"search": search})
    return table_of(rows)


def search_table(trials: pa.Table, settings: EvaluateSettings, rng: np.random.Generator) -> pa.Table:
    """Other searches against the first one, guide by guide and problem by problem, at the budget of the other.

    Searches that take whole solutions are sized to fill their budget, so no smaller budget would be fair to them.
    Holm's adjustment is over the whole table.
    """
    facts, rows = [], []
    main, *others = settings.searches or [""]
    families = settings.families()
    for search in others:
        plan = settings.searches[search]
        if plan.step_factor != settings.searches[main].step_factor:
            continue
        for arm in (name for name in families[search] if name in families[main]):
            cells = {name: select(trials, name, arm) for name in (search, main)}
            solved = [cell["expansions_at_solve"].to_numpy() <= plan.budget for cell in cells.values()]
            spent = [float(np.minimum(cell["expansions"].to_numpy(), plan.budget).mean()) for cell in cells.values()]
            facts.append({"search": search, "guide": arm, "branching": plan.branching, "budget": plan.budget})
            facts[-1] |= {"mean_expansions": spent[0], "reference_mean_expansions": spent[1]}
            rows.append(paired_comparison(*solved, names=(search, main), rng=rng, **settings.statistics))
    merged = [fact | asdict(row) for fact, row in zip(facts, holm_adjusted(rows), strict=True)]
    return table_of(merged).drop_columns(["arm"]) if merged else table_of(merged)


def solve_curve(costs: np.ndarray, max_budget: float, num_points: int = 40) -> pa.Table:
    """Solve rate at expansions spread evenly on a logarithmic scale, for drawing."""
    steps = np.unique(np.geomspace(1, max_budget, num_points).round().astype(np.int64))
    return pa.table({"step": steps, "solve_rate": (costs[None, :] <= steps[:, None]).mean(axis=1)})


def _compare(
    costs: Mapping[str, np.ndarray],
    reference: str,
    budgets: Sequence[float],
    settings: EvaluateSettings,
    rng: np.random.Generator,
    names: Row,
) -> list[Row]:
    compared = compare_frontiers(costs, reference, np.array(budgets), rng=rng, **settings.statistics)
    return [names | {"budget": row.budget} | asdict(row.comparison) for row in compared]


def _solved(cell: pa.Table, settings: EvaluateSettings) -> Float[np.ndarray, " p"]:
    return cell[settings.measure].to_numpy(zero_copy_only=False).astype(np.float64)


def _branching(settings: EvaluateSettings, search: str) -> int | None:
    return settings.searches[search].branching if search in settings.searches else None


def budgets_of(settings: EvaluateSettings, search: str, cells: Iterable[pa.Table]) -> list[float]:
    """Budgets at which trials of a search can be read off, the whole one last; of arms that were written out, where
    each may have its own, the most that any of these trials spent.
    """
    if search not in settings.searches:
        return [max(float(pc.max(cell["expansions"]).as_py()) for cell in cells)]
    plan = settings.searches[search]
    within = [budget for budget in settings.budgets if budget < plan.budget] if plan.anytime else []
    return [*within, plan.budget]
