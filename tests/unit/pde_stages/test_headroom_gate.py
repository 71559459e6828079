"""The gate in front of the train stage: labels whose best candidate cannot help are refused before workers start."""

from pathlib import Path

import pytest

from stepward.core.artifacts import Artifact
from stepward.core.config import override
from stepward.core.wing import find_wing
from stepward.domains.pde.learning import SPLITS, require_headroom
from stepward.train import train_settings

BASES = ("deterministic", "mean_of_k", "constant", "read_off_state")


def measured(gains: dict[str, float], error: float = 0.01) -> dict[str, float]:
    """Metrics of labels that report these headrooms."""
    return {f"headroom_over_{name}.train": gain for name, gain in gains.items()} | {
        f"headroom_over_{name}_se.train": error for name in gains
    }


def test_candidates_with_headroom_against_both_baselines_pass() -> None:
    require_headroom(measured(dict.fromkeys(BASES, 0.05)), 0.01)


@pytest.mark.parametrize("poor", BASES)
def test_one_baseline_that_cannot_be_beaten_is_enough_to_refuse(poor: str) -> None:
    """Two standard errors count against the candidates: 2.5 % ± 2 % is not more than 1 %."""
    labels = measured(dict.fromkeys(BASES, 0.05) | {poor: 0.025})
    with pytest.raises(ValueError, match=rf"against {poor.replace('_', ' ')}, got 2.5% ± 2.0%.*min_headroom=-1"):
        require_headroom(labels, 0.01)
    require_headroom(labels, -1)


def test_the_stage_reads_what_the_labels_report(store: Path) -> None:
    labels = Artifact(str(store), "pde", "label", "default").folder
    gains = [labels.read_json("metrics.json")[f"headroom_over_{name}.train"] for name in BASES]

    def check(least: float) -> None:
        settings = override(train_settings(find_wing("pde")), {"store": str(store), "min_headroom": least}, {})
        settings.learning.check(settings)

    with pytest.raises(ValueError, match="cannot help"):
        check(max(gains))
    check(-1)


@pytest.mark.parametrize(("learner", "weight"), [("cnn", 1.0), ("feature_critic", 0.0)])
def test_the_job_trains_by_the_published_recipe(store: Path, learner: str, weight: float) -> None:
    """With the objective on patches where the network has a map of scores: the table of flow fields was made so."""
    settings = override(train_settings(find_wing("pde")), {"store": str(store), "learner": {"kind": learner}}, {})
    task = settings.learning.task(settings, *(settings.learning.read(settings, split) for split in SPLITS), "cpu")
    assert (task.fit.patch_weight, task.fit.num_epochs, task.fit.learning_rate) == (weight, 10, 1e-3)
