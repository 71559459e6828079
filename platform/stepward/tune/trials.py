"""What is known of a trial, and the tables of a sweep."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Float

Status = Literal["finished", "stopped", "failed"]


@dataclass(frozen=True)
class Trial:
    """One training of a sweep.

    Attributes:
        id: "0000", "0001", …: the number of its draw, or, of suggested trials, its place in the list of trials.
        settings: value of each dimension.
        status: "finished" (ran to its end), "stopped" (was behind the others) or "failed" (raised, or died).
        error: why it failed; else empty.
        history: metrics of every epoch, the key "epoch" among them.
        best_epoch: epoch of the lowest validation loss; 0 if there is none.
        problem_losses: share of each validation problem in that loss; its mean is the loss. None if there is none.
        num_parameters: of the model. num_rollouts: mean M of its training rows. num_rows: training rows.
        flops: mean operations of a search or rollout, where a trial is one.
        seconds: wall time.
    """

    id: str
    settings: dict[str, Any]
    status: Status
    error: str = ""
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    problem_losses: Float[np.ndarray, " p"] | None = None
    num_parameters: int = 0
    num_rollouts: float = 0.0
    num_rows: int = 0
    flops: float = 0.0
    seconds: float = 0.0

    @property
    def judged(self) -> bool:
        """Whether there is a finite validation loss: a failed trial may have one, from the epochs before."""
        return self.status != "failed" and self.problem_losses is not None

    @property
    def loss(self) -> float:
        """Validation loss of the best epoch, nats a rollout; infinite if there is none."""
        found = self.problem_losses if self.judged else None
        return float("inf") if found is None else float(np.mean(found))

    @property
    def best_metrics(self) -> dict[str, float]:
        """Metrics of the best epoch."""
        found = [row for row in self.history if row["epoch"] == self.best_epoch]
        return {name: value for name, value in found[0].items() if name != "epoch"} if found else {}


def trials_table(trials: Sequence[Trial], further: Sequence[Mapping[str, object]]) -> pa.Table:
    """One row a trial: id, its settings as ``config/<name>``, status, error, metrics of the best epoch, seconds.

    Args:
        further: more columns of each trial.
    """
    rows = []
    for trial, more in zip(trials, further, strict=True):
        row: dict[str, Any] = {"id": trial.id}
        row |= {f"config/{name}": value for name, value in trial.settings.items()}
        row |= {"status": trial.status, "error": trial.error, "epochs": len(trial.history)}
        row |= {"best_epoch": trial.best_epoch, **trial.best_metrics, **more}
        row |= {name: getattr(trial, name) for name in ("num_parameters", "num_rollouts", "num_rows", "seconds")}
        rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: _column([row.get(name) for row in rows]) for name in names})


def history_table(trials: Sequence[Trial]) -> pa.Table:
    """One row an epoch of a trial: trial, step (the epoch), and its metrics."""
    rows = [
        {"trial": trial.id, "step": int(row["epoch"]), **{k: v for k, v in row.items() if k != "epoch"}}
        for trial in trials
        for row in trial.history
    ]
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: _column([row.get(name) for row in rows]) for name in names})


def _column(values: list[object]) -> pa.Array:
    """Values of one setting as a column; blocks, and values of different types, as JSON."""
    try:
        if any(isinstance(value, dict | list) for value in values):
            raise pa.ArrowInvalid
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([value if value is None else json.dumps(value) for value in values])
