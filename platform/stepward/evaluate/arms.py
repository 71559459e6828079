"""Arms of an evaluation: the guides that are compared, each a reward model built from plain settings.

A guide is a reward model that needs no training (a kind of the wing), or a trained one, by the name of its artifact:

    guides:
      prm: {kind: trained, artifact: prm, calibration: temperature}
      distance: {kind: distance}
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from stepward.core.config import Config, validate
from stepward.core.interfaces import RewardModel
from stepward.core.registry import lookup
from stepward.core.storage import Folder
from stepward.core.wing import Wing
from stepward.rewards.calibration import Calibrator, calibrator_from_dict

Calibration = Literal["none", "temperature", "isotonic"]


class TrainedGuide(Config):
    """A reward model from a finished train artifact of the same store and domain."""

    kind: Literal["trained"] = "trained"
    artifact: str = Field(description="name of the train artifact")
    calibration: Calibration = Field(
        "none", description="calibration fitted on the validation split to apply to its scores"
    )


class Calibrated:
    """A reward model whose scores pass through a calibrator."""

    def __init__(self, inner: RewardModel, calibrator: Calibrator) -> None:
        self.inner, self.calibrator = inner, calibrator
        self.num_parameters = inner.num_parameters
        if hasattr(inner, "charged_tokens"):
            self.charged_tokens = inner.charged_tokens

    def score(self, parents: Any, children: Any) -> Float[np.ndarray, " n"]:
        """Calibrated probabilities."""
        return self.calibrator.apply(self.inner.score(parents, children))


def load_trained(folder: Folder, wing: Wing, calibration: Calibration = "none") -> RewardModel:
    """The reward model of a train artifact.

    Args:
        folder: of the artifact, with weights.safetensors, reward.json and, for a calibration, calibration.json.
        wing: the domain it was trained for.
        calibration: which of the fitted calibrations to apply.

    Raises:
        ValueError: the artifact is of another domain, of a kind the wing does not know, or lacks the calibration.
    """
    described = folder.read_json("reward.json")
    if described["domain"] != wing.name:
        raise ValueError(f"{folder.url}: expected a reward model of domain {wing.name!r}, got {described['domain']!r}.")
    learner = lookup(wing.learners, described["kind"], kind="learner")
    reward = validate(learner, described["settings"]).reward(folder.read_weights("weights.safetensors"))
    if calibration == "none":
        return reward
    fitted = folder.read_json("calibration.json") if folder.exists("calibration.json") else {}
    return Calibrated(reward, calibrator_from_dict(lookup(fitted, calibration, kind="calibration of this artifact")))
