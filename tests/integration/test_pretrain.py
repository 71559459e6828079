"""The pretraining job: the recipe on Ray Train gives what the plain loop gives, on one worker and on two."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from stepward.core.wing import find_wing
from stepward.domains.math import LanguageModelSettings
from stepward.domains.math.proposer_training import train_recipe
from stepward.domains.math.recipe import CurriculumStage, ProposerRecipe
from stepward.runtime.pretraining import PretrainJob, pretrain_job, run_pretrain

RECIPE = ProposerRecipe(
    hidden_size=16,
    num_layers=1,
    num_heads=2,
    feedforward_size=24,
    context=256,
    batch_size=8,
    stages=[CurriculumStage(num_documents=40), CurriculumStage(num_documents=36, drill_share=0)],
    num_validation=8,
)


def job(store: Path, **pool: object) -> PretrainJob:
    return pretrain_job(find_wing("math"))(
        store=str(store),
        recipe=RECIPE,
        num_problems=3,
        num_samples=2,
        pool={"cpus_per_worker": 1, "use_gpu": False, **pool},
        tracking={"enabled": False},
    )


@pytest.mark.ray
def test_the_job_makes_what_the_plain_loop_makes(ray_cluster: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    made = run_pretrain(job(tmp_path))
    folder = tmp_path / "math" / "pretrain" / "proposer"
    weights = load_file(folder / "model" / "model.safetensors")
    *_, plain = train_recipe(RECIPE, 0)
    for name, value in weights.items():
        assert np.array_equal(value, plain.weights[name].numpy()), name
    assert made.metrics["validation_loss"] == pytest.approx(plain.progress.history[-1]["validation_loss"])
    assert made.manifest.rows == {"documents": 76}
    assert {path.name for path in folder.iterdir()} == {"model", "metrics.json", "history.parquet", "manifest.json"}
    assert "not accepted" in str(made) and str(folder) in str(made)
    assert LanguageModelSettings(model=str(folder / "model")).build().num_parameters == made.metrics["num_parameters"]
    again = run_pretrain(job(tmp_path))
    assert again.was_finished and again.manifest == made.manifest


@pytest.mark.slow
@pytest.mark.ray
def test_two_workers_share_every_batch(ray_cluster: str, tmp_path: Path) -> None:
    """Gradients averaged over two workers are those of one, so weights agree to rounding."""
    run_pretrain(job(tmp_path, num_workers=2))
    weights = load_file(tmp_path / "math" / "pretrain" / "proposer" / "model" / "model.safetensors")
    *_, plain = train_recipe(RECIPE, 0)
    for name, value in weights.items():
        assert np.allclose(value, plain.weights[name].numpy(), atol=2e-3), name
