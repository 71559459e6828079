"""Two searches of an evaluation, repeated to keep their trees: one that solved its problem, and one that did not."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from stepward.core.config import validate
from stepward.core.stage import FOLDERS
from stepward.core.wing import Wing
from stepward.evaluate.arms import Arm
from stepward.evaluate.context import Evaluation
from stepward.evaluate.settings import EvaluateSettings, evaluate_settings
from stepward.evaluate.trials import run_arm, select
from stepward.report import MAX_NODES, Sources, tree_table

SOLVED = (3, 8)  # expansions of the search that is drawn: enough to show a choice, few enough to read
FAILED = 40  # expansions at most of the one that failed


def draw_searches(store: str, wing: Wing, sources: Sources) -> pa.Table | None:
    """Nodes of the searches of the first arm on the first problem (by id) that it solved in few expansions and, if
    there is one, the first that it spent few on and did not solve; None where nothing can be drawn.

    A search depends on its own problem, guide and seed alone, so these are the searches that were evaluated.
    """
    if sources.evaluate.manifest is None or sources.label.manifest is None:
        return None
    if wing.drawing is None or wing.drawing.texts is None:
        return None
    identity = sources.evaluate.manifest.identity | {"store": store, "domain": wing.name}
    identity.pop(FOLDERS, None)
    settings: EvaluateSettings = validate(evaluate_settings(wing), identity)
    name, arm = next(iter(settings.families()[settings.main].items()))
    shared = Evaluation(settings, 1)
    if not all(source.finished for source in shared.inputs().values()):
        return None  # a model that is there no more: the page does without the picture
    problems = sources.label.table("problems.parquet")
    trees: list[pa.Table] = []
    for chosen in _chosen(select(sources.evaluate.table("tables/trials.parquet"), settings.main, name)):
        rows = problems.filter(pc.equal(problems["id"], chosen))
        tree = _tree(rows, arm, shared) if len(rows) else None
        if tree is None and not trees:
            return None  # the picture is of one that was solved
        trees += [] if tree is None else [tree]
    return pa.concat_tables(trees) if trees else None


def _chosen(trials: pa.Table) -> list[str]:
    """The problem to draw, and one that was not solved."""
    if "expansions_at_solve" not in trials.column_names:
        return []
    at, (low, high) = trials["expansions_at_solve"], SOLVED
    solved = trials.filter(pc.and_(pc.greater_equal(at, low), pc.less_equal(at, high)))
    failed = trials.filter(pc.and_(pc.equal(at, math.inf), pc.less_equal(trials["expansions"], FAILED)))
    firsts = [sorted(found["problem_id"].to_pylist())[:1] for found in (solved, failed)]
    return firsts[0] + firsts[1] if firsts[0] else []


def _tree(row: pa.Table, arm: Arm, shared: Evaluation) -> pa.Table | None:
    wing, settings = shared.wing, shared.settings
    assert wing.drawing is not None and wing.drawing.texts is not None
    ran = run_arm(
        row.slice(0, 1).combine_chunks(),
        arm,
        guide=shared.guides[arm.guide],
        proposer=shared.proposers(arm.proposer),
        wing=wing,
        seed=settings.seed,
        num_candidates=settings.num_candidates,
        keep_tree=True,
    )
    written = wing.written
    last = (
        None
        if written is None
        else lambda states: [(steps or ["(the question)"])[-1] for steps in written.steps(states)]
    )
    outcome = wing.verifier().outcome
    table = tree_table(ran.result, wing.drawing.texts, row["id"][0].as_py(), words=last, outcome=outcome)
    return table if len(table) <= MAX_NODES else None


def _last_steps(wing: Wing, states: Any) -> list[str]:
    assert wing.written is not None
    return [(steps or ["(the question)"])[-1] for steps in wing.written.steps(states)]
