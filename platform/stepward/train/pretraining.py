"""Settings of the pretrain stage, and its finished artifact."""

from __future__ import annotations

import hashlib
import time
from typing import Any

from pydantic import Field, create_model, model_validator

from stepward.core.artifacts import Manifest
from stepward.core.config import NAME
from stepward.core.learning import Pretraining
from stepward.core.stage import StageSettings
from stepward.core.wing import Wing
from stepward.train.artifact import history_table
from stepward.train.checkpoints import Checkpoint

__all__ = ["PretrainSettings", "finish_pretraining", "pretrain_settings"]


class PretrainSettings(StageSettings):
    """What a domain trains before it can label; `pretrain_settings` adds the fields of the domain."""

    @property
    def pretraining(self) -> Pretraining:
        """The domain's own."""
        return pretraining_of(self.wing)

    @model_validator(mode="after")
    def _agree(self) -> PretrainSettings:
        self.pretraining.agree(self)
        return self


def pretraining_of(wing: Wing) -> Pretraining:
    """What a domain pretrains.

    Raises:
        ValueError: nothing.
    """
    if wing.pretraining is None:
        raise ValueError(f"Domain {wing.name!r} has nothing that is pretrained: start with jobs/label.py.")
    return wing.pretraining


def pretrain_settings(wing: Wing, base: type[PretrainSettings] = PretrainSettings) -> type[PretrainSettings]:
    """`base` with the fields of a domain.

    Raises:
        ValueError: the domain has nothing to pretrain.
    """
    kind = pretraining_of(wing)
    fields: dict[str, Any] = {
        "domain": (str, Field(wing.name, description="which domain: the name of an installed wing")),
        "name": (str, Field(kind.name, pattern=NAME, description="name of the artifact to make")),
        **kind.fields(wing),
    }
    return create_model("PretrainSettings", __base__=base, __module__=__name__, **fields)


def finish_pretraining(settings: PretrainSettings, checkpoint: Checkpoint, started: float) -> Manifest:
    """Write everything a pretrain artifact holds; `started` is the monotonic time at which the stage began."""
    artifact, folder, kind = settings.artifact("pretrain"), settings.artifact("pretrain").folder, settings.pretraining
    judged = kind.write(settings, checkpoint)
    folder.write_json("metrics.json", judged.metrics)
    folder.write_table("history.parquet", history_table(checkpoint.progress.history))
    return artifact.finish(
        identity=settings.identity(),
        seed=settings.seed,
        digest=hashlib.sha256(b"".join(folder.read_bytes(name) for name in judged.content)).hexdigest()[:16],
        inputs=kind.inputs(settings),
        rows=judged.rows,
        cost={"seconds": time.monotonic() - started},
        facts={"num_parameters": int(judged.metrics["num_parameters"]), **judged.facts},
        scratch=("run*",),  # checkpoints
    )
