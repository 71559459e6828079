"""Presets are settings of jobs/experiment.py and say what they promise."""

from pathlib import Path

import pytest

import stepward.domains.pde
from stepward.core.config import parse_config
from stepward.core.wing import find_wing
from stepward.runtime.experiment import stages
from stepward.runtime.experiment_settings import experiment_job

PRESETS = Path(stepward.domains.pde.__file__).parent / "presets"


def preset(name):
    return parse_config(experiment_job(find_wing("pde")), [str(PRESETS / f"{name}.yaml")])


@pytest.mark.parametrize("name", [path.stem for path in sorted(PRESETS.glob("*.yaml"))])
def test_a_preset_is_a_valid_experiment_under_its_own_name_all_of_one_set_of_trajectories(name):
    settings = preset(name)
    plan = {stage.title: stage for stage in stages(settings)}
    assert settings.name == name and all(name in stage.artifact.url for stage in plan.values())
    assert settings.label.problems.num_train == {"hidden": 64, "regime": 8}.get(name, 16)
    pretraining = [stage.settings for title, stage in plan.items() if title.startswith("Pretrain")]
    mine = [p for p in pretraining if p.problems.families != ("riemann",)]  # not of the old regime
    assert len(pretraining) >= 2 and mine and all(p.problems == settings.label.problems for p in mine)


def test_the_papers_preset_is_the_papers_configuration():
    settings = preset("paper")
    assert settings.pretrain.surrogate.kind == "vit" and settings.pretrain.surrogate.dropout > 0
    assert settings.label.proposer.kind == "dropout" and settings.evaluate.proposer.kind == "dropout"
    learner = settings.prm.learner
    assert (learner.inputs, learner.padding, learner.width, learner.depth) == ("raw", "zeros", 64, 6)
    assert settings.prm.objective.kind == "two_hinge" and settings.prm.objective.margin == 0.1
    assert not settings.evaluate.arms["prm"].search  # greedy


def test_the_critic_is_no_weak_baseline():
    """It has thrice the passes of the PRM, which is what it takes to converge; the optimisation is else the same."""
    settings = parse_config(experiment_job(find_wing("pde")), [])
    prm, critic = settings.prm.optimisation.model_dump(), settings.critic.optimisation.model_dump()
    assert critic.pop("num_epochs") == 3 * prm.pop("num_epochs") and critic == prm
