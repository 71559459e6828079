"""What this domain trains before it can label: a surrogate, or one that corrects another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field

from stepward.core.artifacts import Artifact
from stepward.core.config import one_of
from stepward.core.learning import Judged
from stepward.core.storage import Folder
from stepward.core.wing import Wing
from stepward.domains.pde.data import pde_states
from stepward.domains.pde.flops import Positions
from stepward.domains.pde.generators.base import NOT_PERIODIC
from stepward.domains.pde.grids import require_periodic
from stepward.domains.pde.metrics import per_frame
from stepward.domains.pde.references import constant_of, trajectories
from stepward.domains.pde.states import seen
from stepward.domains.pde.surrogates import (
    Corrected,
    CorrectedSettings,
    Draws,
    Surrogate,
    SurrogateFit,
    build_surrogate,
    load_surrogate,
    save_surrogate,
    surrogate_kinds,
)
from stepward.domains.pde.surrogates.fitting import make_ready, surrogate_epochs
from stepward.domains.pde.surrogates.storage import DESCRIPTION, PROGRAM, WEIGHTS, fill
from stepward.train import Checkpoint, seeded_module

T = TypeVar("T")
JUDGED = 16  # held-out trajectories that every epoch is judged on


@runtime_checkable
class SurrogateStage(Protocol):
    """Settings of a pretraining with the fields of `SurrogatePretraining`."""

    seed: int
    problems: Any
    surrogate: Any
    base: str | None
    fit: SurrogateFit

    def artifact(self, stage: str, name: str | None = None) -> Artifact:
        """The artifact of a stage in the store of these settings."""
        ...

    def here(self, settings: T) -> T:
        """Settings of the domain with the artifacts they name in that store."""
        ...

    def named_artifacts(self, *settings: object) -> dict[str, Artifact]:
        """``stage/name`` -> every artifact that settings name."""
        ...


class SurrogatePretraining:
    """See `stepward.core.learning.Pretraining`."""

    name = "default"

    def fields(self, wing: Wing) -> dict[str, object]:
        """Trajectories, the network, what it corrects, and gradient descent."""
        kinds = surrogate_kinds()
        first = next(iter(kinds.values()))
        base = (
            "surrogate to go on from, of the same settings: fine-tuning; for kind corrected the one that is corrected"
        )
        return {
            "problems": (
                wing.problems,
                Field(wing.problems(), description="trajectories to learn from and judge by"),
            ),
            "surrogate": (one_of(kinds), Field(first(), description="the network")),
            "base": (str | None, Field(None, description=base)),
            "fit": (SurrogateFit, Field(SurrogateFit(), description="gradient descent")),
        }

    def agree(self, settings: SurrogateStage) -> None:
        """A surrogate that corrects has a base."""
        if isinstance(settings.surrogate, CorrectedSettings) and settings.base is None:
            raise ValueError("base: expected with surrogate.kind=corrected: it names what is corrected")

    def inputs(self, settings: SurrogateStage) -> Mapping[str, Artifact]:
        """The surrogate to correct, and the data."""
        found: Mapping[str, Artifact] = settings.named_artifacts(settings.base, settings.problems)
        return found

    def check(self, settings: SurrogateStage) -> None:
        """Raise ValueError for a surrogate that cannot be built, or cannot take the data: channels, grid or ends."""
        surrogate = build(settings)[0]
        table, _ = settings.here(settings.problems).problems("train", settings.seed)
        surrogate.check(torch.from_numpy(seen(pde_states(table.slice(0, 1)), surrogate.frames).copy()).flatten(1, 2))
        if surrogate.periodic:
            require_periodic(table["reference"].to_pylist(), f"Surrogate {settings.surrogate.kind}", NOT_PERIODIC)

    def checkpoints(self, settings: SurrogateStage, device: torch.device, **options: Any) -> Iterator[Checkpoint]:
        """Epoch by epoch, judged by the error of one step on held-out trajectories."""
        held_out, told = truth(settings, "validation")[:JUDGED], constants(settings, "validation", JUDGED)
        return surrogate_epochs(
            build(settings)[0].to(device),
            truth(settings, "train"),
            settings.fit,
            seed=settings.seed,
            judge=lambda network: one_step_error(network, held_out, told),
            constants=constants(settings, "train"),
            is_new=settings.base is None or isinstance(settings.surrogate, CorrectedSettings),
            **options,
        )

    def write(self, settings: SurrogateStage, checkpoint: Checkpoint) -> Judged:
        """Weights, scales and settings; errors of one step and of rollouts on all validation trajectories."""
        surrogate, described = build(settings)
        surrogate.load_state_dict(checkpoint.weights)
        known, held_out = truth(settings, "train"), truth(settings, "validation")
        told = constants(settings, "validation")
        make_ready(surrogate, known)
        save_surrogate(settings.artifact("pretrain").folder, surrogate, described)
        table, _ = settings.here(settings.problems).problems("validation", settings.seed)
        positions = Positions(surrogate, lambda shape: surrogate(surrogate.nothing(shape)))
        metrics = {
            "one_step_nrmse": one_step_error(surrogate, held_out, told),
            "persistence_nrmse": float(per_frame("nrmse", held_out[:, :-1], held_out[:, 1:]).mean()),
            "rollout_nrmse": rollout_error(surrogate, held_out, int(pde_states(table).horizon.max()), told),
            "num_parameters": float(surrogate.num_parameters),
            "flops": 2.0 * positions.num_parameters * positions(held_out.shape[2:]),
        }
        rows = {"train": len(known), "validation": len(table)}
        content = [WEIGHTS, DESCRIPTION]
        content += [PROGRAM] if settings.artifact("pretrain").folder.exists(PROGRAM) else []
        return Judged(metrics=metrics, rows=rows, facts={"kind": described.kind}, content=tuple(content))

    def describe(self, url: str, metrics: Mapping[str, float]) -> str:
        """Size and errors."""
        blows_up = not np.isfinite(metrics["rollout_nrmse"])
        errors = "one-step NRMSE {one_step_nrmse:.4f} (persistence {persistence_nrmse:.4f}), rollout "
        errors += "blows up: train it longer, or on wider windows" if blows_up else "{rollout_nrmse:.4f}"
        size = f"{int(metrics['num_parameters']):,} parameters"
        return f"{size}; validation {errors.format(**metrics)}\n{url}"


def build(settings: SurrogateStage) -> tuple[Surrogate, Any]:
    """A fresh surrogate, its initial weights a function of the seed, and the settings that make it again.

    One that corrects another gets the settings and weights of that one; one that goes on from another its weights.
    """
    described = settings.surrogate
    fresh: Any = lambda: seeded_module(lambda: build_surrogate(described), settings.seed)  # noqa: E731
    if settings.base is None:
        return fresh(), described
    folder = Folder(settings.here(settings.base))
    if not isinstance(described, CorrectedSettings):
        surrogate = fresh()
        fill(surrogate, folder.read_weights(WEIGHTS), folder.url)
        return surrogate, described
    base = load_surrogate(folder.url, "cpu")
    described = described.model_copy(update={"base": base.settings})
    surrogate = seeded_module(lambda: build_surrogate(described), settings.seed)
    assert isinstance(surrogate, Corrected), "checked with the settings"
    fill(surrogate.base, folder.read_weights(WEIGHTS), folder.url)
    return surrogate, described


def truth(settings: SurrogateStage, split: str) -> Float[np.ndarray, "n frames c h w"]:
    """Trajectories of a split."""
    table, _ = settings.here(settings.problems).problems(split, settings.seed)
    if not len(table):
        raise ValueError(f"Pretraining: expected trajectories of split {split!r}, got none. See problems.")
    return np.stack(trajectories(table["reference"].to_pylist()))


def constants(settings: SurrogateStage, split: str, most: int | None = None) -> Float[np.ndarray, " n"] | None:
    """The constant of each trajectory of a split, for a surrogate that is told it; None for others."""
    if not getattr(settings.surrogate, "constants", ()):
        return None
    table, _ = settings.here(settings.problems).problems(split, settings.seed)
    return np.array([constant_of(name) for name in table["reference"].to_pylist()[:most]])


def one_step_error(
    surrogate: Surrogate, held_out: Float[np.ndarray, "n frames c h w"], told: Float[np.ndarray, " n"] | None = None
) -> float:
    """Mean NRMSE of one step from every true frame; `told` is the constant of each trajectory."""
    known, predicted = surrogate.frames, []
    frames, draws = torch.from_numpy(held_out.copy()).to(surrogate.device), _told(surrogate, told)
    with torch.inference_mode():
        for end in range(known, held_out.shape[1]):
            predicted.append(surrogate(frames[:, end - known : end].flatten(1, 2), draws))
    return float(per_frame("nrmse", torch.stack(predicted, dim=1).cpu().numpy(), held_out[:, known:]).mean())


def rollout_error(
    surrogate: Surrogate,
    held_out: Float[np.ndarray, "n frames c h w"],
    horizon: int,
    told: Float[np.ndarray, " n"] | None = None,
) -> float:
    """Mean NRMSE over the frames of a rollout; infinite where one blows up."""
    known, num_channels = surrogate.frames, held_out.shape[2]
    fields = torch.from_numpy(held_out[:, :known].copy()).to(surrogate.device).flatten(1, 2)
    frames, draws = [], _told(surrogate, told)
    with torch.inference_mode():
        for _ in range(horizon):
            following = surrogate(fields, draws)
            fields = torch.cat([fields, following], dim=1)[:, num_channels:]
            frames.append(following.cpu().numpy())
    predicted = np.stack(frames, axis=1)
    if not np.isfinite(predicted).all():
        return float("inf")
    return float(per_frame("nrmse", predicted, held_out[:, known : known + horizon]).mean())


def _told(surrogate: Surrogate, told: Float[np.ndarray, " n"] | None) -> Draws | None:
    return None if told is None else Draws.told(torch.from_numpy(told).to(surrogate.device))
