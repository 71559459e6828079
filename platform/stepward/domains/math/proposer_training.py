"""Training the embedded proposer by its recipe, writing it, and measuring what it solves."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Unpack

import torch

from stepward.core.artifacts import Artifact
from stepward.core.seeding import Rng
from stepward.domains.math.acceptance import error_rates, sampling_metrics
from stepward.domains.math.data import problem_table
from stepward.domains.math.language_model import LanguageStage, train_stages
from stepward.domains.math.recipe import ProposerRecipe, encode_documents, prompt_lengths
from stepward.domains.math.recipe_stage import RecipeStage
from stepward.domains.math.settings import LanguageModelSettings
from stepward.domains.math.states import math_states
from stepward.domains.math.synthetic import WordProblemFamily
from stepward.domains.math.verifier import AnswerVerifier
from stepward.train import Checkpoint, Optimisation, seeded_module
from stepward.train.trainer import Options

__all__ = ["MODEL", "measure", "train_recipe", "write_model"]

MODEL = "model"  # folder of the artifact, as `save_pretrained` writes it


def train_recipe(
    recipe: ProposerRecipe, seed: int, *, device: torch.device | str = "cpu", **options: Unpack[Options]
) -> Iterator[Checkpoint]:
    """Checkpoints of a recipe, stage by stage, without Ray; `options` are those of `train_stages`."""
    tokenizer = recipe.tokenizer(seed)
    stages = []
    for number, stage in enumerate(recipe.stages):
        rows = encode_documents(tokenizer, recipe.documents(number, seed))
        optimisation = Optimisation(
            num_epochs=1,
            batch_size=recipe.batch_size,
            learning_rate=stage.learning_rate,
            warmup_fraction=recipe.warmup_fraction,
            final_fraction=recipe.final_fraction,
        )
        prompts = None if stage.learn_questions else prompt_lengths(tokenizer, rows)
        stages.append(LanguageStage(rows, optimisation, prompts))
    held_out = encode_documents(tokenizer, recipe.validation_documents(seed))
    return train_stages(
        seeded_module(lambda: recipe.model(tokenizer), seed).to(device),
        stages,
        held_out,
        validation_prompts=prompt_lengths(tokenizer, held_out),
        pad_token=tokenizer.pad_token_id,
        seed=seed,
        **options,
    )


def write_model(settings: RecipeStage, artifact: Artifact, weights: Mapping[str, torch.Tensor]) -> None:
    """The model and its tokenizer as `save_pretrained` writes them, on whatever storage the artifact has."""
    tokenizer = settings.recipe.tokenizer(settings.seed)
    model = settings.recipe.model(tokenizer)
    model.load_state_dict(weights)
    with tempfile.TemporaryDirectory() as place:
        model.save_pretrained(place)
        tokenizer.save_pretrained(place)
        for path in sorted(Path(place).iterdir()):
            artifact.folder.write_bytes(f"{MODEL}/{path.name}", path.read_bytes())
    described = {"recipe": settings.recipe.model_dump(mode="json"), "seed": settings.seed}
    artifact.folder.write_json(f"{MODEL}/recipe.json", described)


def measure(settings: RecipeStage, artifact: Artifact) -> dict[str, float]:
    """Solve rates and error rates of the model on validation problems."""
    with tempfile.TemporaryDirectory() as place:
        for name in artifact.folder.files(MODEL):
            (Path(place) / Path(name).name).write_bytes(artifact.folder.read_bytes(f"{MODEL}/{Path(name).name}"))
        proposer = LanguageModelSettings(model=place).build()
    problems = list(WordProblemFamily().problems(settings.seed, "validation", settings.num_problems))
    metrics, samples = sampling_metrics(
        proposer,
        AnswerVerifier(),
        math_states(problem_table(problems)),
        num_samples=settings.num_samples,
        rng=Rng.from_ids(settings.seed, [problem.id for problem in problems], "acceptance"),
    )
    return metrics | error_rates(problems, samples) | {"num_parameters": float(proposer.num_parameters)}
