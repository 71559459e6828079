"""Making the embedded proposer of the math domain: its recipe under Ray Train and accelerate.

The loop is `stepward.train.language_model`, which knows nothing of Ray: this file gives it workers and checkpoints. A
stopped run goes on from its last stage when the same command is given again.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from stepward.core.artifacts import NAME, Artifact, Manifest
from stepward.core.seeding import Rng
from stepward.core.stage import StageSettings
from stepward.core.wing import Wing
from stepward.domains.math.recipe import ProposerRecipe, encode_documents, prompt_lengths
from stepward.runtime.cluster import ClusterSettings, connect
from stepward.runtime.tracking import Tracking, track
from stepward.runtime.training import TrainingError, TrainPool, has_checkpoint

logger = logging.getLogger("stepward.pretrain")

MODEL = "model"  # folder of the artifact, as `save_pretrained` writes it


class PretrainJob(StageSettings):
    """All settings of jobs/pretrain.py."""

    domain: Literal["math"] = Field("math", description="the domain whose proposer is trained by the project")
    name: str = Field("proposer", pattern=NAME, description="name of the artifact to make")
    recipe: ProposerRecipe = Field(ProposerRecipe(), description="tokenizer, model and curriculum")
    num_problems: int = Field(300, ge=1, description="validation problems on which solve rates are measured")
    num_samples: int = Field(8, ge=1, description="solutions sampled of each, at temperature .8")
    pool: TrainPool = Field(TrainPool(), description="workers and retries")
    cluster: ClusterSettings = Field(ClusterSettings(), description="which Ray cluster does the work")
    tracking: Tracking = Field(Tracking(), description="where the finished artifact is logged")


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
        shown = ", ".join(f"{name} {self.metrics[name]:.3f}" for name in ("single", "majority", "pass"))
        verdict = "accepted" if self.metrics["accepted"] else "not accepted (see docs/embedded_proposer.md)"
        size = f"{int(self.metrics['num_parameters']):,} parameters"
        return f"{made}: {size}; validation solve rates: {shown}; {verdict}\n{self.url}/{MODEL}"


def pretrain_settings(wing: Wing) -> type[PretrainJob]:
    """Settings of the job for a domain with a language model."""
    return PretrainJob


def run_pretrain(settings: PretrainJob) -> Pretrained:
    """Make or finish a proposer, and track it. A finished one is returned at once.

    Raises:
        ValueError: the artifact is of other settings.
        TrainingError: workers died more often than `pool.max_failures`, or the training itself raised.
    """
    started = time.monotonic()
    artifact, identity = settings.artifact("pretrain"), settings.identity()
    with artifact.claim(identity, overwrite=settings.overwrite, worth=lambda: has_checkpoint(artifact)) as was_finished:
        if not was_finished:
            with connect(settings.cluster):
                history = _train_on_ray(settings, artifact)
            _finish(settings, artifact, history, started)
    manifest = artifact.open()
    track(artifact, settings.tracking)
    metrics = artifact.folder.read_json("metrics.json")
    return Pretrained(artifact.url, manifest, metrics, time.monotonic() - started, was_finished)


def _train_on_ray(settings: PretrainJob, artifact: Artifact) -> list[dict[str, float]]:
    """Train, write the model into the artifact, and return the history: metrics of every stage."""
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    from stepward.train import Checkpoint

    pool, folder = settings.pool.resolve(), artifact.folder
    values = {"recipe": settings.recipe.model_dump(mode="json"), "seed": settings.seed}
    trainer = TorchTrainer(
        pretrain,
        train_loop_config={**values, "threads": max(int(pool.cpus_per_worker or 1), 1)},
        scaling_config=ScalingConfig(
            num_workers=pool.num_workers,
            use_gpu=bool(pool.use_gpu),
            resources_per_worker={"CPU": pool.cpus_per_worker} | ({"GPU": 1} if pool.use_gpu else {}),
        ),
        run_config=RunConfig(
            name="run",
            storage_path=folder.url if "://" in folder.url else folder.path,
            failure_config=FailureConfig(max_failures=pool.max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
        ),
    )
    logging.getLogger("ray.train").setLevel(logging.ERROR)
    try:
        result = trainer.fit()
    except Exception as error:  # Ray wraps whatever a worker raised in errors of its own
        raise TrainingError(
            f"Pretraining stopped: {error}\nFinished stages are kept in {artifact.url}. Mend the cause, then run the "
            "same command again: it goes on where it stopped."
        ) from error
    with result.checkpoint.as_directory() as place:
        checkpoint = Checkpoint.load(place)
    _write_model(settings, artifact, checkpoint.weights)
    return checkpoint.progress.history


def pretrain(config: dict[str, Any]) -> None:
    """The function Ray Train runs on every worker. `config`: recipe, seed, and threads of a CPU worker."""
    import ray.train
    import torch
    from accelerate import Accelerator

    from stepward.train import Checkpoint

    torch.set_num_threads(config["threads"])
    found, start = ray.train.get_checkpoint(), None
    if found is not None:
        with found.as_directory() as place:
            start = Checkpoint.load(place)
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    recipe = ProposerRecipe.model_validate(config["recipe"])
    for checkpoint in train_recipe(recipe, config["seed"], start=start, accelerator=accelerator):
        metrics = checkpoint.progress.history[-1]
        if ray.train.get_context().get_world_rank():
            ray.train.report(metrics)
            continue
        with tempfile.TemporaryDirectory() as place:
            checkpoint.save(place)
            ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(place))


def train_recipe(recipe: ProposerRecipe, seed: int, **options: Any) -> Any:
    """Checkpoints of a recipe, stage by stage, without Ray; `options` are those of `train_stages`."""
    from stepward.domains.math.language_model import LanguageStage, train_stages
    from stepward.train import Optimisation
    from stepward.train.loop import seeded_module

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
        seeded_module(lambda: recipe.model(tokenizer), seed),
        stages,
        held_out,
        validation_prompts=prompt_lengths(tokenizer, held_out),
        pad_token=tokenizer.pad_token_id,
        seed=seed,
        **options,
    )


def _write_model(settings: PretrainJob, artifact: Artifact, weights: dict[str, Any]) -> None:
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


def _finish(settings: PretrainJob, artifact: Artifact, history: list[dict[str, float]], started: float) -> None:
    from stepward.domains.math.acceptance import accepted

    metrics = _measure(settings, artifact)
    metrics |= {"accepted": float(accepted(metrics)), "validation_loss": history[-1]["validation_loss"]}
    folder = artifact.folder
    folder.write_json("metrics.json", metrics)
    rows = [{"step": int(row["epoch"]), **{k: v for k, v in row.items() if k != "epoch"}} for row in history]
    folder.write_table("history.parquet", pa.Table.from_pylist(rows))
    digest = hashlib.sha256(folder.read_bytes(f"{MODEL}/model.safetensors")).hexdigest()[:16]
    artifact.finish(
        identity=settings.identity(),
        seed=settings.seed,
        digest=digest,
        rows={"documents": sum(stage.num_documents for stage in settings.recipe.stages)},
        cost={"seconds": time.monotonic() - started},
        facts={"num_parameters": int(metrics["num_parameters"]), "tokens": int(sum(row["tokens"] for row in history))},
        scratch=("run",),  # checkpoints
    )


def _measure(settings: PretrainJob, artifact: Artifact) -> dict[str, float]:
    """Solve rates and error rates of the model on validation problems."""
    from stepward.domains.math.acceptance import error_rates, sampling_metrics
    from stepward.domains.math.data import problem_table
    from stepward.domains.math.settings import LanguageModelSettings
    from stepward.domains.math.states import math_states
    from stepward.domains.math.synthetic import WordProblemFamily
    from stepward.domains.math.verifier import AnswerVerifier

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
