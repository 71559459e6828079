"""One small store for the tests of this folder."""

from pathlib import Path

import pytest

from pde_artifacts import do_all, make_pretrained, make_rankings, make_reward, rollout_settings_of
from stepward.evaluate.work import EvaluateWork


@pytest.fixture(scope="package")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A surrogate, rankings, and a reward model."""
    root = tmp_path_factory.mktemp("pde")
    make_pretrained(root)
    make_rankings(root)
    make_reward(root)
    return root


@pytest.fixture(scope="package")
def done(store: Path) -> EvaluateWork:
    """An evaluation of which every item is done."""
    return do_all(rollout_settings_of(store))
