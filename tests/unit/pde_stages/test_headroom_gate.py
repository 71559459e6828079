"""The gate in front of the train stage: labels whose best candidate cannot help are refused before workers start."""

from pathlib import Path

import pytest

from stepward.core.artifacts import Artifact
from stepward.core.config import override
from stepward.core.storage import Folder
from stepward.core.wing import find_wing
from stepward.runtime.rank_learning import check
from stepward.train import train_settings

BASES = ("deterministic", "mean_of_k")


def settings_of(store: Path, **changes):
    return override(train_settings(find_wing("pde")), {"store": str(store)} | changes, {})


def measured(folder: Path, gains: dict[str, float], error: float = 0.01) -> Folder:
    """Labels that report these headrooms."""
    made = Folder(str(folder))
    made.write_json(
        "metrics.json",
        {f"headroom_over_{name}.train": gain for name, gain in gains.items()}
        | {f"headroom_over_{name}_se.train": error for name in gains},
    )
    return made


def test_candidates_with_headroom_against_both_baselines_pass(store: Path, tmp_path: Path) -> None:
    check(settings_of(store, min_headroom=0.01), measured(tmp_path, dict.fromkeys(BASES, 0.05)))


@pytest.mark.parametrize("poor", BASES)
def test_one_baseline_that_cannot_be_beaten_is_enough_to_refuse(store: Path, tmp_path: Path, poor: str) -> None:
    """Two standard errors count against the candidates: 2.5 % ± 2 % is not more than 1 %."""
    labels = measured(tmp_path, dict.fromkeys(BASES, 0.05) | {poor: 0.025})
    with pytest.raises(ValueError, match=rf"against {poor.replace('_', ' ')}, got 2.5% ± 2.0%.*min_headroom=-1"):
        check(settings_of(store, min_headroom=0.01), labels)
    check(settings_of(store, min_headroom=-1), labels)


def test_the_label_stage_writes_what_the_gate_reads(store: Path) -> None:
    labels = Artifact(str(store), "pde", "label", "default").folder
    gains = [labels.read_json("metrics.json")[f"headroom_over_{name}.train"] for name in BASES]
    with pytest.raises(ValueError, match="cannot help"):
        check(settings_of(store, min_headroom=max(gains)), labels)
    check(settings_of(store, min_headroom=-1), labels)
