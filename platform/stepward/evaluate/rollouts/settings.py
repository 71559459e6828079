"""Settings of an evaluation of rollouts: arms that are compared by the error of every step."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, create_model, field_validator, model_validator

from stepward.core.config import Config, one_of, validate
from stepward.core.cost import Cost
from stepward.core.registry import lookup
from stepward.core.stage import StageSettings
from stepward.core.wing import Wing
from stepward.domains.pde.metrics import CONVENTIONS
from stepward.rewards.guides import (
    UNSCORED,
    CompositeGuide,
    LookaheadGuide,
    OracleGuide,
    guide_kinds,
    guide_of,
    guide_type,
)
from stepward.search.registry import build_search


class Arm(Config):
    """One way to roll out: who proposes, who scores, and which search chooses."""

    proposer: Any = Field(None, description="settings of a proposer with its kind; none: that of the evaluation")
    guide: str = Field(UNSCORED, description="name of the guide that scores; none: the first candidate is taken")
    search: dict[str, Any] = Field(
        {}, description="kind of the search and its settings; none: the best candidate of every step (argmax)"
    )
    limits: dict[str, float] = Field(
        {}, description="hard budget of a rollout, kind of cost -> amount: nfe, flops, proposals, …"
    )

    @field_validator("search")
    @classmethod
    def _known_search(cls, search: dict[str, Any]) -> dict[str, Any]:
        if search:
            build_search(search)
        return search

    @field_validator("limits")
    @classmethod
    def _known_limits(cls, limits: dict[str, float]) -> dict[str, float]:
        if limits:
            Cost.limit(**limits)
        return limits


class RolloutSettings(StageSettings):
    """What is evaluated and how. `rollout_settings` adds the proposers, guides and arms of a domain."""

    labels: str = Field("default", description="label artifact whose problems and rankings are used")
    split: Literal["validation", "test"] = Field("test", description="choose on validation, report once on test")
    num_problems: int | None = Field(None, ge=1, description="only the first so many problems; none: all")
    proposer: Any
    num_candidates: int = Field(16, ge=2, description="candidates K of a step, in arms that choose among them")
    guides: dict[str, Any]
    arms: dict[str, Arm] = Field(min_length=1, description="name -> proposer, guide, search")
    references: tuple[str, ...] = Field(
        ("deterministic",), min_length=1, description="arms that all others are compared with; gains are of the first"
    )
    oracle: str | None = Field("oracle", description="arm whose gain is what can be had; none: shares are left out")
    convention: str = Field("nrmse", description="error that gains and comparisons are about; all are reported")
    blow_up: float = Field(10.0, gt=0, description="error from which on a rollout counts as blown up")
    ranked: tuple[str, ...] | None = Field(
        None, description="guides whose rankings are judged; none: all but those that combine others or know the truth"
    )
    max_ranked: int = Field(200, ge=2, description="held-out states whose candidates are ranked, all K of each")
    ranking_reference: str | None = Field(
        "near_deterministic", description="guide that other rankings are held against"
    )
    pictured: str | None = Field("prm", description="arm whose candidates are drawn; none: no pictures")
    num_pictures: int = Field(2, ge=0, description="problems that are drawn")
    num_logged: int = Field(
        2,
        ge=0,
        description="problems of which tables/steps.parquet lists every candidate that a guide of an arm scored",
    )
    confidence: float = Field(0.95, gt=0, lt=1, description="mass of every interval")
    num_resamples: int = Field(10_000, ge=100, description="bootstrap resamples of a paired comparison")

    @model_validator(mode="before")
    @classmethod
    def _defaults_fit_arms(cls, settings: Any) -> Any:
        """Default references and pictures speak of default arms; those that were not chosen are left out."""
        if not isinstance(settings, dict) or not isinstance(settings.get("arms"), dict):
            return settings
        arms, fitting = settings["arms"], dict(settings)
        if "references" not in settings:
            known = tuple(name for name in cls.model_fields["references"].default if name in arms)
            fitting["references"] = known or tuple(arms)[:1]
        for name in ("oracle", "pictured"):
            if name not in settings and cls.model_fields[name].default not in arms:
                fitting[name] = None
        if isinstance(settings.get("guides"), dict) and "ranking_reference" not in settings:
            named = cls.model_fields["ranking_reference"].default
            fitting["ranking_reference"] = named if named in settings["guides"] else None
        return fitting

    @model_validator(mode="after")
    def _names_known(self) -> RolloutSettings:
        lookup(CONVENTIONS, self.convention, kind="error convention")
        for name, arm in self.arms.items():
            if arm.guide not in self.guides and arm.guide != UNSCORED:
                raise ValueError(f"arms.{name}.guide: expected a guide among {sorted(self.guides)}, got {arm.guide!r}")
        arms = [*self.references, *(n for n in (self.oracle, self.pictured) if n is not None)]
        guides = [*(self.ranked or ()), *([self.ranking_reference] if self.ranking_reference else [])]
        for names, known, what in ((arms, self.arms, "arms"), (guides, self.guides, "guides")):
            unknown = sorted(set(names) - set(known))
            if unknown:
                raise ValueError(f"expected names among the {what} {sorted(known)}, got {unknown}")
        return self

    def ranking_guides(self) -> list[str]:
        """Guides whose order of candidates is judged on held-out states."""
        if self.ranked is not None:
            return list(self.ranked)
        skipped = (OracleGuide, CompositeGuide, LookaheadGuide)
        return [name for name, guide in self.guides.items() if not isinstance(guide, skipped) and name != UNSCORED]


def rollout_settings(wing: Wing, base: type[RolloutSettings] = RolloutSettings) -> type[RolloutSettings]:
    """`base` with the proposers and guides of a domain as typed fields, and the domain's own ablation as default."""
    guide: Any = guide_type(wing)
    kinds = guide_kinds(wing)
    proposer: Any = one_of(wing.proposers)
    own = wing.defaults.evaluation
    guides: dict[str, Any] = {name: guide_of(values, wing) for name, values in own.get("guides", {}).items()}
    guides = guides or {kind: settings() for kind, settings in wing.rewards.items()}
    arm = create_model(
        "Arm", __base__=Arm, __module__=__name__, proposer=(proposer | None, Arm.model_fields["proposer"])
    )
    arms = {name: validate(arm, dict(plan)) for name, plan in own.get("arms", {}).items()}
    references = tuple(own.get("references", tuple(arms)[:1]))
    first = next(iter(wing.proposers.values()))
    fields: dict[str, Any] = {
        "domain": (str, Field(wing.name, description="which domain: the name of an installed wing")),
        "proposer": (proposer, Field(first(), description="makes the candidates of arms that name no proposer")),
        "guides": (dict[str, guide], Field(guides, min_length=1, description=f"name -> one of {', '.join(kinds)}")),
        "arms": (dict[str, arm], Field(arms, min_length=1, description="name -> proposer, guide, search")),
        "references": (tuple[str, ...], Field(references, min_length=1,
                       description="arms that all others are compared with; gains are of the first")),
    }  # fmt: skip
    return create_model("RolloutSettings", __base__=base, __module__=__name__, **fields)
