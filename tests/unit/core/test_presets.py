"""Presets: found without importing a domain, written out before the other settings, with their arguments filled in."""

import pytest

from stepward.core.config import parse_config
from stepward.core.presets import expanded, presets
from stepward.core.wing import find_wing
from stepward.runtime.experiment_settings import experiment_job, settings_of

REAL = ["preset=real", "model=my model", "problems=svamp", "--data=SVAMP.json"]


def test_every_shipped_preset_is_an_experiment() -> None:
    assert {"real", "paper", "scarce"} <= set(presets())
    for name in presets():
        settings = expanded([f"preset={name}"])
        domain = next(setting.partition("=")[2].strip('"') for setting in settings if setting.startswith("domain="))
        given = REAL[1:] if name == "real" else []
        assert parse_config(experiment_job(find_wing(domain)), expanded([f"preset={name}", *given])).domain == domain


def test_settings_of_the_command_line_win_over_the_preset() -> None:
    plain = ["name=mine", "label.problems.num_train=7", "evaluate.split=validation"]
    settings = parse_config(experiment_job(find_wing("math")), expanded([*REAL, *plain]))
    assert (settings.name, settings.label.problems.num_train, settings.evaluate.split) == ("mine", 7, "validation")
    assert settings.label.problems.path == "SVAMP.json" and settings.label.proposer.prompt.endswith("\nAnswer:\n")
    assert expanded(plain) == plain
    with pytest.raises(ValueError, match=r"Unknown preset 'reel'.*Did you mean 'real'"):
        expanded(["preset=reel"])


def test_model_and_prompt_are_said_once() -> None:
    """What samples partial solutions is the proposer that is labelled; what learners read is its prompt."""
    settings = parse_config(experiment_job(find_wing("math")), expanded(REAL))
    label = settings_of(settings, "label")
    assert label.miner.model == label.proposer and label.identity()["mining"]["model"] is None
    learner, policy = settings.prm.learner, label.identity()["proposer"]
    assert learner.follow(policy).model.reading == label.proposer.reading
    assert learner.follow(policy).follow({"model": "another"}) == learner.follow(policy)
    text = find_wing("math").learners["text"]
    assert text().follow(policy).prompt == label.proposer.prompt and text(prompt="{question}").prompt == "{question}"
