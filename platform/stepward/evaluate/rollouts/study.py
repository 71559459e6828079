"""Rolling out one arm: the error of every step under every convention, what it cost, and where it blew up.

A search never sees the truth (but the oracle's, by way of its reward). It runs first; what it chose is judged here.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from stepward.core.cost import KINDS, Cost
from stepward.core.seeding import Rng
from stepward.core.tensors import tensor_column
from stepward.core.wing import Wing
from stepward.domains.pde.data import fields_of
from stepward.domains.pde.metrics import CONVENTIONS, per_frame
from stepward.domains.pde.references import trajectories
from stepward.domains.pde.rollouts import Rollouts, read_rollouts, step_log
from stepward.domains.pde.states import PDEStates, as_numpy
from stepward.evaluate.rollouts.arms import build_arm_search, build_proposer, rollout_guides
from stepward.evaluate.rollouts.settings import RolloutSettings
from stepward.search.loop import SearchResult

MEASURED = ("seconds",)  # columns that differ from run to run: no part of an artifact's content digest


def roll_out(problems: pa.Table, arm: str, settings: RolloutSettings, wing: Wing) -> tuple[PDEStates, SearchResult]:
    """Roots of the problems, and the search of one arm over them with its tree.

    A rollout depends on its problem, the arm and the seed alone, not on the problems beside it; every arm meets the
    same random numbers.
    """
    plan = settings.arms[arm]
    states: Any = wing.states(problems)
    result = build_arm_search(settings, plan)(
        states,
        domain=wing.domain,
        proposer=build_proposer(settings, plan),
        reward=rollout_guides(settings, wing)[plan.guide],
        budget=Cost.limit(**(plan.limits or {"expansions": 1e9})),
        rng=Rng.from_ids(settings.seed, problems["id"].to_pylist(), "search"),
        keep_tree=True,
    )
    return states, result


def rollout_table(problems: pa.Table, arm: str, settings: RolloutSettings, wing: Wing) -> pa.Table:
    """One row a problem, in the order of `problems`.

    Returns:
        problem_id, horizon, steps (that the rollout has), blew_up_at (the step whose fields were not finite or whose
        error was beyond `settings.blow_up`; null where there is none), for every convention a list of the errors of
        steps 1 … steps, and what was spent of every kind of cost.
    """
    states, result = roll_out(problems, arm, settings, wing)
    rollouts = read_rollouts(result)
    errors = step_errors(rollouts, states)
    steps, blew_up_at = cut_where_blown_up(errors[settings.convention], rollouts, settings.blow_up)
    columns: dict[str, Any] = {
        "problem_id": problems["id"],
        "horizon": pa.array(states.horizon, pa.int32()),
        "steps": pa.array(steps, pa.int32()),
        "blew_up_at": pa.array(blew_up_at, pa.int32()),
    }
    for name, found in errors.items():
        rows = [row[:end].tolist() for row, end in zip(found, steps, strict=True)]
        columns[name] = pa.array(rows, pa.list_(pa.float64()))
    return pa.table(columns | {kind: pa.array(result.cost[kind], pa.float64()) for kind in KINDS})


def step_errors(rollouts: Rollouts, roots: PDEStates) -> dict[str, Float[np.ndarray, "p t"]]:
    """Convention -> error of steps 1 … T of every rollout; NaN where it has none."""
    truths = trajectories(roots.reference.tolist())
    num_steps = rollouts.fields.shape[1] - 1
    errors = {name: np.full((len(roots), num_steps), np.nan) for name in CONVENTIONS}
    for row, truth in enumerate(truths):
        end, first = int(rollouts.steps[row]), int(roots.frame[row])
        if not end:
            continue
        predicted = rollouts.fields[row, 1 : end + 1].astype(np.float64)[None]
        target = truth[first + 1 : first + 1 + end][None]
        for name, found in errors.items():
            found[row, :end] = per_frame(name, predicted, target)[0]
    return errors


def cut_where_blown_up(
    errors: Float[np.ndarray, "p t"], rollouts: Rollouts, limit: float
) -> tuple[Int[np.ndarray, " p"], list[int | None]]:
    """Good steps of every rollout, and the step at which it blew up: from there on it has no error to average."""
    beyond = errors > limit
    steps, blew_up_at = rollouts.steps.copy(), list[int | None]()
    for row in range(len(errors)):
        if beyond[row].any():
            steps[row] = int(beyond[row].argmax())
            blew_up_at.append(int(steps[row]) + 1)
        else:
            blew_up_at.append(int(steps[row]) + 1 if rollouts.blew_up[row] else None)
    return steps, blew_up_at


def step_table(problems: pa.Table, arm: str, settings: RolloutSettings, wing: Wing) -> pa.Table:
    """Every candidate that the guide of an arm scored, with its score by each part of that guide: see `step_log`."""
    _, result = roll_out(problems, arm, settings, wing)
    log = step_log(result, rollout_guides(settings, wing).parts(settings.arms[arm].guide))
    ids = problems["id"].take(log["problem"])
    return log.set_column(log.column_names.index("problem"), "problem_id", ids)


def picture_table(problems: pa.Table, arm: str, settings: RolloutSettings, wing: Wing, channel: int = 0) -> pa.Table:
    """What an arm saw at every step of its rollouts, for drawing: one row a step of a problem.

    Returns:
        problem_id, step, and of one channel (density, where there is one) the tensors state, deterministic, choice and
        truth [H, W] and candidates [k, H, W]; candidate_scores and candidate_errors [k]; chosen (place of the choice).
    """
    _, result = roll_out(problems, arm, settings, wing)
    tree, path = result.tree, read_rollouts(result).node
    assert tree is not None, "rollouts keep their trees"
    verifier, rows = wing.verifier(), []
    for row, problem in enumerate(problems["id"].to_pylist()):
        nodes = path[row][path[row] >= 0]
        for step, (above, node) in enumerate(pairwise(nodes), start=1):
            siblings = np.flatnonzero(tree.parent == above)
            children = tree.states(siblings)
            chosen = int(np.flatnonzero(siblings == node)[0])
            rows.append(
                {
                    "problem_id": problem, "step": step, "chosen": chosen,
                    "state": as_numpy(tree.states(np.array([above])).fields)[0, channel],
                    "deterministic": as_numpy(children.deterministic)[chosen, channel],
                    "choice": as_numpy(children.fields)[chosen, channel],
                    "truth": verifier.truth(children.take(np.array([chosen])))[0, channel],  # type: ignore[attr-defined]
                    "candidates": as_numpy(children.fields)[:, channel],
                    "candidate_scores": tree.score[siblings],
                    "candidate_errors": -verifier.outcome(children),
                }
            )  # fmt: skip
    return picture_rows(rows)


def picture_rows(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows of one number of candidates as a table; steps with fewer are left out."""
    most = max((len(row["candidates"]) for row in rows), default=0)
    rows = [row for row in rows if len(row["candidates"]) == most]
    if not rows:
        return pa.table({"problem_id": pa.array([], pa.string())})
    columns: dict[str, Any] = {}
    for name, value in rows[0].items():
        values = [row[name] for row in rows]
        columns[name] = tensor_column(np.stack(values)) if isinstance(value, np.ndarray) else values
    return pa.table(columns)


def picture_arrays(table: pa.Table) -> list[dict[str, Any]]:
    """The rows of `picture_table` as they were."""
    tensors = {
        name: fields_of(table, name)
        for name in table.column_names
        if isinstance(table[name].type, pa.FixedShapeTensorType)
    }
    plain = table.select([name for name in table.column_names if name not in tensors]).to_pylist()
    return [row | {name: array[i] for name, array in tensors.items()} for i, row in enumerate(plain)]
