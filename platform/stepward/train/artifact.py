"""From trained weights to a finished artifact: weights, what they are of, metrics, history, manifest."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from stepward.core.artifacts import Manifest
from stepward.core.learning import Trained
from stepward.core.storage import Folder
from stepward.train.settings import TrainSettings

__all__ = ["finish", "history_table"]

WEIGHTS = "weights.safetensors"


def finish(settings: TrainSettings, trained: Trained, started: float) -> Manifest:
    """Write everything a train artifact holds; `started` is the monotonic time at which the stage began."""
    artifact, learner, judged = settings.artifact("train"), settings.learner, settings.learning.judge(settings, trained)
    folder = artifact.folder
    folder.write_weights(WEIGHTS, {name: np.ascontiguousarray(array) for name, array in trained.weights.items()})
    described = {"kind": learner.kind, "settings": learner.model_dump(mode="json"), "domain": settings.domain}
    for name, content in judged.documents.items():
        folder.write_json(name, content)
    folder.write_json("reward.json", described)
    if hasattr(learner, "exports"):
        _export(folder, lambda local: learner.exports(trained.weights, local))
    folder.write_json("metrics.json", _of_the_best(trained) | judged.metrics)
    folder.write_table("history.parquet", history_table(trained.history))
    for name, table in judged.tables.items():
        folder.write_table(f"tables/{name}.parquet", table)
    return artifact.finish(
        identity=settings.identity(),
        seed=settings.seed,
        digest=hashlib.sha256(folder.read_bytes(WEIGHTS)).hexdigest()[:16],
        inputs={"label": settings.artifact("label", settings.label)},
        rows=judged.rows,
        cost={"seconds": time.monotonic() - started},
        facts={
            "num_parameters": int(judged.metrics["num_parameters"]),
            "best_epoch": trained.best_epoch,
            **judged.facts,
        },
        scratch=("run-*",),  # checkpoints
    )


def _export(folder: Folder, write: Callable[[Path], None]) -> None:
    """What a learner writes in formats of others, as ``exported/…``, wherever the artifact is."""
    with TemporaryDirectory() as place:
        write(Path(place))
        for file in sorted(Path(place).rglob("*")):
            if file.is_file():
                folder.write_bytes(f"exported/{file.relative_to(place).as_posix()}", file.read_bytes())


def history_table(history: Sequence[dict[str, float]]) -> pa.Table:
    """One row an epoch: step, and its metrics."""
    rows = [{"step": int(row["epoch"]), **{k: v for k, v in row.items() if k != "epoch"}} for row in history]
    return pa.Table.from_pylist(rows) if rows else pa.table({"step": pa.array([], pa.int64())})


def _of_the_best(trained: Trained) -> dict[str, float]:
    if not trained.history:
        return {}
    best = trained.history[trained.best_epoch - 1]
    losses = {name: float(best[name]) for name in ("train_loss", "validation_loss")}
    return {"best_epoch": float(trained.best_epoch), "num_epochs": float(len(trained.history))} | losses
