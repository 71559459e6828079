"""Rankings as the label stage leaves them, to be learned from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa

from stepward.core.storage import Folder
from stepward.domains.pde.data import fields_of
from stepward.domains.pde.rewards.fitting import RankedCandidates
from stepward.train.subset import choose_rows

COLUMNS = ["id", "problem_id", "fields", "deterministic", "candidates", "kept_errors", "patch_errors", "horizon_errors"]


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
    if horizon is not None and horizon not in horizons:
        raise ValueError(f"horizon: expected one of the labelled {list(horizons)}, got {horizon}. Label it too.")
    names = [n for n in folder.files("labels") if PurePosixPath(n).name.startswith(f"{split}-")]
    tables = [folder.read_table(name, COLUMNS) for name in names]
    table = pa.concat_tables(tables).sort_by("id") if tables else None
    if table is None or not len(table):
        raise ValueError(
            f"{folder.url}/labels: expected rankings of split {split!r}, got none. Label problems of that split too."
        )
    late = fields_of(table, "horizon_errors")
    errors = fields_of(table, "kept_errors") if horizon is None else late[:, :, horizons.index(horizon)]
    good = np.flatnonzero(np.isfinite(errors).all(axis=1))
    if not len(good):
        raise ValueError(f"{folder.url}/labels: expected states of {split!r} whose errors are all finite, got none.")
    arrays = {
        name: fields_of(table, column)[good]
        for name, column in (("state", "fields"), ("deterministic", "deterministic"), ("candidates", "candidates"),
                             ("patch_errors", "patch_errors"))
    }  # fmt: skip
    ids = [[table[name][int(i)].as_py() for i in good] for name in ("id", "problem_id")]
    return Rankings(ids[0], ids[1], RankedCandidates(errors=errors[good].astype(np.float32), **arrays))


def subset_of(rankings: Rankings, num_rows: int | None, seed: int) -> Rankings:
    """At most `num_rows` states, chosen by (seed, id)."""
    if num_rows is None or num_rows >= len(rankings):
        return rankings
    rows = choose_rows(rankings.ids, num_rows, seed)
    arrays: dict[str, Any] = {name: getattr(rankings.data, name) for name in rankings.data.__dataclass_fields__}
    picked: dict[str, Any] = {name: None if array is None else array[rows] for name, array in arrays.items()}
    data = RankedCandidates(**picked)
    return Rankings([rankings.ids[i] for i in rows], [rankings.problem_ids[i] for i in rows], data)
