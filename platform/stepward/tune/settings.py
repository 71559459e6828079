"""Settings of the tune stage, without those that say where and how fast it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, create_model

from stepward.core.config import Config, else_kind
from stepward.core.stage import StageSettings
from stepward.core.wing import Wing
from stepward.evaluate.trial import arm_trial_settings
from stepward.train import train_settings
from stepward.tune.places import default_space, space_values
from stepward.tune.space import Space, read_space

EPOCHS = "optimisation.num_epochs"
SPACE = "settings to try: a YAML file, or the name of a space that the domain brings"


class RandomSearch(Config):
    """Trials drawn before the sweep starts: the grid, and random values of all other dimensions."""

    kind: Literal["random"] = "random"
    num_samples: int = Field(16, ge=1, description="trials for every point of the grid; left out where all is grid: 1")


class OptunaSearch(Config):
    """Trials suggested by Optuna's tree-structured Parzen estimator, from those that ended before."""

    kind: Literal["optuna"] = "optuna"
    num_samples: int = Field(32, ge=1, description="trials")


class Asha(Config):
    """Stop trials that are behind (Li et al. 2020, "A system for massively parallel hyperparameter tuning").

    After g, gη, gη², … epochs a trial goes on only if it is among the best 1/η of those that came so far.
    """

    kind: Literal["asha"] = "asha"
    grace_epochs: int = Field(2, ge=1, description="g: epochs that every trial gets")
    reduction_factor: float = Field(3.0, gt=1, description="η: 3 or 4 is usual")


class RunAll(Config):
    """Every trial runs to its end."""

    kind: Literal["none"] = "none"


class Selection(Config):
    """How the winner is chosen among the trials, by validation loss."""

    rule: Literal["lowest", "one_standard_error"] = Field(
        "lowest", description="lowest loss; or the cheapest trial within one standard error of it"
    )


class TuneSettings(StageSettings):
    """What is swept and how the winner is chosen. `tune_settings` sets the defaults of a domain."""

    label: str = Field("default", description="name of the label artifact that all trials learn from")
    of: Literal["train", "searches"] = Field(
        "train",
        description="a trial is a training; or, with what is trained already, a search of the validation problems",
    )
    space: str = Field(description=SPACE)
    search: Annotated[RandomSearch | OptunaSearch, Field(discriminator="kind"), else_kind("random")] = Field(
        RandomSearch(), description="where trials come from"
    )
    scheduler: Annotated[Asha | RunAll, Field(discriminator="kind"), else_kind("asha")] = Field(
        Asha(), description="which trials are stopped early"
    )
    selection: Selection = Field(Selection(), description="the winner")

    def identity(self) -> dict[str, object]:
        """The settings, with the content of the space in place of its path."""
        return super().identity() | {"space": space_values(self.space, self.wing)}

    @property
    def train_class(self) -> type[StageSettings]:
        """Settings of a trial: of a train job of the domain, or of an arm."""
        return train_settings(self.wing) if self.of == "train" else arm_trial_settings(self.wing)

    def base(self) -> dict[str, object]:
        """Settings of the train job that are of the sweep, and not of its space."""
        shared = {name: getattr(self, name) for name in ("domain", "store", "seed")} | {"name": f"{self.name}-winner"}
        return shared | {"label" if self.of == "train" else "labels": self.label}


@dataclass(frozen=True)
class Plan:
    """A sweep whose every setting was checked.

    Attributes:
        trials: value of each dimension, per trial; None where a search suggests them one after another.
        num_trials: how many there will be.
        max_epochs: epochs of a trial that is not stopped.
    """

    space: Space
    trials: list[dict[str, Any]] | None
    num_trials: int
    max_epochs: int


def make_plan(settings: TuneSettings) -> Plan:
    """Read and check everything that a sweep will do.

    Raises:
        ValueError: a name or value of the space that a train job does not accept, or a setting that has no effect.
    """
    train_class, base, search = settings.train_class, settings.base(), settings.search
    space = read_space(space_values(settings.space, settings.wing), settings.space, train_class)
    suggested = isinstance(search, OptunaSearch)
    if suggested and space.grids:
        raise ValueError(f"space: a search by Optuna has no grid; write choice for {sorted(space.grids)}.")
    all_grids = len(space.grids) == len(space.dimensions) and "num_samples" not in search.model_fields_set
    num_samples = 1 if all_grids else search.num_samples
    trials = None if suggested else space.draw(num_samples, settings.seed)
    space.check(train_class, base, trials or [])
    first = space.settings(train_class, base, {name: one.extremes[0] for name, one in space.dimensions.items()})
    max_epochs = 1 if first.fitted_at_once else first.optimisation.num_epochs
    if isinstance(settings.scheduler, Asha) and settings.of == "train":
        if EPOCHS in space.dimensions:
            raise ValueError(
                f"scheduler: asha compares trials at equal epochs; fix {EPOCHS} or set scheduler.kind=none."
            )
        if settings.scheduler.grace_epochs >= max_epochs:
            raise ValueError(
                f"scheduler.grace_epochs: expected fewer than the {max_epochs} epochs of a trial, got "
                f"{settings.scheduler.grace_epochs}, which stops none. Lower it, or set scheduler.kind=none."
            )
    return Plan(space, trials, search.num_samples if trials is None else len(trials), max_epochs)


def tune_settings(wing: Wing, base: type[TuneSettings] = TuneSettings) -> type[TuneSettings]:
    """`base` with the domain, and its own space as the default."""
    space = default_space(wing)
    fields: dict[str, Any] = {
        "domain": (str, Field(wing.name, description="which domain: the name of an installed wing")),
        "space": (str, Field(... if space is None else space, description=SPACE)),
    }
    return create_model("TuneSettings", __base__=base, __module__=__name__, **fields)
