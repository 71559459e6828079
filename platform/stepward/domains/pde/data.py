"""Problems (a trajectory to predict) and the states that are labelled: generated, or from a file of trajectories."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from pydantic import Field, model_validator

from stepward.core.config import Config, validate
from stepward.core.interfaces import Proposer
from stepward.core.registry import lookup
from stepward.core.rollout import forked, rollout
from stepward.core.seeding import Rng
from stepward.core.tensors import tensor_column, tensor_of
from stepward.core.wing import Rejected
from stepward.domains.pde.flows import BURGERS, Flow, first_frames
from stepward.domains.pde.generators import GENERATORS, DeterministicGenerator
from stepward.domains.pde.initial_conditions import EULER_FAMILIES
from stepward.domains.pde.proposer import POLICIES
from stepward.domains.pde.readers import find_bad
from stepward.domains.pde.references import blocks, trajectories
from stepward.domains.pde.states import PDE, PDEStates, as_numpy, is_finite, roots, seen
from stepward.domains.pde.surrogates import load_surrogate

SPLITS = ("train", "validation", "test")
OFFSETS = {"train": 0, "validation": 10_000_000, "test": 20_000_000}  # sample indices of a split: no two share one
Family = Literal["riemann", "curved", "kelvin", "gaussian", "burgers"]


class PDEProblems(Config):
    """Where trajectories come from. A problem is a first frame and the name of the trajectory that holds the truth."""

    path: str | None = Field(
        None, description="your trajectories: a Parquet file of readers.write_parquet; none: generated flows"
    )
    num_train: int = Field(160, ge=1, description="training trajectories; 16 is the scarce-data regime")
    num_validation: int = Field(32, ge=1, description="validation trajectories")
    num_test: int = Field(64, ge=1, description="test trajectories")
    families: tuple[Family, ...] = Field(
        ("riemann", "curved", "kelvin", "gaussian"),
        min_length=1,
        description="generated families, in turn; burgers stands alone",
    )
    constant: tuple[float, float] | None = Field(
        None,
        description="range of a constant that differs from trajectory to trajectory and that nobody is told: γ of a "
        "gas (γ − 1 is log-uniform), ν of Burgers (log-uniform); equal ends: one known value; none: γ = 1.4, ν = .01",
    )
    cells: int = Field(32, ge=8, description="cells along an axis of generated trajectories")
    num_steps: int = Field(20, ge=1, description="frames of a generated trajectory after the first")
    dt: float = Field(0.05, gt=0, description="time between generated frames")
    horizon: int = Field(10, ge=1, description="steps of a rollout")
    context: int = Field(1, ge=1, description="frames that are seen before a rollout begins, its first included")

    @model_validator(mode="after")
    def _makes_sense(self) -> PDEProblems:
        if BURGERS in self.families and len(set(self.families)) > 1:
            raise ValueError(f"families: expected {BURGERS} alone or families of a gas, got {list(self.families)}")
        if self.constant is not None:
            least, (low, high) = 0.0 if BURGERS in self.families else 1.0, self.constant
            if self.path is not None or not least < low <= high:
                raise ValueError(
                    f"constant: expected {least:g} < low <= high, of generated flows; got {self.constant} with "
                    f"path={self.path}"
                )
        return self

    def problems(self, split: str, seed: int) -> tuple[pa.Table, list[Rejected]]:
        """Problems of a split: columns id, reference, frame, horizon, fields.

        Generated problem i of a split depends on (seed, split, i). A column history has the frames before the first of
        a rollout, where the context has any. Rows of a file are split by their place: of ten consecutive rows seven
        train, one validates and two test.

        Raises:
            ValueError: unknown split, a horizon beyond the frames, or a file that is none.
        """
        if split not in SPLITS:
            raise ValueError(f"split: expected one of {list(SPLITS)}, got {split!r}.")
        if self.path is not None:
            return self._from_file(self.path, split)
        if self.horizon + self.context - 1 > self.num_steps:
            raise ValueError(
                f"problems.horizon: expected at most num_steps = {self.num_steps}, less the {self.context - 1} steps "
                f"that the context takes; got {self.horizon}."
            )
        names = self.references(split, seed)
        if self.context == 1:  # the rest of a trajectory is not computed before it is needed
            return problem_table(names, first_frames(names)[:, None], self.horizon), []
        return problem_table(names, np.stack(trajectories(names))[:, : self.context], self.horizon), []

    def references(self, split: str, seed: int) -> list[str]:
        """Names of the generated trajectories of a split."""
        indices = range(OFFSETS[split], OFFSETS[split] + getattr(self, f"num_{split}"))
        span = self.constant or ((0.01, 0.01) if BURGERS in self.families else None)
        size = (self.cells, self.num_steps, self.dt, seed)
        return [Flow(self.families[i % len(self.families)], *size, i, span).name for i in indices]

    def _from_file(self, path: str, split: str) -> tuple[pa.Table, list[Rejected]]:
        if not Path(path).is_file():
            raise ValueError(f"problems.path: expected a Parquet file of trajectories, but there is no {path}.")
        rejected: list[Rejected] = []
        tables, wanted = [], getattr(self, f"num_{split}")
        for rows, block in blocks(path):
            needed = self.horizon + self.context
            if block.fields.shape[1] < needed or block.fields.ndim != 5:
                raise ValueError(
                    f"{path}: expected trajectories [frames, C, H, W] of {needed} frames or more (horizon and context)"
                    f", got {block.fields.shape[1:]}. Choose a shorter problems.horizon, or data in two dimensions."
                )
            problem = find_bad(block.fields, block.grid.channels)
            mine = np.flatnonzero(split_of_rows(rows) == SPLITS.index(split))
            rejected += block.rejected
            rejected += [Rejected(f"{path}#{rows[i]}", problem[i], "") for i in mine if problem[i]]
            good = [i for i in mine if not problem[i]]
            names = [f"{path}#{rows[i]}" for i in good]
            tables.append(problem_table(names, block.fields[good, : self.context], self.horizon))
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
        frames = self._frames(states, rows, steps, seed)
        good = is_finite(frames[:, -1])
        rows, steps, frames = rows[good], steps[good], frames[good]
        return pa.table(
            {
                "id": pa.array([f"{ids[r]}@{t}" for r, t in zip(rows, steps, strict=True)], pa.string()),
                "problem_id": pa.array([ids[r] for r in rows], pa.string()),
                "reference": pa.array(states.reference[rows].tolist(), pa.string()),
                "frame": pa.array(states.frame[rows] + steps, pa.int32()),
                "steps": pa.array(steps, pa.int32()),
                "horizon": pa.array(states.horizon[rows], pa.int32()),
                **frame_columns(frames),
            }
        )

    def _frames(
        self, states: PDEStates, rows: np.ndarray, steps: np.ndarray, seed: int
    ) -> Float[np.ndarray, "m f c h w"]:
        """The frames that each chosen state has seen, its own last."""
        policy, num_frames = self._build_policy(), states.history.shape[1] + 1
        own = seen(states, num_frames)
        if policy is None:
            truth = trajectories(states.reference.tolist())
            last = states.frame[rows] + steps + 1
            picked = [truth[r][end - num_frames : end] for r, end in zip(rows, last, strict=True)]
            return np.stack(picked) if picked else own[:0]
        frames = np.full((len(rows), *own.shape[1:]), np.nan, np.float32)
        frames[steps == 0] = own[rows[steps == 0]]
        streams = forked(Rng.from_ids(seed, states.reference.tolist(), "on-policy"))
        most = int(steps.max(initial=0))
        for step in rollout(states, domain=PDE(), proposer=policy, streams=streams, max_steps=most):
            here = np.flatnonzero((steps == step.number) & np.isin(rows, step.rows))
            met = as_numpy(seen(step.children, num_frames))
            frames[here] = met[np.searchsorted(step.rows, rows[here])]
        return frames

    def _build_policy(self) -> Proposer | None:
        if self.on_policy is not None:
            return DeterministicGenerator(load_surrogate(self.on_policy))
        policy: Proposer | None = self.policy_settings().build() if self.policy else None
        return policy


def pde_states(table: pa.Table) -> PDEStates:
    """Problems or mined states as states, row by row. Rows with one problem_id share a problem index."""
    states = roots(
        fields_of(table),
        table["reference"].to_pylist(),
        table["frame"].to_numpy(),
        table["horizon"].to_numpy().astype(np.int64),
        history=history_of(table),
    )
    if "steps" in table.column_names:
        states = states.replace(steps=table["steps"].to_numpy().astype(np.int64))
    if "problem_id" in table.column_names:
        first: dict[str, int] = {}
        problem = [first.setdefault(name, len(first)) for name in table["problem_id"].to_pylist()]
        states = states.replace(problem=np.asarray(problem, np.int64))
    return states


def problem_table(names: list[str], frames: Float[np.ndarray, "n m c h w"], horizon: int) -> pa.Table:
    """Problems as a table, from the frames that are seen; the id of a problem is the name of its trajectory."""
    columns = {
        "id": pa.array(names, pa.string()),
        "reference": pa.array(names, pa.string()),
        "frame": pa.array(np.full(len(names), frames.shape[1] - 1), pa.int32()),
        "horizon": pa.array(np.full(len(names), horizon), pa.int32()),
    }
    return pa.table(columns | frame_columns(frames))


def frame_columns(frames: Float[np.ndarray, "n m c h w"]) -> dict[str, pa.Array]:
    """The last frame as fields, and those before it as history, where there are any."""
    history = {"history": tensor_column(frames[:, :-1])} if frames.shape[1] > 1 else {}
    return {"fields": tensor_column(frames[:, -1])} | history


def fields_of(table: pa.Table, name: str = "fields") -> np.ndarray:
    """A tensor column as an array [n, …]."""
    return tensor_of(table, name)


def history_of(table: pa.Table) -> np.ndarray | None:
    """The frames seen before the fields, [n, m, C, H, W]; None where there are none."""
    return fields_of(table, "history") if "history" in table.column_names else None


def split_of_rows(rows: np.ndarray) -> np.ndarray:
    """Split (0, 1, 2) of rows of a file by their place: the same whatever the seed and the number asked for."""
    return np.array([0, 0, 0, 0, 0, 0, 0, 1, 2, 2])[rows % 10]


assert {*EULER_FAMILIES, BURGERS} == set(get_args(Family))
