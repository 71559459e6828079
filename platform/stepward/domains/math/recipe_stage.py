"""Settings of the pretraining of the embedded proposer, as those see them who read them; needs no torch."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from stepward.core.artifacts import Artifact


@runtime_checkable
class RecipeStage(Protocol):
    """Settings of a pretraining with the fields of `LanguagePretraining`."""

    seed: int
    recipe: Any
    num_problems: int
    num_samples: int

    def artifact(self, stage: str, name: str | None = None) -> Artifact:
        """The artifact of a stage in the store of these settings."""
        ...
