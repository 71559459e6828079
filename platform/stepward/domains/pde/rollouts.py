"""What a search over rollouts found, as trajectories, and a log of what was considered on the way.

Rollouts that ended early (they blew up, or the budget ran out) are told apart by their number of steps and never
averaged in: frames they do not have are NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from stepward.core.interfaces import RewardModel, Status
from stepward.domains.pde.states import PDEStates, as_numpy
from stepward.domains.pde.verifier import ReferenceVerifier
from stepward.search.loop import SearchResult
from stepward.search.paths import best_paths


@dataclass(frozen=True)
class Rollouts:
    """The best rollout of each of P problems.

    Attributes:
        fields: [P, T + 1, C, H, W], the first frame included; NaN from where a rollout ended early.
        steps: steps that each rollout has; T for complete ones.
        blew_up: ended because its fields were not finite any more (all candidates of the step were not).
        node: tree node of every frame, -1 where there is none.
    """

    fields: Float[np.ndarray, "p frames c h w"]
    steps: Int[np.ndarray, " p"]
    blew_up: Bool[np.ndarray, " p"]
    node: Int[np.ndarray, "p frames"]


def read_rollouts(result: SearchResult) -> Rollouts:
    """The path to each problem's best solution; without one, the longest path that is open, of highest value.

    Raises:
        ValueError: the search did not keep its tree.
    """
    paths, tree = best_paths(result), result.tree
    assert tree is not None, "checked by best_paths"
    num = tree.num_problems
    first: PDEStates = tree.states(np.arange(num))
    nodes = np.full((num, int(first.horizon.max()) + 1), -1, np.int64)
    nodes[:, : paths.shape[1]] = paths
    have = nodes >= 0
    fields = np.full((*nodes.shape, *first.fields.shape[1:]), np.nan, np.float32)
    fields[have] = as_numpy(tree.states(nodes[have]).fields)
    steps = have.sum(axis=1) - 1
    dead = np.bincount(tree.problem[tree.status == Status.DEAD], minlength=num) > 0
    return Rollouts(fields, steps, dead & (steps < first.horizon) & result.exhausted, nodes)


def errors_over_time(
    rollouts: Rollouts, roots: PDEStates, verifier: ReferenceVerifier
) -> Float[np.ndarray, "p frames"]:
    """Error of every frame of every rollout; NaN where there is none."""
    errors = np.full(rollouts.node.shape, np.nan)
    for step in range(rollouts.node.shape[1]):
        rows = np.flatnonzero(rollouts.node[:, step] >= 0)
        here = roots.take(rows).replace(frame=roots.frame[rows] + step, fields=rollouts.fields[rows, step])
        errors[rows, step] = -verifier.outcome(here)
    return errors


def step_log(result: SearchResult, components: dict[str, RewardModel]) -> pa.Table:
    """Every candidate that was considered: problem, step, node, parent, score, value, on the chosen path or not, and
    as ``score/<name>`` its score by each of `components`, for example the parts of a composite; of rewards that are
    sums of terms, such as an analytical one, the terms, too, as ``score/<name>/<term>``.
    """
    tree, rollouts = result.tree, read_rollouts(result)
    assert tree is not None, "checked by read_rollouts"
    nodes = np.flatnonzero(tree.parent >= 0)
    columns: dict[str, Any] = {
        "problem": tree.problem[nodes],
        "step": tree.depth[nodes],
        "node": nodes,
        "parent": tree.parent[nodes],
        "score": tree.score[nodes],
        "value": tree.value[nodes],
        "chosen": np.isin(nodes, rollouts.node),
    }
    parents, children = tree.states(tree.parent[nodes]), tree.states(nodes)
    for name, reward in components.items():
        columns[f"score/{name}"] = reward.score(parents, children)
        terms = getattr(reward, "components", None)
        columns |= (
            {f"score/{name}/{term}": values for term, values in terms(parents, children).items()} if terms else {}
        )
    return pa.table(columns)
