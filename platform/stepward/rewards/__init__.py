"""Reward models and what turns their scores into values, for any domain.

`Composite`, `Ensemble`, `Lookahead` and `Calibrated` are made of other reward models; only those are charged.
"""

from stepward.rewards.calibrated import Calibrated
from stepward.rewards.composite import Composite, Part
from stepward.rewards.ensemble import Ensemble
from stepward.rewards.lookahead import Lookahead

__all__ = ["Calibrated", "Composite", "Ensemble", "Lookahead", "Part"]
