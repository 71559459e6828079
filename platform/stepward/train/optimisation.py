"""Settings of gradient descent, and the learning rate of every step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field, model_validator

from stepward.core.config import Config
from stepward.train.sampling import Sampling


class Descent(Config):
    """What the training loop asks of any settings of gradient descent, plain AdamW by default."""

    learning_rate: float = Field(1e-3, gt=0, description="at its peak")
    weight_decay: float = Field(0.01, ge=0, description="of AdamW, in units of the learning rate")
    max_grad_norm: float | None = Field(
        None, gt=0, description="norm to which larger gradients are clipped; none: no clipping"
    )
    mixed_precision: bool = Field(False, description="bfloat16 on GPUs; CPUs compute in float32 always")
    accumulate: int = Field(
        1, ge=1, description="pieces in which a worker computes its share of a minibatch, where memory is short"
    )

    def rate(self, step: int, num_steps: int) -> float:
        """Learning rate of step 0 … num_steps − 1: a function of the step, so that there is no scheduler to restore."""
        return self.learning_rate * (1 + math.cos(math.pi * step / num_steps)) / 2

    def optimiser(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """AdamW over parameters."""
        return torch.optim.AdamW(parameters, lr=self.learning_rate, weight_decay=self.weight_decay)


class Optimisation(Descent):
    """AdamW with a warm-up and a cosine decay (Loshchilov and Hutter 2019, "Decoupled weight decay regularization")."""

    num_epochs: int = Field(30, ge=1, description="passes over the training rows, at most")
    batch_size: int = Field(512, ge=1, description="rows a step, over all workers together")
    learning_rate: float = Field(3e-3, gt=0, description="at its peak")
    weight_decay: float = Field(0.01, ge=0, description="decay of weights a step, in units of the learning rate")
    warmup_fraction: float = Field(0.1, ge=0, lt=1, description="share of all steps in which the rate rises from 0")
    final_fraction: float = Field(0.0, ge=0, le=1, description="rate at the end, as a share of the peak")
    max_grad_norm: float | None = Field(
        1.0, gt=0, description="norm to which larger gradients are clipped; none: no clipping"
    )
    patience: int = Field(
        0, ge=0, description="epochs without a better validation loss after which training ends; 0: never"
    )
    keep: Literal["best", "last"] = Field(
        "best",
        description="weights to keep: those of the lowest validation loss, or the last, for objectives it cannot judge",
    )
    sampling: Sampling = Field(Sampling(), description="which rows an epoch visits, and how much they count")
    mixed_precision: bool = Field(True, description="bfloat16 forward passes on GPUs; CPUs compute in float32 always")

    @model_validator(mode="after")
    def _no_setting_without_effect(self) -> Optimisation:
        if self.keep == "last" and self.patience:
            raise ValueError("keep='last': patience would have no effect; leave it out")
        return self

    def rate(self, step: int, num_steps: int) -> float:
        """Learning rate of step 0 … num_steps − 1."""
        warmup = self.warmup_fraction * num_steps
        if step < warmup:
            return self.learning_rate * (step + 1) / (warmup + 1)
        done = (step - warmup) / max(num_steps - warmup, 1)
        cosine = (1 + math.cos(math.pi * done)) / 2
        return self.learning_rate * (self.final_fraction + (1 - self.final_fraction) * cosine)

    def optimiser(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """AdamW over parameters; biases and other vectors are not decayed."""
        wanted = list(parameters)
        groups = [
            {"params": [p for p in wanted if p.ndim >= 2], "weight_decay": self.weight_decay},
            {"params": [p for p in wanted if p.ndim < 2], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW([g for g in groups if g["params"]], lr=self.learning_rate, fused=True)
