"""Trials: one row a problem and arm, with its measures and what it cost. All other tables are made from these.

A search never sees the truth (but the oracle's, by way of its reward). It runs first; what it chose is judged here, by
the domain's verifier.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float, Int

from stepward.core.cost import KINDS
from stepward.core.interfaces import Proposer, RewardModel, Status
from stepward.core.measures import Measure, measured, measures_of
from stepward.core.seeding import Rng
from stepward.core.wing import Wing
from stepward.evaluate.arms import Arm
from stepward.evaluate.samples.voting import weighted_vote
from stepward.search.loop import SearchResult
from stepward.search.paths import best_paths

MEASURED = ("seconds",)  # columns that differ from run to run: no part of an artifact's content digest
BEST, VOTE = "best", "vote"  # answer rules: the solution of highest value; the answer of greatest total value
KEYS = [("search", "ascending"), ("arm", "ascending"), ("answer", "ascending"), ("problem_id", "ascending")]


@dataclass(frozen=True)
class Ran:
    """One arm on P problems: the problems as states, and what its search found."""

    ids: list[str]
    roots: Any
    result: SearchResult
    seed: int


def run_arm(
    problems: pa.Table,
    arm: Arm,
    *,
    guide: RewardModel,
    proposer: Proposer,
    wing: Wing,
    seed: int,
    num_candidates: int = 16,
    keep_tree: bool = False,
) -> Ran:
    """Search the problems with one arm.

    What is found depends on the problem, the arm and the seed alone, not on the problems beside it; every arm meets the
    same random numbers.
    """
    ids, states = problems["id"].to_pylist(), wing.states(problems)
    if arm.step_factor != 1:
        assert wing.known is not None and wing.known.rebudget is not None, "settings are refused where a domain cannot"
        states = wing.known.rebudget(states, arm.step_factor)
    result = arm.searched(num_candidates)(
        states,
        domain=wing.domain,
        proposer=proposer,
        reward=guide,
        budget=arm.budget,
        rng=Rng.from_ids(seed, ids, "search"),
        keep_tree=keep_tree,
    )
    return Ran(ids, states, result, seed)


def needs_tree(wing: Wing) -> bool:
    """Whether trials are judged step by step, and so need the way to what was found."""
    return any(measure.per_step for measure in measures_of(wing.verifier()))


def trial_table(ran: Ran, wing: Wing, *, headline: Measure, blow_up: float | None = None) -> pa.Table:
    """One row a problem and answer rule, problems in the order of `ran`.

    Returns:
        problem_id, answer ("best", and "vote" where solutions state answers), seed, the measures (a truth value, a
        number, or a list of the values of steps), `exhausted` (the search ended because nothing was left to expand),
        num_solutions, and what was spent of every kind of cost. Where the headline is binary: solvable (null where the
        domain does not know) and expansions_at_solve (infinite if unsolved). Where measures have values a step: steps
        (that have values), whole (all of them up to a finished answer) and blew_up_at (the step whose state was dead or
        whose headline was beyond `blow_up`; null where there is none).
    """
    verifier, result = wing.verifier(), ran.result
    steps = _step_columns(ran, wing, headline, blow_up) if needs_tree(wing) else {}
    single = [measure for measure in measures_of(verifier) if not measure.per_step]
    found = measured(verifier, ran.roots.take(result.problem), result.states) if single else {}
    shared: dict[str, Any] = steps | {
        "exhausted": pa.array(result.exhausted),
        "num_solutions": pa.array(np.bincount(result.problem, minlength=len(ran.ids)), pa.int64()),
    }
    shared |= {kind: pa.array(result.cost[kind], pa.float64()) for kind in KINDS}
    rules: dict[str, Int[np.ndarray, " p"] | None] = {BEST: result.best}
    if wing.answers is not None and single:
        rules[VOTE] = voted(result, wing)
    tables = []
    for rule, chosen in rules.items():
        columns: dict[str, Any] = {"problem_id": pa.array(ran.ids), "answer": pa.array([rule] * len(ran.ids))}
        columns["seed"] = pa.array([ran.seed] * len(ran.ids), pa.int64())
        columns |= {measure.name: _chosen(found[measure.name], chosen, measure, len(ran.ids)) for measure in single}
        if headline.binary:
            columns |= _solving(columns[headline.name], ran, wing)
        tables.append(pa.table(columns | shared))
    return pa.concat_tables(tables)


def voted(result: SearchResult, wing: Wing) -> Int[np.ndarray, " p"] | None:
    """Index of the solution that the vote of each problem's solutions elects, −1 without one; None where values are no
    weights.
    """
    assert wing.answers is not None, "only what is said can be voted on"
    if (result.value < 0).any():
        return None
    answers = np.array(wing.answers.texts(result.states), object)
    return weighted_vote(result.problem, answers, result.value * result.weight, len(result.best))


def select(trials: pa.Table, search: str, arm: str, answer: str = BEST) -> pa.Table:
    """Trials of one arm, ordered by problem, so that rows of different arms are pairs."""
    mask = pc.and_(pc.equal(trials["search"], search), pc.equal(trials["arm"], arm))
    found = trials.filter(pc.and_(mask, pc.equal(trials["answer"], answer))).sort_by("problem_id")
    mine, every = (pc.count_distinct(table["problem_id"]).as_py() for table in (found, trials))
    if len(found) and not len(found) == mine == every:
        raise ValueError(
            f"trials of {arm!r} in {search!r}: expected one a problem and seed, got {len(found)} of {mine} problems "
            f"where there are {every}. Delete the evaluation and make it again (overwrite=true)."
        )
    return found


def _chosen(
    values: Float[np.ndarray, " m"], chosen: Int[np.ndarray, " p"] | None, measure: Measure, num: int
) -> pa.Array:
    """A measure of the answer of each problem; without an answer it is not solved, or has no value."""
    if chosen is None:
        return pa.nulls(num, pa.bool_() if measure.binary else pa.float64())
    of_answers = np.append(values, np.nan)[chosen]
    if measure.binary:
        return pa.array(of_answers > 0.5)
    return pa.array(of_answers, pa.float64(), mask=np.isnan(of_answers))


def _solving(right: pa.Array, ran: Ran, wing: Wing) -> dict[str, pa.Array]:
    num = len(ran.ids)
    solvable = [None] * num if wing.known is None else wing.known.exact(ran.roots) > 0
    solved = right.fill_null(False).to_numpy(zero_copy_only=False)
    at = np.where(solved, ran.result.cost["expansions"], np.inf)
    return {"solvable": pa.array(solvable, pa.bool_()), "expansions_at_solve": pa.array(at, pa.float64())}


def _step_columns(ran: Ran, wing: Wing, headline: Measure, blow_up: float | None) -> dict[str, pa.Array]:
    """Measures of every step of the way to each answer, until it blows up."""
    result, nodes = ran.result, best_paths(ran.result)[:, 1:]
    tree = result.tree
    assert tree is not None, "checked by best_paths"
    have, verifier = nodes >= 0, wing.verifier()
    rows = np.nonzero(have)[0]
    found = measured(verifier, ran.roots.take(rows), tree.states(nodes[have]))
    values = {measure.name: np.full(nodes.shape, np.nan) for measure in measures_of(verifier) if measure.per_step}
    for name, column in values.items():
        column[have] = found[name]
    steps, last = have.sum(axis=1), np.where(have.any(axis=1), nodes.max(axis=1, initial=-1), np.arange(len(nodes)))
    finished = tree.status[last] == Status.COMPLETE
    dead = np.bincount(tree.problem[tree.status == Status.DEAD], minlength=len(nodes)) > 0
    failed = dead & ~finished & result.exhausted
    curve = values.get(headline.name, np.full(nodes.shape, np.nan))
    steps, blew_up_at = cut_where_blown_up(curve, steps, failed, headline, blow_up)
    lists = {
        name: pa.array([row[:end].tolist() for row, end in zip(column, steps, strict=True)], pa.list_(pa.float64()))
        for name, column in values.items()
    }
    whole = finished & np.array([at is None for at in blew_up_at], bool)
    return lists | {
        "steps": pa.array(steps, pa.int32()),
        "whole": pa.array(whole),
        "blew_up_at": pa.array(blew_up_at, pa.int32()),
    }


def cut_where_blown_up(
    values: Float[np.ndarray, "p t"],
    steps: Int[np.ndarray, " p"],
    failed: Bool[np.ndarray, " p"],
    measure: Measure,
    limit: float | None,
) -> tuple[Int[np.ndarray, " p"], list[int | None]]:
    """Good steps of every trial, and the step at which it blew up: from there on it has no value to average.

    Args:
        values: of the measure, NaN where there is none.
        steps: that each trial has.
        failed: trials after whose steps nothing but dead states was left.
        limit: what a value may not be beyond; None: any.
    """
    beyond = np.zeros(values.shape, bool) if limit is None else measure.beyond(values, limit)
    steps, blew_up_at = steps.copy(), list[int | None]()
    for row in range(len(values)):
        if beyond[row].any():
            steps[row] = int(beyond[row].argmax())
        blew_up_at.append(int(steps[row]) + 1 if beyond[row].any() or failed[row] else None)
    return steps, blew_up_at
