"""What a search over rollouts found, as trajectories.

Rollouts that ended early (they blew up, or the budget ran out) are told apart by their number of steps and never
averaged in: frames they do not have are NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from stepward.core.interfaces import Status
from stepward.domains.pde.states import PDEStates, as_numpy
from stepward.domains.pde.verifier import ReferenceVerifier
from stepward.search.loop import SearchResult
from stepward.search.paths import best_paths
from stepward.search.tree import Tree


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
    first = _fields(tree, np.arange(num))
    nodes = np.full((num, int(first.horizon.max()) + 1), -1, np.int64)
    nodes[:, : paths.shape[1]] = paths
    have = nodes >= 0
    fields = np.full((*nodes.shape, *first.fields.shape[1:]), np.nan, np.float32)
    fields[have] = as_numpy(_fields(tree, nodes[have]).fields)
    steps = have.sum(axis=1) - 1
    dead = np.bincount(tree.problem[tree.status == Status.DEAD], minlength=num) > 0
    return Rollouts(fields, steps, dead & (steps < first.horizon) & result.exhausted, nodes)


def _fields(tree: Tree, nodes: Int[np.ndarray, " n"]) -> PDEStates:
    states = tree.states(nodes)
    assert isinstance(states, PDEStates), "the tree of a search of fields"
    return states


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
