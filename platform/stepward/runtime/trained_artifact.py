"""From trained weights to a finished artifact: predictions, calibrations, metrics, manifest.

Calibration is cross-checked by problem: calibrators are fitted on the validation problems of half "fit" and every
calibration metric, the raw model's included, is of half "judge". What is written is what was judged.
"""

from __future__ import annotations

import hashlib
import time
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from stepward.core.artifacts import Artifact, Manifest
from stepward.core.seeding import stable_hash
from stepward.evaluate import brier_score, debiased_brier, expected_calibration_error, spearman
from stepward.rewards.calibrators import Calibrator, calibrate, fit_calibrators
from stepward.runtime.train_worker import Trained
from stepward.train import LabelledStates, TrainSettings, read_labels


def finish(settings: TrainSettings, trained: Trained, started: float) -> Manifest:
    """Write everything a train artifact holds; `started` is the monotonic time at which the stage began."""
    artifact, labels_artifact = settings.artifact("train"), settings.artifact("label", settings.label)
    folder, wing = artifact.folder, settings.wing
    reward = settings.learner.reward(trained.weights)
    validation = read_labels(labels_artifact.folder, wing, "validation")
    scores = np.asarray(reward.score(validation.states, validation.states), np.float64)
    fitting = half_of_problems(validation, settings.seed)
    budgets = None if wing.budgets is None else wing.budgets(validation.states)
    calibrators = _calibrators(scores, validation, budgets, fitting)
    applied = {"raw": scores} | {name: calibrate(found, scores, budgets) for name, found in calibrators.items()}

    folder.write_weights("weights.safetensors", {k: np.ascontiguousarray(v) for k, v in trained.weights.items()})
    settings_json = settings.learner.model_dump(mode="json")
    folder.write_json("reward.json", {"kind": settings.learner.kind, "settings": settings_json, "domain": wing.name})
    folder.write_json("calibration.json", {name: c.to_dict() for name, c in calibrators.items()})
    folder.write_json("metrics.json", _metrics(trained, reward, validation, applied, ~fitting))
    folder.write_table("history.parquet", history_table(trained))
    folder.write_table("tables/predictions.parquet", _predictions(validation, applied, fitting))
    digest = hashlib.sha256(folder.read_bytes("weights.safetensors")).hexdigest()[:16]
    return artifact.finish(
        identity=settings.identity(),
        seed=settings.seed,
        digest=digest,
        inputs={"label": labels_artifact},
        rows={
            "train": _num_rows(settings, labels_artifact),
            "validation": len(validation),
        },
        cost={"seconds": time.monotonic() - started},
        facts={"num_parameters": int(reward.num_parameters), "best_epoch": trained.best_epoch},
        scratch=("run-*",),  # checkpoints
    )


def _num_rows(settings: TrainSettings, labels: Artifact) -> int:
    """Training rows that were learned from; filters have to look at the labels once more."""
    if settings.subset.filters:
        return len(settings.subset.of(read_labels(labels.folder, settings.wing, "train"), settings.seed))
    return settings.subset.num_kept(labels.manifest().rows["train"])


def half_of_problems(labels: LabelledStates, seed: int) -> Bool[np.ndarray, " n"]:
    """True for rows of a half of the problems that depends on (seed, problem id) alone."""
    ids, row = np.unique(labels.table["problem_id"].to_numpy(zero_copy_only=False), return_inverse=True)
    chosen = np.array([stable_hash("calibration half", seed, i) % 2 == 0 for i in ids])
    return chosen[row.reshape(-1)]


def history_table(trained: Trained) -> pa.Table:
    """One row an epoch: step, and its metrics."""
    rows = [{"step": int(row["epoch"]), **{k: v for k, v in row.items() if k != "epoch"}} for row in trained.history]
    return pa.Table.from_pylist(rows) if rows else pa.table({"step": pa.array([], pa.int64())})


def _calibrators(
    scores: Float[np.ndarray, " n"],
    labels: LabelledStates,
    budgets: Int[np.ndarray, " n"] | None,
    fitting: Bool[np.ndarray, " n"],
) -> dict[str, Calibrator]:
    """Calibrators of the half `fitting`; none where it is empty, or all there is."""
    if fitting.all() or not fitting.any():
        return {}
    counts = scores[fitting], labels.successes[fitting], labels.num_rollouts[fitting]
    return fit_calibrators(*counts, None if budgets is None else budgets[fitting])


def _metrics(
    trained: Trained,
    reward: Any,
    labels: LabelledStates,
    applied: dict[str, np.ndarray],
    judging: Bool[np.ndarray, " n"],
) -> dict[str, float]:
    """Flat metrics; names without a suffix are of the raw model."""
    if not judging.any():
        judging = np.ones(len(labels), bool)
    shares = labels.successes / labels.num_rollouts
    truth = shares if labels.exact is None else labels.exact
    found: dict[str, float] = {"num_parameters": float(reward.num_parameters)}
    if trained.history:
        best = trained.history[trained.best_epoch - 1]
        found |= {"best_epoch": float(trained.best_epoch), "num_epochs": float(len(trained.history))}
        found |= {name: float(best[name]) for name in ("train_loss", "validation_loss")}
    rng = np.random.default_rng(stable_hash("calibration error", len(labels)))
    for name, scores in applied.items():
        suffix = "" if name == "raw" else f"_{name}"
        error = expected_calibration_error(scores[judging], truth[judging], rng=rng)
        found[f"ece{suffix}"], found[f"ece_debiased{suffix}"] = error.plug_in, error.debiased
        if (labels.num_rollouts >= 2).all():
            counts = labels.successes[judging], labels.num_rollouts[judging]
            found[f"debiased_brier{suffix}"] = debiased_brier(scores[judging], *counts)
    found["spearman"] = spearman(applied["raw"], shares)
    if labels.exact is not None:
        found["spearman_exact"] = spearman(applied["raw"], labels.exact)
        found["brier_exact"] = brier_score(applied["raw"], labels.exact)
    return found


def _predictions(labels: LabelledStates, applied: dict[str, np.ndarray], fitting: np.ndarray) -> pa.Table:
    """Validation predictions: id, problem_id, prediction, its calibrations, the counts, and the half of each row."""
    columns: dict[str, Any] = {name: labels.table[name] for name in ("id", "problem_id", "successes", "num_rollouts")}
    if labels.exact is not None:
        columns["exact"] = labels.table["exact"]
    columns["prediction"] = applied["raw"]
    columns |= {f"prediction_{name}": values for name, values in applied.items() if name != "raw"}
    columns["half"] = pa.array(np.where(fitting, "fit", "judge").tolist(), pa.string())
    return pa.table(columns)
