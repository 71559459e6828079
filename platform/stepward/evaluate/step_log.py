"""A log of what a search considered on the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from stepward.core.interfaces import RewardModel
from stepward.search.loop import SearchResult
from stepward.search.paths import best_paths


def step_log(result: SearchResult, components: Mapping[str, RewardModel]) -> pa.Table:
    """Every candidate that was considered: problem, step, node, parent, score, value, on the chosen path or not, and
    as ``score/<name>`` its score by each of `components`, for example the parts of a composite; of rewards that are
    sums of terms, such as an analytical one, the terms, too, as ``score/<name>/<term>``.
    """
    tree, paths = result.tree, best_paths(result)
    assert tree is not None, "checked by best_paths"
    nodes = np.flatnonzero(tree.parent >= 0)
    columns: dict[str, Any] = {
        "problem": tree.problem[nodes],
        "step": tree.depth[nodes],
        "node": nodes,
        "parent": tree.parent[nodes],
        "score": tree.score[nodes],
        "value": tree.value[nodes],
        "chosen": np.isin(nodes, paths),
    }
    parents, children = tree.states(tree.parent[nodes]), tree.states(nodes)
    for name, reward in components.items():
        columns[f"score/{name}"] = reward.score(parents, children)
        terms = getattr(reward, "components", None)
        found = terms(parents, children) if terms else {}
        columns |= {f"score/{name}/{term}": values for term, values in found.items()}
    return pa.table(columns)
