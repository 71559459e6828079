"""Settings of the train stage, without those that say where and how fast it runs."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import Field, create_model, model_validator

from stepward.core.config import NAME, one_of
from stepward.core.learning import Learning
from stepward.core.stage import StageSettings
from stepward.core.wing import Fittable, Wing
from stepward.train.counts import CountLearning

T = TypeVar("T", bound="TrainSettings")


class TrainSettings(StageSettings):
    """What is learned from which labels. `train_settings` narrows the last four fields to a domain's own classes."""

    name: str = Field("prm", pattern=NAME, description="name of the artifact to make")
    label: str = Field("default", description="name of the label artifact to learn from")
    subset: Any
    learner: Any
    objective: Any
    optimisation: Any

    @property
    def learning(self) -> Learning:
        """How the learner learns from the labels."""
        return learning_of(self.wing)

    @property
    def fitted_at_once(self) -> bool:
        """Whether the learner is fitted in one call, without gradient descent."""
        return isinstance(self.learner, Fittable)

    def settled(self: T) -> T:
        """The same, with what the learner leaves to the proposer whose labels it learns from, such as the prompt.

        Raises:
            ValueError: there are no such labels.
        """
        if not hasattr(self.learner, "follow"):
            return self
        policy = self.artifact("label", self.label).open().identity["proposer"]
        return self.model_copy(update={"learner": self.learner.follow(policy)})

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


def learning_of(wing: Wing) -> Learning:
    """How reward models of a domain learn: as the wing says, or else from counts."""
    return wing.learning or CountLearning()


def train_settings(wing: Wing, base: type[TrainSettings] = TrainSettings) -> type[TrainSettings]:
    """`base` with the learners of a domain as a typed field, and the fields of its kind of label.

    Raises:
        ValueError: the domain has no learner.
    """
    if not wing.learners:
        raise ValueError(f"Domain {wing.name!r} has no reward model that is learned, so there is nothing to train.")
    first = next(iter(wing.learners.values()))
    fields: dict[str, Any] = {
        "domain": (str, Field(wing.name, description="which domain: the name of an installed wing")),
        "learner": (one_of(wing.learners), Field(first(), description="the reward model that is learned")),
        **learning_of(wing).fields(wing),
    }
    return create_model("TrainSettings", __base__=base, __module__=__name__, **fields)
