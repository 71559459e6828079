"""The held-out partial solutions that guides are judged on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float, Int

from stepward.core.interfaces import Status
from stepward.core.seeding import Rng
from stepward.core.storage import Folder
from stepward.core.wing import Wing

SEEN = "seen_in_training"
OUTCOME_COLUMNS = ("split", "successes", "num_rollouts", "exact", "status")


@dataclass(frozen=True)
class HeldOut:
    """n open states of held-out problems, no two of them the same situation.

    Attributes:
        ids: of the label rows.
        states: the batch.
        successes, num_rollouts: their Monte-Carlo labels.
        exact: V^π, where the domain knows it.
        seen: whether the same situation was labelled for training; None where the domain cannot tell.
    """

    ids: list[str]
    states: Any
    successes: Int[np.ndarray, " n"]
    num_rollouts: Int[np.ndarray, " n"]
    exact: Float[np.ndarray, " n"] | None
    seen: Bool[np.ndarray, " n"] | None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Int[np.ndarray, " m"]) -> HeldOut:
        """The states at `rows`."""
        return HeldOut(
            ids=[self.ids[row] for row in rows],
            states=self.states.take(rows),
            successes=self.successes[rows],
            num_rollouts=self.num_rollouts[rows],
            exact=None if self.exact is None else self.exact[rows],
            seen=None if self.seen is None else self.seen[rows],
        )

    def subsets(self) -> dict[str, Bool[np.ndarray, " n"]]:
        """All states, and those whose situation never occurred in training."""
        every = {"all": np.ones(len(self), bool)}
        return every if self.seen is None else every | {"unseen": ~self.seen}


def label_rows(labels: Folder, split: str) -> pa.Table:
    """Good rows of one split of a label artifact, ordered by id.

    Raises:
        ValueError: there is none.
    """
    table = labels.read_table("labels")
    rows = table.filter(pc.and_(pc.equal(table["split"], split), pc.equal(table["status"], "ok")))
    if not len(rows):
        raise ValueError(f"{labels.url}: expected labels of split {split!r}, found none. Label that split first.")
    return rows.combine_chunks().sort_by("id")


def held_out_rows(labels: Folder, wing: Wing, split: str, max_states: int, seed: int) -> pa.Table:
    """At most `max_states` open states of a split, one of each situation, drawn at random by (seed, id).

    A column says whether the situation occurs in the training split, where the domain can tell.
    """
    rows = label_rows(labels, split)
    states = wing.states(rows)
    keep = np.flatnonzero(wing.domain.status(states) == Status.OPEN)
    seen = None
    tell = wing.known.situations if wing.known else None
    if tell is not None:
        situations = tell(states)
        keep = keep[np.unique(situations[keep], return_index=True)[1]]
        seen = np.isin(situations, tell(wing.states(label_rows(labels, "train"))))
    order = Rng.from_ids(seed, rows["id"].to_pylist(), "held out").uniform(1)[:, 0]
    chosen = np.sort(keep[np.argsort(order[keep], kind="stable")][:max_states])
    picked = rows.take(pa.array(chosen))
    flags = pa.array([None] * len(chosen), pa.bool_()) if seen is None else pa.array(seen[chosen])
    return picked.append_column(SEEN, flags)


def held_out(rows: pa.Table, wing: Wing) -> HeldOut:
    """The rows of `held_out_rows` with their states."""
    states = wing.states(rows)
    flags = rows[SEEN]
    return HeldOut(
        ids=rows["id"].to_pylist(),
        states=states,
        successes=rows["successes"].to_numpy().astype(np.int64),
        num_rollouts=rows["num_rollouts"].to_numpy().astype(np.int64),
        exact=None if wing.known is None else np.asarray(wing.known.exact(states), np.float64),
        seen=None if flags.null_count else flags.to_numpy(zero_copy_only=False).astype(bool),
    )
