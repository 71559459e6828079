"""Settings of the train stage, without those that say where and how fast it runs."""

from __future__ import annotations

from typing import Any

from pydantic import Field, create_model, model_validator

from stepward.core.config import one_of, with_defaults
from stepward.core.stage import StageSettings
from stepward.core.wing import Fittable, Wing
from stepward.train.objectives import OBJECTIVES, Objective, SoftBCE
from stepward.train.optimisation import Optimisation
from stepward.train.subset import LabelSubset


class TrainSettings(StageSettings):
    """What is learned from which labels. `train_settings` narrows `learner` to a domain's own classes."""

    name: str = Field("prm", pattern=r"^[A-Za-z0-9._-]+$", description="name of the artifact to make")
    label: str = Field("default", description="name of the label artifact to learn from")
    subset: LabelSubset = Field(LabelSubset(), description="which of its training labels are learned from")
    learner: Any
    objective: Objective = Field(SoftBCE(), description="what the model is trained for")
    optimisation: Optimisation = Field(Optimisation(), description="gradient descent")

    @property
    def fitted_at_once(self) -> bool:
        """Whether the learner is fitted in one call, without gradient descent."""
        return isinstance(self.learner, Fittable)

    def identity(self) -> dict[str, Any]:
        """The settings that decide the weights; a learner fitted at once has no objective and no optimisation."""
        unused = {"objective", "optimisation"} if self.fitted_at_once else set()
        return {name: value for name, value in super().identity().items() if name not in unused}

    @model_validator(mode="after")
    def _no_setting_without_effect(self) -> TrainSettings:
        useless = {"objective", "optimisation"} & self.model_fields_set
        if self.fitted_at_once and useless:
            raise ValueError(
                f"the learner {self.learner.kind!r} is fitted in one call, so {sorted(useless)} would have no effect; "
                "leave them out"
            )
        return self


def train_settings(wing: Wing, base: type[TrainSettings] = TrainSettings) -> type[TrainSettings]:
    """`base` with the learners of a domain as a typed field.

    Raises:
        ValueError: the domain has no learner.
    """
    if not wing.learners:
        raise ValueError(f"Domain {wing.name!r} has no reward model that is learned, so there is nothing to train.")
    first = next(iter(wing.learners.values()))
    descent = with_defaults(Optimisation, wing.defaults.optimisation if wing.labels == "continuations" else {})
    objective = OBJECTIVES[wing.defaults.objective]
    fields: dict[str, Any] = {
        "domain": (str, Field(wing.name, description="which domain: the name of an installed wing")),
        "learner": (one_of(wing.learners), Field(first(), description="the reward model that is learned")),
        "objective": (
            Objective,
            Field(objective(), description="what the model is trained for"),
        ),
        "optimisation": (descent, Field(descent(), description="gradient descent")),
    }
    if wing.labels == "rankings":
        from stepward.train.rankings import ranking_fields  # needs the domain's networks

        fields |= ranking_fields(wing)
    return create_model("TrainSettings", __base__=base, __module__=__name__, **fields)
