"""Problems (a trajectory to predict) and the states that are labelled: generated, or from a file of trajectories."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from pydantic import Field

from stepward.core.config import Config, validate
from stepward.core.interfaces import Proposer
from stepward.core.registry import lookup
from stepward.core.rollout import forked, rollout
from stepward.core.seeding import Rng
from stepward.core.tensors import tensor_column, tensor_of
from stepward.core.wing import Rejected
from stepward.domains.pde.generators import GENERATORS, DeterministicGenerator
from stepward.domains.pde.initial_conditions import EULER_FAMILIES
from stepward.domains.pde.proposer import POLICIES
from stepward.domains.pde.readers import find_bad
from stepward.domains.pde.references import blocks, euler_name, first_frames, trajectories
from stepward.domains.pde.states import PDE, PDEStates, as_numpy, is_finite, roots
from stepward.domains.pde.surrogates import load_surrogate

SPLITS = ("train", "validation", "test")
OFFSETS = {"train": 0, "validation": 10_000_000, "test": 20_000_000}  # sample indices of a split: no two share one
Family = Literal["riemann", "curved", "kelvin", "gaussian"]


class PDEProblems(Config):
    """Where trajectories come from. A problem is a first frame and the name of the trajectory that holds the truth."""

    path: str | None = Field(
        None, description="your trajectories: a Parquet file of readers.write_parquet; none: generated Euler flows"
    )
    num_train: int = Field(160, ge=1, description="training trajectories; 16 is the scarce-data regime")
    num_validation: int = Field(32, ge=1, description="validation trajectories")
    num_test: int = Field(64, ge=1, description="test trajectories")
    families: tuple[Family, ...] = Field(
        ("riemann", "curved", "kelvin", "gaussian"), min_length=1, description="generated families, in turn"
    )
    cells: int = Field(32, ge=8, description="cells along an axis of generated trajectories")
    num_steps: int = Field(20, ge=1, description="frames of a generated trajectory after the first")
    dt: float = Field(0.05, gt=0, description="time between generated frames")
    horizon: int = Field(10, ge=1, description="steps of a rollout")

    def problems(self, split: str, seed: int) -> tuple[pa.Table, list[Rejected]]:
        """Problems of a split: columns id, reference, frame, horizon, fields.

        Generated problem i of a split depends on (seed, split, i). Rows of a file are split by their place: of ten
        consecutive rows seven train, one validates and two test.

        Raises:
            ValueError: unknown split, a horizon beyond the frames, or a file that is none.
        """
        if split not in SPLITS:
            raise ValueError(f"split: expected one of {list(SPLITS)}, got {split!r}.")
        if self.path is not None:
            return self._from_file(self.path, split)
        if self.horizon > self.num_steps:
            raise ValueError(f"problems.horizon: expected at most num_steps = {self.num_steps}, got {self.horizon}.")
        names = self.references(split, seed)
        return problem_table(names, first_frames(names), self.horizon), []

    def references(self, split: str, seed: int) -> list[str]:
        """Names of the generated trajectories of a split."""
        indices = range(OFFSETS[split], OFFSETS[split] + getattr(self, f"num_{split}"))
        name = partial(euler_name, cells=self.cells, num_steps=self.num_steps, dt=self.dt, seed=seed)
        return [name(self.families[i % len(self.families)], index=i) for i in indices]

    def _from_file(self, path: str, split: str) -> tuple[pa.Table, list[Rejected]]:
        if not Path(path).is_file():
            raise ValueError(f"problems.path: expected a Parquet file of trajectories, but there is no {path}.")
        rejected: list[Rejected] = []
        tables, wanted = [], getattr(self, f"num_{split}")
        for rows, block in blocks(path):
            if block.fields.shape[1] <= self.horizon or block.fields.ndim != 5:
                raise ValueError(
                    f"{path}: expected trajectories [frames, C, H, W] of more than {self.horizon} frames, got "
                    f"{block.fields.shape[1:]}. Choose a shorter problems.horizon, or data in two dimensions."
                )
            problem = find_bad(block.fields, block.grid.channels)
            mine = np.flatnonzero(split_of_rows(rows) == SPLITS.index(split))
            rejected += block.rejected
            rejected += [Rejected(f"{path}#{rows[i]}", problem[i], "") for i in mine if problem[i]]
            good = [i for i in mine if not problem[i]]
            names = [f"{path}#{rows[i]}" for i in good]
            tables.append(problem_table(names, block.fields[good, 0], self.horizon))
        table = pa.concat_tables(tables).slice(0, wanted)
        return table, rejected


class PDEMining(Config):
    """Which states get labels: a share of the frames of each trajectory, true ones or those of a rollout.

    A round on policy labels the states that a rollout meets: of the surrogate alone (`on_policy`), or of a rule that
    chooses with a reward model already trained (`policy`), on whose labels the next one is trained.
    """

    IN_WORKERS: ClassVar[bool] = True  # true states are simulated, so the actor pool mines

    share: float = Field(0.125, gt=0, le=1, description="share of all states before the horizon; the source's value")
    on_policy: str | None = Field(
        None, description="folder of a surrogate: label the states of its own rollouts instead of true ones"
    )
    policy: dict[str, Any] = Field(
        {}, description="label the states of rollouts of this proposer instead: its kind and settings; none: as above"
    )

    def model_post_init(self, _: object) -> None:
        """Refuses two policies at once, and one that does not exist."""
        if self.on_policy is not None and self.policy:
            raise ValueError("mining: expected on_policy (the surrogate alone) or policy, not both; leave one out")
        if self.policy:
            self.policy_settings()

    def policy_settings(self) -> Any:
        """The settings of the proposer called `policy`; a ValueError says what is wrong with them."""
        kind = lookup(GENERATORS | POLICIES, str(self.policy.get("kind")), kind="proposer")
        return validate(kind, self.policy)

    def mine(self, problems: pa.Table, seed: int) -> pa.Table:
        """States: columns id, problem_id, reference, frame, steps, horizon, fields; deterministic by (seed, id).

        Rollouts that blew up have no states from there on.
        """
        states = pde_states(problems)
        ids = problems["id"].to_pylist()
        longest = int(states.horizon.max(initial=0))
        chosen = Rng.from_ids(seed, ids, "mine").uniform(longest) < self.share
        chosen &= np.arange(longest) < states.horizon[:, None]
        rows, steps = np.nonzero(chosen)
        fields = self._fields(states, rows, steps, seed)
        good = is_finite(fields)
        rows, steps, fields = rows[good], steps[good], fields[good]
        return pa.table(
            {
                "id": pa.array([f"{ids[r]}@{t}" for r, t in zip(rows, steps, strict=True)], pa.string()),
                "problem_id": pa.array([ids[r] for r in rows], pa.string()),
                "reference": pa.array(states.reference[rows].tolist(), pa.string()),
                "frame": pa.array(states.frame[rows] + steps, pa.int32()),
                "steps": pa.array(steps, pa.int32()),
                "horizon": pa.array(states.horizon[rows], pa.int32()),
                "fields": tensor_column(fields),
            }
        )

    def _fields(
        self, states: PDEStates, rows: np.ndarray, steps: np.ndarray, seed: int
    ) -> Float[np.ndarray, "m c h w"]:
        policy = self._build_policy()
        if policy is None:
            truth = trajectories(states.reference.tolist())
            picked = [truth[r][states.frame[r] + t] for r, t in zip(rows, steps, strict=True)]
            return np.stack(picked) if picked else states.fields[:0]
        fields = np.full((len(rows), *states.fields.shape[1:]), np.nan, np.float32)
        fields[steps == 0] = states.fields[rows[steps == 0]]
        streams = forked(Rng.from_ids(seed, states.reference.tolist(), "on-policy"))
        most = int(steps.max(initial=0))
        for step in rollout(states, domain=PDE(), proposer=policy, streams=streams, max_steps=most):
            here = np.flatnonzero((steps == step.number) & np.isin(rows, step.rows))
            fields[here] = as_numpy(step.children.fields)[np.searchsorted(step.rows, rows[here])]
        return fields

    def _build_policy(self) -> Proposer | None:
        if self.on_policy is not None:
            return DeterministicGenerator(load_surrogate(self.on_policy))
        policy: Proposer | None = self.policy_settings().build() if self.policy else None
        return policy


def pde_states(table: pa.Table) -> PDEStates:
    """Problems or mined states as states, row by row. Rows with one problem_id share a problem index."""
    fields = fields_of(table)
    states = roots(
        fields, table["reference"].to_pylist(), table["frame"].to_numpy(), table["horizon"].to_numpy().astype(np.int64)
    )
    if "steps" in table.column_names:
        states = states.replace(steps=table["steps"].to_numpy().astype(np.int64))
    if "problem_id" in table.column_names:
        first: dict[str, int] = {}
        problem = [first.setdefault(name, len(first)) for name in table["problem_id"].to_pylist()]
        states = states.replace(problem=np.asarray(problem, np.int64))
    return states


def problem_table(names: list[str], fields: Float[np.ndarray, "n c h w"], horizon: int) -> pa.Table:
    """Problems as a table; the id of a problem is the name of its trajectory."""
    return pa.table(
        {
            "id": pa.array(names, pa.string()),
            "reference": pa.array(names, pa.string()),
            "frame": pa.array(np.zeros(len(names)), pa.int32()),
            "horizon": pa.array(np.full(len(names), horizon), pa.int32()),
            "fields": tensor_column(fields),
        }
    )


def fields_of(table: pa.Table, name: str = "fields") -> np.ndarray:
    """A tensor column as an array [n, …]."""
    return tensor_of(table, name)


def split_of_rows(rows: np.ndarray) -> np.ndarray:
    """Split (0, 1, 2) of rows of a file by their place: the same whatever the seed and the number asked for."""
    return np.array([0, 0, 0, 0, 0, 0, 0, 1, 2, 2])[rows % 10]


assert set(EULER_FAMILIES) == set(get_args(Family))
