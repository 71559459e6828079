"""Checkpoints of a training: enough to go on as if nothing had happened, and nothing that runs code when it is read.

A checkpoint is a folder: `latest.safetensors` and `best.safetensors` (weights), `training.pt` (optimiser tensors,
read back with ``weights_only=True``) and `progress.json` (epochs done, history).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor


@dataclass
class Progress:
    """Where a training stands.

    Attributes:
        epochs_done: whole epochs behind it.
        history: metrics of each of them; the key "epoch" counts from 1.
        best_epoch: epoch whose weights are kept, that of the lowest validation loss so far; 0 before the first.
        best_loss: that loss.
        first_loss: training loss of the first step of this stage, before anything was learned; None: not taken yet.
    """

    epochs_done: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    best_loss: float = float("inf")
    first_loss: float | None = None

    def note(self, metrics: dict[str, float], *, keep_last: bool = False) -> bool:
        """Add the metrics of an epoch; True if its weights are to be kept: it is the best so far, or just the last."""
        self.epochs_done += 1
        self.history.append({"epoch": self.epochs_done, **metrics})
        better = keep_last or metrics["validation_loss"] < self.best_loss
        if better:
            self.best_epoch, self.best_loss = self.epochs_done, metrics["validation_loss"]
        return better

    def out_of_patience(self, patience: int) -> bool:
        """Whether the best epoch lies `patience` epochs back; never with a patience of 0."""
        return patience > 0 and self.epochs_done - self.best_epoch >= patience


@dataclass
class Checkpoint:
    """Everything a training needs to go on. `best` are the weights of the best epoch."""

    weights: dict[str, Tensor]
    best: dict[str, Tensor]
    optimiser: dict[str, Any]
    progress: Progress

    def save(self, folder: str | Path) -> None:
        """Write into an existing folder."""
        folder = Path(folder)
        save_file(plain(self.weights), folder / "latest.safetensors")
        save_file(plain(self.best), folder / "best.safetensors")
        torch.save(self.optimiser, folder / "training.pt")
        (folder / "progress.json").write_text(json.dumps(asdict(self.progress)))

    @classmethod
    def load(cls, folder: str | Path) -> Checkpoint:
        """Read what `save` wrote.

        Raises:
            ValueError: the folder does not hold a whole checkpoint.
        """
        folder = Path(folder)
        missing = [name for name in FILES if not (folder / name).is_file()]
        if missing:
            raise ValueError(f"{folder}: expected a checkpoint with {list(FILES)}, but {missing} is missing.")
        return cls(
            weights=load_file(folder / "latest.safetensors"),
            best=load_file(folder / "best.safetensors"),
            optimiser=torch.load(folder / "training.pt", map_location="cpu", weights_only=True),
            progress=Progress(**json.loads((folder / "progress.json").read_text())),
        )


FILES = ("latest.safetensors", "best.safetensors", "training.pt", "progress.json")


def plain(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU that share no memory, as safetensors wants them and as later steps leave them alone."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in weights.items()}
