"""Problems and partial walks: generated, or read from a user's own file."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from pydantic import Field

from stepward.core.config import Config
from stepward.core.rollout import ends, rollout, running
from stepward.core.rows import bad_row, read_rows
from stepward.core.seeding import Rng, stable_hash
from stepward.core.wing import Rejected
from stepward.domains.walk.proposer import UniformWalker
from stepward.domains.walk.states import Walk, WalkStates, roots

SPLITS = ("train", "validation", "test")


class WalkProblems(Config):
    """Where walk problems come from."""

    path: str | None = Field(
        None,
        description="your problems: a file (JSON, CSV, Parquet, Arrow), a folder or a pattern of files, with start, "
        "target, and maybe id, split; none: generate",
    )
    num_train: int = Field(5000, ge=1, description="generated training problems")
    num_validation: int = Field(500, ge=1, description="generated validation problems")
    num_test: int = Field(1000, ge=1, description="generated test problems")
    max_abs: int = Field(50, ge=1, le=1000, description="largest absolute start and target")
    max_steps: int = Field(10, ge=1, le=20, description="step budget of a problem")

    def problems(self, split: str, seed: int) -> tuple[pa.Table, list[Rejected]]:
        """Problems of a split: columns id, start, target, max_steps.

        Generated problems are distinct. A (start, target) pair belongs to one split for ever, whatever the seed:
        70 % train, 10 % validation, 20 % test. The seed decides which of a split's pairs are taken, and in which order.
        """
        if split not in SPLITS:
            raise ValueError(f"split: expected one of {list(SPLITS)}, got {split!r}.")
        if self.path is not None:
            return read_problems(self.path, split, self.max_abs, self.max_steps)
        start, target = split_pairs(split, self.max_abs)
        wanted = getattr(self, f"num_{split}")
        if wanted > len(start):
            raise ValueError(
                f"problems.num_{split}: expected at most {len(start)}, the number of different {split} problems with "
                f"max_abs={self.max_abs}, got {wanted}. Ask for fewer, or raise max_abs."
            )
        order = np.argsort(Rng.from_ids(seed, _pair_ids(start, target), "problems").uniform(1)[:, 0])[:wanted]
        return problem_table(start[order], target[order], self.max_steps), []


class WalkMining(Config):
    """Which partial walks are labelled: random ones, so that states off the policy's path are seen too."""

    per_problem: int = Field(40, ge=1, description="partial walks a problem")
    max_depth: int = Field(6, ge=0, description="most steps a partial walk has taken; depths are uniform from 0")

    def mine(self, problems: pa.Table, seed: int) -> pa.Table:
        """Partial walks by uniformly random actions.

        Columns: id, problem_id, start, target, current, steps_left, actions.
        A walk that meets its target on the way stops there.
        """
        states = walk_states(problems).take(np.repeat(np.arange(len(problems)), self.per_problem))
        problem_ids = np.repeat(problems["id"].to_numpy(zero_copy_only=False), self.per_problem)
        ids = [
            f"{pid}/{j}"
            for pid, j in zip(problem_ids, np.tile(np.arange(self.per_problem), len(problems)), strict=True)
        ]
        rng = Rng.from_ids(seed, ids, "mine")
        max_depth = min(self.max_depth, int(states.actions.shape[1]))
        depth = rng.integers(0, max_depth + 1, 1)[:, 0]
        taken = rollout(states, domain=Walk(), proposer=UniformWalker(), streams=running(rng), max_steps=depth)
        return partial_table(ids, problem_ids, ends(states, taken))


def walk_states(table: pa.Table) -> WalkStates:
    """Problems (id, start, target, max_steps) or partial walks (…, current, steps_left, actions) as states.

    Rows with one problem_id share a problem index, numbered in order of first appearance.
    """
    start, target = (table[name].to_numpy().astype(np.int64) for name in ("start", "target"))
    if "current" not in table.column_names:
        steps = table["max_steps"].to_numpy()
        width = int(steps.max(initial=0))
        states = roots(start, target, width)
        return states.replace(steps_left=steps.astype(np.int64))
    actions = table["actions"].combine_chunks()
    width = actions.type.list_size
    problem = np.unique(table["problem_id"].to_numpy(zero_copy_only=False), return_inverse=True)[1]
    return WalkStates(
        problem=problem.astype(np.int64),
        start=start,
        target=target,
        current=table["current"].to_numpy().astype(np.int64),
        steps_left=table["steps_left"].to_numpy().astype(np.int64),
        actions=actions.flatten().to_numpy().reshape(len(table), width).astype(np.int8),
    )


