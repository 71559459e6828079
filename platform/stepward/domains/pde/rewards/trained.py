"""Reward models from storage: ``reward.json`` says which learner, ``weights.safetensors`` fills it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field

from stepward.core.config import Config, validate
from stepward.core.interfaces import Domain, RewardModel
from stepward.core.registry import lookup, plugins
from stepward.core.storage import Folder
from stepward.domains.pde.rewards.cnn import CNNSettings
from stepward.domains.pde.rewards.feature_critic import FeatureCriticSettings

DESCRIPTION, WEIGHTS = "reward.json", "weights.safetensors"
LEARNERS: dict[str, type[Config]] = {"cnn": CNNSettings, "feature_critic": FeatureCriticSettings}


class TrainedSettings(Config):
    """A trained reward model, from the folder of a train artifact."""

    kind: Literal["saved"] = "saved"
    folder: str = Field("artifacts/pde/train/prm", description="folder or URL of a trained reward model")

    def build(self, domain: Domain) -> RewardModel:
        """The reward model with the weights of that folder."""
        return load_reward(self.folder)


def save_reward(folder: Folder, learner: Any, module: torch.nn.Module) -> None:
    """Write weights and settings."""
    folder.write_weights(WEIGHTS, {n: t.detach().cpu().numpy() for n, t in module.state_dict().items()})
    folder.write_json(DESCRIPTION, {"kind": learner.kind, "settings": learner.model_dump(mode="json"), "domain": "pde"})


def load_reward(url: str, learners: Mapping[str, type[Config]] | None = None) -> RewardModel:
    """The reward model of a folder.

    Raises:
        ValueError: there is none, its kind is not installed, or weights and settings are of different networks.
    """
    folder = Folder(url)
    for name in (DESCRIPTION, WEIGHTS):
        if not folder.exists(name):
            raise ValueError(
                f"{url}: expected a trained reward model, but there is no {name}. Train one (jobs/train.py)."
            )
    described = folder.read_json(DESCRIPTION)
    known = learners or (LEARNERS | plugins("learners.pde"))
    learner: Any = validate(lookup(known, described["kind"], kind="learner"), described["settings"])
    reward: RewardModel = learner.reward(folder.read_weights(WEIGHTS))
    return reward
