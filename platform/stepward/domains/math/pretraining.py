"""What this domain trains before it can label: the embedded proposer, by its recipe.

The work is in `proposer_training`, which needs torch; the wing is read without.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field

from stepward.core.artifacts import Artifact
from stepward.core.learning import Judged
from stepward.core.wing import Wing
from stepward.domains.math.recipe_stage import RecipeStage


class LanguagePretraining:
    """See `stepward.core.learning.Pretraining`."""

    name = "proposer"

    def fields(self, wing: Wing) -> dict[str, object]:
        """The recipe, and on what its solve rates are measured."""
        from stepward.domains.math.recipe import ProposerRecipe

        return {
            "recipe": (ProposerRecipe, Field(ProposerRecipe(), description="tokenizer, model and curriculum")),
            "num_problems": (
                int,
                Field(300, ge=1, description="validation problems on which solve rates are measured"),
            ),
            "num_samples": (int, Field(8, ge=1, description="solutions sampled of each, at temperature .8")),
        }

    def agree(self, settings: RecipeStage) -> None:
        """No setting contradicts another."""

    def inputs(self, settings: RecipeStage) -> Mapping[str, Artifact]:
        """The recipe makes its own documents."""
        return {}

    def check(self, settings: RecipeStage) -> None:
        """The recipe makes its own documents, so nothing can be missing."""

    def checkpoints(self, settings: RecipeStage, device: Any, **options: Any) -> Iterator[Any]:
        """Stage by stage."""
        from stepward.domains.math.proposer_training import train_recipe

        return train_recipe(settings.recipe, settings.seed, device=device, **options)

    def write(self, settings: RecipeStage, checkpoint: Any) -> Judged:
        """The model and its tokenizer; solve rates on validation problems."""
        from stepward.domains.math.acceptance import accepted
        from stepward.domains.math.proposer_training import MODEL, measure, write_model

        artifact, history = settings.artifact("pretrain"), checkpoint.progress.history
        write_model(settings, artifact, checkpoint.weights)
        metrics = measure(settings, artifact)
        metrics |= {"accepted": float(accepted(metrics)), "validation_loss": history[-1]["validation_loss"]}
        return Judged(
            metrics=metrics,
            rows={"documents": sum(stage.num_documents for stage in settings.recipe.stages)},
            facts={"tokens": int(sum(row["tokens"] for row in history))},
            content=(f"{MODEL}/model.safetensors",),
        )

    def describe(self, url: str, metrics: Mapping[str, float]) -> str:
        """Size, solve rates, and whether they are as wanted."""
        shown = ", ".join(f"{name} {metrics[name]:.3f}" for name in ("single", "majority", "pass"))
        verdict = "accepted" if metrics["accepted"] else "not accepted (see docs/embedded_proposer.md)"
        size = f"{int(metrics['num_parameters']):,} parameters"
        return f"{size}; validation solve rates: {shown}; {verdict}\n{url}/model"