def problem_table(start: np.ndarray, target: np.ndarray, max_steps: int, ids: list[str] | None = None) -> pa.Table:
    """Problems as a table: id, start, target, max_steps."""
    return pa.table(
        {
            "id": pa.array(ids if ids is not None else _pair_ids(start, target), pa.string()),
            "start": pa.array(start, pa.int64()),
            "target": pa.array(target, pa.int64()),
            "max_steps": pa.array(np.full(len(start), max_steps), pa.int64()),
        }
    )


def partial_table(ids: list[str], problem_ids: np.ndarray, states: WalkStates) -> pa.Table:
    """Partial walks as a table; the actions are a fixed-size list, -1 where no step was taken yet."""
    width = states.actions.shape[1]
    return pa.table(
        {
            "id": pa.array(ids, pa.string()),
            "problem_id": pa.array(problem_ids, pa.string()),
            "start": pa.array(states.start, pa.int64()),
            "target": pa.array(states.target, pa.int64()),
            "current": pa.array(states.current, pa.int64()),
            "steps_left": pa.array(states.steps_left, pa.int64()),
            "actions": pa.FixedSizeListArray.from_arrays(pa.array(states.actions.ravel(), pa.int8()), width),
        }
    )


def split_pairs(split: str, max_abs: int) -> tuple[np.ndarray, np.ndarray]:
    """All (start, target) pairs of a split, start ≠ target."""
    numbers = np.arange(-max_abs, max_abs + 1)
    start, target = (grid.ravel() for grid in np.meshgrid(numbers, numbers, indexing="ij"))
    start, target = start[start != target], target[start != target]
    tenth = np.array(
        [stable_hash("walk split", a, b) % 10 for a, b in zip(start.tolist(), target.tolist(), strict=True)]
    )
    mine = {"train": tenth >= 3, "validation": tenth == 2, "test": tenth < 2}[split]
    return start[mine], target[mine]


def read_problems(path: str, split: str, max_abs: int, max_steps: int) -> tuple[pa.Table, list[Rejected]]:
    """A user's problems: rows with integer start and target, and optionally id and split (default "train").

    Rows that cannot be used are returned beside the table, with where they stood and what was wrong.
    """
    start, target, ids, rejected = [], [], [], []
    seen: set[str] = set()
    for place, row in read_rows(path):
        if isinstance(row, Rejected):
            rejected.append(row)
            continue
        try:
            first, goal = _whole(row, "start", max_abs), _whole(row, "target", max_abs)
            row_id = str(row["id"]) if row.get("id") not in (None, "") else f"s{first}t{goal}"
            row_split = row.get("split") or "train"
            if row_split not in SPLITS:
                raise ValueError(f"split: expected one of {list(SPLITS)}, got {row_split!r}")
            if row_id in seen:
                raise ValueError(f"id: expected a unique id, got {row_id!r} again")
        except ValueError as error:
            rejected.append(bad_row(place, str(error), row))
            continue
        seen.add(row_id)
        if row_split == split:
            start.append(first)
            target.append(goal)
            ids.append(row_id)
    return problem_table(np.array(start, np.int64), np.array(target, np.int64), max_steps, ids), rejected


def _whole(row: Mapping[str, object], name: str, max_abs: int) -> int:
    value = row.get(name)
    try:
        number = int(str(value))
    except ValueError:
        raise ValueError(f"{name}: expected a whole number, got {value!r}") from None
    if abs(number) > max_abs:
        raise ValueError(f"{name}: expected at most {max_abs} in absolute value, got {number} (problems.max_abs)")
    return number


def _pair_ids(start: np.ndarray, target: np.ndarray) -> list[str]:
    return [f"s{a}t{b}" for a, b in zip(start.tolist(), target.tolist(), strict=True)]
