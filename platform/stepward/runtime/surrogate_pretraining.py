"""Pretraining of a surrogate under Ray Train: `jobs/pretrain.py domain=pde`.

A stopped run goes on from its last epoch when the same command is given again.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from pydantic import Field, create_model, model_validator

from stepward.core.artifacts import Artifact, Manifest
from stepward.core.config import one_of
from stepward.core.stage import StageSettings
from stepward.core.storage import Folder
from stepward.core.wing import Wing, find_wing
from stepward.domains.pde.data import pde_states
from stepward.domains.pde.flops import Positions
from stepward.domains.pde.generators.base import NOT_PERIODIC
from stepward.domains.pde.grids import require_periodic
from stepward.domains.pde.metrics import per_frame
from stepward.domains.pde.references import trajectories
from stepward.domains.pde.surrogates import (
    Corrected,
    CorrectedSettings,
    LatentStack,
    Surrogate,
    SurrogateFit,
    build_surrogate,
    load_surrogate,
    save_surrogate,
    surrogate_kinds,
)
from stepward.domains.pde.surrogates.storage import DESCRIPTION, WEIGHTS, fill
from stepward.runtime.cluster import ClusterSettings, connect
from stepward.runtime.parallel import average_gradients, last_checkpoint, my_rank, report_epochs
from stepward.runtime.tracking import Tracking, track
from stepward.runtime.training import TrainPool, has_checkpoint, train_on_ray
from stepward.train import Checkpoint, seeded_module
from stepward.train.surrogates import surrogate_epochs

JUDGED = 16  # held-out trajectories that every epoch is judged on


class SurrogateJob(StageSettings):
    """All settings of jobs/pretrain.py for a domain with surrogates."""

    problems: Any
    surrogate: Any
    base: str | None = Field(
        None, description="surrogate to correct, for kind corrected, such as artifacts/pde/pretrain/default"
    )
    fit: SurrogateFit = Field(SurrogateFit(), description="gradient descent")
    pool: TrainPool = Field(TrainPool(), description="workers and retries")
    cluster: ClusterSettings = Field(ClusterSettings(), description="which Ray cluster does the work")
    tracking: Tracking = Field(Tracking(), description="where the finished artifact is logged")

    @model_validator(mode="after")
    def _base_fits_kind(self) -> SurrogateJob:
        corrects = isinstance(self.surrogate, CorrectedSettings)
        if corrects != (self.base is not None):
            raise ValueError("base: expected with surrogate.kind=corrected, and only there: it names what is corrected")
        return self

    def inputs(self) -> dict[str, Artifact]:
        """Artifacts that are read."""
        return self.named_artifacts(self.base, self.problems)


@dataclass(frozen=True)
class Pretrained:
    """What a run of the pretraining made."""

    url: str
    manifest: Manifest
    metrics: dict[str, float]
    seconds: float
    was_finished: bool

    def __str__(self) -> str:
        made = "Already finished" if self.was_finished else f"Trained in {self.seconds:.1f} s"
        size = f"{int(self.metrics['num_parameters']):,} parameters"
        errors = (
            "one-step NRMSE {one_step_nrmse:.4f} (persistence {persistence_nrmse:.4f}), rollout {rollout_nrmse:.4f}"
        )
        return f"{made}: {size}; validation {errors.format(**self.metrics)}\n{self.url}"


def pretrain_settings(wing: Wing) -> type[SurrogateJob]:
    """Settings of the job for a domain."""
    kinds = surrogate_kinds()
    first = next(iter(kinds.values()))
    fields: dict[str, Any] = {
        "domain": (str, Field(wing.name, description="which domain: the name of an installed wing")),
        "problems": (wing.problems, Field(wing.problems(), description="trajectories to learn from and to judge by")),
        "surrogate": (one_of(kinds), Field(first(), description="the network")),
    }
    return create_model("SurrogateJob", __base__=SurrogateJob, __module__=__name__, **fields)


def run_pretrain(settings: SurrogateJob) -> Pretrained:
    """Make or finish a surrogate, and track it. A finished one is returned at once.

    Raises:
        ValueError: the artifact is of other settings, or the surrogate to correct is missing.
        TrainingError: workers died more often than `pool.max_failures`, or the training itself raised.
    """
    started = time.monotonic()
    artifact, identity = settings.artifact("pretrain"), settings.identity()
    with artifact.claim(identity, overwrite=settings.overwrite, worth=lambda: has_checkpoint(artifact)) as was_finished:
        if not was_finished:
            _check_boundary(settings)
            inputs = settings.inputs()
            run = "-".join(["run", *(source.manifest().fingerprint for source in inputs.values())])
            with connect(settings.cluster):
                result = train_on_ray(pretrain, _shipped(settings), settings.pool, artifact, run)
            with result.checkpoint.as_directory() as folder:
                checkpoint = Checkpoint.load(folder)
            _finish(settings, artifact, checkpoint, started)
    manifest = artifact.open()
    track(artifact, settings.tracking)
    metrics = artifact.folder.read_json("metrics.json")
    return Pretrained(artifact.url, manifest, metrics, time.monotonic() - started, was_finished)


def _check_boundary(settings: SurrogateJob) -> None:
    """Raise ValueError for a surrogate that cannot be built, or that takes data with other ends for periodic."""
    if build(settings)[0].periodic:
        table, _ = settings.here(settings.problems).problems("train", settings.seed)
        require_periodic(table["reference"].to_pylist(), f"Surrogate {settings.surrogate.kind}", NOT_PERIODIC)


def pretrain(config: dict[str, Any]) -> None:
    """The function Ray Train runs on every worker. `config`: shipped settings, and threads of a CPU worker."""
    from ray.train.torch import get_device

    torch.set_num_threads(config["threads"])
    values = config["settings"]
    settings = pretrain_settings(find_wing(values["domain"])).model_validate(values)
    surrogate = build(settings)[0].to(get_device())
    held_out = truth(settings, "validation")[:JUDGED]
    rank = my_rank()
    steps = surrogate_epochs(
        surrogate,
        truth(settings, "train"),
        settings.fit,
        seed=settings.seed,
        judge=lambda network: one_step_error(network, held_out),
        start=last_checkpoint(),
        rank=rank,
        average=average_gradients,
    )
    report_epochs(steps, rank)


def build(settings: SurrogateJob) -> tuple[Surrogate, Any]:
    """A fresh surrogate, its initial weights a function of the seed, and the settings that make it again.

    One that corrects another gets the settings and weights of that one.
    """
    described = settings.surrogate
    if settings.base is None:
        return seeded_module(lambda: build_surrogate(described), settings.seed), described  # type: ignore[return-value]
    folder = Folder(settings.here(settings.base))
    base = load_surrogate(folder.url, "cpu")
    described = described.model_copy(update={"base": base.settings})
    surrogate = seeded_module(lambda: build_surrogate(described), settings.seed)
    assert isinstance(surrogate, Corrected), "checked with the settings"
    fill(surrogate.base, folder.read_weights(WEIGHTS), folder.url)
    return surrogate, described


def truth(settings: SurrogateJob, split: str) -> Float[np.ndarray, "n frames c h w"]:
    """Trajectories of a split."""
    table, _ = settings.here(settings.problems).problems(split, settings.seed)
    if not len(table):
        raise ValueError(f"Pretraining: expected trajectories of split {split!r}, got none. See problems.")
    return np.stack(trajectories(table["reference"].to_pylist()))


def one_step_error(surrogate: Surrogate, held_out: Float[np.ndarray, "n frames c h w"]) -> float:
    """Mean NRMSE of one step from every true frame."""
    frames = torch.from_numpy(held_out[:, :-1].copy()).to(surrogate.device)
    with torch.inference_mode():
        predicted = torch.stack([surrogate(part) for part in frames]).cpu().numpy()
    return float(per_frame("nrmse", predicted, held_out[:, 1:]).mean())


def rollout_error(surrogate: Surrogate, held_out: Float[np.ndarray, "n frames c h w"], horizon: int) -> float:
    """Mean NRMSE over the frames of a rollout; infinite where one blows up."""
    fields, frames = torch.from_numpy(held_out[:, 0].copy()).to(surrogate.device), []
    with torch.inference_mode():
        for _ in range(horizon):
            fields = surrogate(fields)
            frames.append(fields.cpu().numpy())
    predicted = np.stack(frames, axis=1)
    if not np.isfinite(predicted).all():
        return float("inf")
    return float(per_frame("nrmse", predicted, held_out[:, 1 : horizon + 1]).mean())


def _shipped(settings: SurrogateJob) -> dict[str, Any]:
    store = settings.store if "://" in settings.store else str(Path(settings.store).resolve())
    return settings.model_dump(mode="json", exclude={"overwrite", "pool", "cluster", "tracking"}) | {"store": store}


def _finish(settings: SurrogateJob, artifact: Artifact, checkpoint: Checkpoint, started: float) -> None:
    surrogate, described = build(settings)
    surrogate.load_state_dict(checkpoint.weights)
    surrogate.eval().requires_grad_(False)
    if isinstance(surrogate, LatentStack):
        known = truth(settings, "train")[:16]
        surrogate.measure_decoder(torch.from_numpy(known[:, :: max(1, known.shape[1] // 4)].copy()).flatten(0, 1))
    folder = artifact.folder
    save_surrogate(folder, surrogate, described)
    table, _ = settings.here(settings.problems).problems("validation", settings.seed)
    horizon = int(pde_states(table).horizon.max())
    held_out = truth(settings, "validation")
    positions = Positions(surrogate, lambda shape: surrogate(torch.zeros(1, *shape)))
    metrics = {
        "one_step_nrmse": one_step_error(surrogate, held_out),
        "persistence_nrmse": float(per_frame("nrmse", held_out[:, :-1], held_out[:, 1:]).mean()),
        "rollout_nrmse": rollout_error(surrogate, held_out, horizon),
        "num_parameters": float(surrogate.num_parameters),
        "flops": 2.0 * positions.num_parameters * positions(held_out.shape[2:]),
    }
    folder.write_json("metrics.json", metrics)
    history = checkpoint.progress.history
    rows = [{"step": int(row["epoch"]), **{k: v for k, v in row.items() if k != "epoch"}} for row in history]
    folder.write_table("history.parquet", pa.Table.from_pylist(rows))
    names = (WEIGHTS, DESCRIPTION)
    digest = hashlib.sha256(b"".join(folder.read_bytes(name) for name in names)).hexdigest()[:16]
    artifact.finish(
        identity=settings.identity(),
        seed=settings.seed,
        digest=digest,
        inputs=settings.inputs(),
        rows={
            "train": len(settings.here(settings.problems).problems("train", settings.seed)[0]),
            "validation": len(table),
        },
        cost={"seconds": time.monotonic() - started},
        facts={"num_parameters": surrogate.num_parameters, "kind": described.kind},
        scratch=("run*",),  # checkpoints
    )
