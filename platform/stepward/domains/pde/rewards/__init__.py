"""Reward models of surrogate rollouts: learned, analytical, and the simple ones they have to beat."""

from stepward.core.config import Config
from stepward.core.interfaces import WORST
from stepward.domains.pde.rewards.arm import ARM, ARMSettings
from stepward.domains.pde.rewards.cnn import CNNReward, CNNSettings
from stepward.domains.pde.rewards.feature_critic import FeatureCriticReward, FeatureCriticSettings
from stepward.domains.pde.rewards.fitting import RankedCandidates, RewardFit, fit_reward, score_candidates
from stepward.domains.pde.rewards.look_back import LookBack, LookBackSettings
from stepward.domains.pde.rewards.physics import PhysicsReward, PhysicsSettings
from stepward.domains.pde.rewards.simple import (
    NearDeterministicSettings,
    NearMeanSettings,
    NoRewardSettings,
    RandomSettings,
)
from stepward.domains.pde.rewards.trained import LEARNERS, TrainedSettings, load_reward, save_reward

REWARDS: dict[str, type[Config]] = {
    "arm": ARMSettings,
    "physics": PhysicsSettings,
    "look_back": LookBackSettings,
    "near_deterministic": NearDeterministicSettings,
    "near_mean": NearMeanSettings,
    "random": RandomSettings,
    "none": NoRewardSettings,
}

__all__ = [
    "ARM",
    "LEARNERS",
    "REWARDS",
    "WORST",
    "ARMSettings",
    "CNNReward",
    "CNNSettings",
    "FeatureCriticReward",
    "FeatureCriticSettings",
    "LookBack",
    "LookBackSettings",
    "NearDeterministicSettings",
    "NearMeanSettings",
    "NoRewardSettings",
    "PhysicsReward",
    "PhysicsSettings",
    "RandomSettings",
    "RankedCandidates",
    "RewardFit",
    "TrainedSettings",
    "fit_reward",
    "load_reward",
    "save_reward",
    "score_candidates",
]
