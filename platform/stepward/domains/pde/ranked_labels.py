"""Rankings as the label stage leaves them, to be learned from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from stepward.core.storage import Folder
from stepward.domains.pde.rankings import ARRAYS, ranked_candidates
from stepward.domains.pde.rewards.fitting import RankedCandidates
from stepward.train.subset import choose_rows

COLUMNS = ["id", "problem_id", "kept_errors", "horizon_errors", *ARRAYS.values()]


@dataclass(frozen=True)
class Rankings:
    """Ranked candidates of one split, with the ids of the states and of their problems."""

    ids: list[str]
    problem_ids: list[str]
    data: RankedCandidates

    def __len__(self) -> int:
        return len(self.ids)


def read_rankings(folder: Folder, split: str, *, horizons: tuple[int, ...], horizon: int | None = None) -> Rankings:
    """Rankings of one split of a label artifact, in the order of their ids, however the labelling was batched.

    States with a candidate that blew up, or without an error that late, are left out.

    Args:
        horizons: steps after which errors were labelled. horizon: which of them to learn from; None: after the step.

    Raises:
        ValueError: the labels are of another kind, the horizon was not labelled, or no state is left.
    """
    names = [n for n in folder.files("labels") if PurePosixPath(n).name.startswith(f"{split}-")]
    columns = [name for name in COLUMNS if name in folder.columns(names[0])] if names else COLUMNS
    tables = [folder.read_table(name, columns) for name in names]
    table = pa.concat_tables(tables).sort_by("id") if tables else None
    if table is None or not len(table):
        raise ValueError(
            f"{folder.url}/labels: expected rankings of split {split!r}, got none. Label problems of that split too."
        )
    good, data = ranked_candidates(table, horizon=horizon, horizons=horizons, where=f"{folder.url}/labels, {split}")
    ids = [[table[name][int(i)].as_py() for i in good] for name in ("id", "problem_id")]
    return Rankings(ids[0], ids[1], data)


def subset_of(rankings: Rankings, num_rows: int | None, seed: int) -> Rankings:
    """At most `num_rows` states, chosen by (seed, id)."""
    if num_rows is None or num_rows >= len(rankings):
        return rankings
    rows = choose_rows(rankings.ids, num_rows, seed)
    arrays: dict[str, Any] = {name: getattr(rankings.data, name) for name in rankings.data.__dataclass_fields__}
    picked: dict[str, Any] = {name: None if array is None else array[rows] for name, array in arrays.items()}
    data = RankedCandidates(**picked)
    return Rankings([rankings.ids[i] for i in rows], [rankings.problem_ids[i] for i in rows], data)
