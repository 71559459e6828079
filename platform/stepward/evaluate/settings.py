"""Settings of the evaluate stage, without those that say where and how fast it runs. The same for every domain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from pydantic import Field, create_model, model_validator

from stepward.core.config import Config, Plain, one_of, validate, with_defaults
from stepward.core.measures import Measure, measure_named, measures_of
from stepward.core.registry import lookup
from stepward.core.seeding import stable_hash
from stepward.core.stage import StageSettings
from stepward.core.wing import Wing
from stepward.evaluate.arms import WRITTEN_OUT, Arm, SearchPlan
from stepward.evaluate.proposers import RivalProposer, settings_of
from stepward.evaluate.rivals import with_rivals
from stepward.evaluate.samples.settings import SAMPLES, SampleStudy
from stepward.evaluate.study_settings import DividendStudy, PictureStudy, RankingStudy, ValueStudy
from stepward.rewards.guides import (
    UNSCORED,
    CompositeGuide,
    LookaheadGuide,
    OracleGuide,
    TrainedGuide,
    guide_kinds,
    guide_of,
    guide_type,
    is_trained,
)
from stepward.statistics.bootstrap import Resampling

STUDIES: dict[str, type[Config]] = {
    "values": ValueStudy,
    "dividend": DividendStudy,
    "samples": SampleStudy,
    "rankings": RankingStudy,
    "pictures": PictureStudy,
}
UNGUIDED = "unguided"  # arm without a guide
BUDGETS = (10, 20, 50, 100, 1000)


class EvaluateSettings(StageSettings):
    """What is evaluated and how. `evaluate_settings` adds what a domain brings."""

    labels: str = Field("default", description="label artifact whose problems and labels are used")
    split: Literal["validation", "test"] = Field("test", description="choose on validation, report once on test")
    num_problems: int | None = Field(None, ge=1, description="only the first so many problems; none: all")
    proposer: Any = Field(None, description="proposer of arms that name none; none: the policy that was labelled")
    proposers: dict[str, dict[str, Any]] = Field(
        {},
        description="kind -> settings that differ: for the kind that was labelled from those of the labels, for others "
        "from their defaults",
    )
    num_candidates: int = Field(16, ge=2, description="candidates K of a step, in arms that choose and name no search")
    guides: dict[str, Any]
    searches: dict[str, SearchPlan] = Field(
        {}, description="searches in which guides are compared; the first gives the frontier of the report"
    )
    arms: dict[str, Any] = Field({}, description="further arms, written out: name -> proposer, guide, search, limits")
    rivals: tuple[str, ...] = Field(
        (),
        description="trivial rivals beside trained guides: those of the domain, and names of guides or arms that "
        "count as such; []: none, and the report says so",
    )
    references: tuple[str, ...] = Field(
        (), description="guides of searches, or arms, that all others are compared with; gains are over the first"
    )
    oracle: str | None = Field(None, description="arm whose gain is what can be had; none: shares of it are left out")
    measure: str = Field(description="measure that comparisons are about; all of the domain are reported")
    blow_up: float | None = Field(
        None,
        description="value of a measure of steps beyond which a trial counts as blown up; none: only where it fails",
    )
    budgets: tuple[int, ...] = Field((), description="expansions at which solve rates of searches are compared")
    values: ValueStudy | None = Field(None, description="judging values of held-out partial solutions")
    dividend: DividendStudy | None = Field(None, description="several candidates against one")
    samples: SampleStudy | None = Field(
        None, description="guides as judges of the same sampled solutions, where these state an answer; none: left out"
    )
    rankings: RankingStudy | None = Field(None, description="ordering the candidates of held-out states")
    pictures: PictureStudy | None = Field(None, description="an arm whose candidates are drawn")
    num_logged: int = Field(
        0,
        ge=0,
        description="problems of which tables/steps.parquet lists every candidate that the guide of a written-out arm "
        "scored",
    )
    confidence: float = Field(0.95, gt=0, lt=1, description="mass of every interval")
    num_resamples: int = Field(10_000, ge=100, description="bootstrap resamples of a paired comparison")
    discordance: float = Field(
        0.1,
        gt=0,
        le=1,
        description="share of problems that two guides are expected to split, for the minimum detectable effect",
    )

    @model_validator(mode="before")
    @classmethod
    def _defaults_fit(cls, settings: Any) -> Any:
        """Defaults speak of default guides and arms; those that were not chosen are left out."""
        if not isinstance(settings, dict):
            return settings
        chosen = {name: settings.get(name, cls.model_fields[name].default) for name in ("guides", "arms")}
        if not all(isinstance(value, dict) for value in chosen.values()):
            return settings
        return _fitting(cls, settings, *chosen.values()) | settings

    @model_validator(mode="after")
    def _have_rivals(self) -> EvaluateSettings:
        """Rivals stand beside trained guides unasked; what was set by a person stays what it was."""
        whole = with_rivals(
            self.rivals,
            self.wing,
            guides=self.guides,
            searches=self.searches,
            arms=self.arms,
            sampled=self.samples is not None,
        )
        for name, value in whole.items():
            object.__setattr__(self, name, value)
        return self

    @model_validator(mode="after")
    def _makes_sense(self) -> EvaluateSettings:
        headline = self.headline
        for family, arms in self.families().items():
            for name, arm in arms.items():
                place = f"{WRITTEN_OUT}.{name}" if family == WRITTEN_OUT else f"searches.{family}"
                if arm.guide not in self.guides and arm.guide != UNSCORED:
                    raise ValueError(f"{place}.guide: expected a guide among {sorted(self.guides)}, got {arm.guide!r}")
                needs = getattr(arm.searched(self.num_candidates), "NEEDS", None)
                if needs is not None and not isinstance(self.wing.domain, needs):
                    raise ValueError(
                        f"{place}.search.kind: expected another than {arm.search['kind']}, which needs a domain that "
                        f"`{needs.__name__}`; {self.domain!r} brings no such capability"
                    )
                if arm.step_factor != 1 and not _rebudgets(self.wing):
                    raise ValueError(
                        f"{place}.step_factor: expected 1, because solutions of {self.domain!r} have no step budget "
                        f"(it brings no way to rebudget), got {arm.step_factor:g}"
                    )
        taken = {WRITTEN_OUT, SAMPLES} & set(self.searches)
        if taken:
            raise ValueError(f"searches: expected other names than {sorted(taken)}, which the trials table uses itself")
        self._require_names()
        for kind, changes in self.proposers.items():
            settings_of(kind, self.wing, {}, {kind: changes})
        if isinstance(self.proposer, str):
            lookup(self.wing.proposers, self.proposer, kind="proposer")
        if not self.searches and not self.arms:
            raise ValueError("expected at least one search or one arm")
        if not headline.binary and not self.references:
            raise ValueError("references: expected at least one arm or guide that the others are compared with")
        if headline.binary and not self.budgets:
            raise ValueError("budgets: expected at least one number of expansions")
        if self.blow_up is not None and not headline.per_step:
            raise ValueError(f"blow_up: expected none, because {headline.name} has no value a step; leave it out")
        if self.samples is not None and self.wing.answers is None:
            raise ValueError(f"samples: expected none, because solutions of {self.domain!r} state no answer to vote on")
        if self.values is not None and self.values.sibling_rollouts and self.wing.known is not None:
            raise ValueError("values.sibling_rollouts: expected 0, because this domain knows true values; leave it out")
        return self

    def _require_names(self) -> None:
        """Raise ValueError for a name of an arm or guide that does not exist."""
        searched = {name for family, arms in self.families().items() for name in arms}
        drawn = self.pictures.arm if self.pictures else None
        ranked = [*(self.rankings.guides or ()), self.rankings.reference] if self.rankings else []
        named: list[tuple[str, str | None, set[str]]] = [("references", name, searched) for name in self.references]
        named += [("oracle", self.oracle, set(self.arms)), ("pictures.arm", drawn, set(self.arms))]
        named += [("rankings", name, set(self.guides)) for name in ranked]
        wrong = [(field, name, known) for field, name, known in named if name is not None and name not in known]
        for field, name, known in wrong:
            raise ValueError(f"{field}: expected one of {sorted(known)}, got {name!r}")

    @property
    def headline(self) -> Measure:
        """The measure that comparisons are about."""
        return measure_named(self.wing.verifier(), self.measure)

    def families(self) -> dict[str, dict[str, Arm]]:
        """Family -> its arms, which are compared with one another: one family a search, one of arms written out."""
        found = {
            search: {guide: plan.arm(guide) for guide in plan.guides or self.guides}
            for search, plan in self.searches.items()
        }
        return found | ({WRITTEN_OUT: dict(self.arms)} if self.arms else {})

    @property
    def main(self) -> str:
        """The first family: the one that the report is about."""
        return next(iter(self.families()))

    @property
    def primary(self) -> str:
        """The trained guide, or arm with one, that the evaluation is about: the first; "" where there is none."""
        champions = self.samples.champions if self.samples else ()
        arms = {name: arm.guide for family in self.families().values() for name, arm in family.items()}
        ours = [*champions, *(name for name, guide in arms.items() if is_trained(guide, self.guides))]
        return next((name for name in ours if is_trained(arms.get(name, name), self.guides)), "")

    @property
    def bounds(self) -> list[str]:
        """Guides that no other can beat, as their settings say."""
        return [name for name, guide in self.guides.items() if getattr(guide, "BOUND", False)]

    def used_guides(self) -> list[str]:
        """Guides of all arms and studies, in the order of the settings."""
        if self.values or self.samples:
            return list(self.guides)
        used = {arm.guide for arms in self.families().values() for arm in arms.values()} | set(self.ranking_guides())
        return [name for name in self.guides if name in used]

    def ranking_guides(self) -> list[str]:
        """Guides whose order of candidates is judged on held-out states."""
        if self.rankings is None:
            return []
        if self.rankings.guides is not None:
            return list(self.rankings.guides)
        skipped = (OracleGuide, CompositeGuide, LookaheadGuide)
        return [name for name, guide in self.guides.items() if not isinstance(guide, skipped) and name != UNSCORED]

    @property
    def statistics(self) -> Resampling:
        """Of every interval and test."""
        return {"confidence": self.confidence, "num_resamples": self.num_resamples}

    def resampling(self, purpose: str = "problems") -> np.random.Generator:
        """The source of resamples, from its beginning: one draw of problems for all: equal data, one interval."""
        return np.random.default_rng(stable_hash(self.seed, purpose))


def evaluate_settings(wing: Wing, base: type[EvaluateSettings] = EvaluateSettings) -> type[EvaluateSettings]:
    """`base` with the proposers, guides and measures of a domain, and its own evaluation as the default."""
    own, guide = wing.defaults.evaluation, guide_type(wing)
    proposer: Any = str | one_of(wing.proposers) | None
    arm_proposer: Any = str | one_of({**wing.proposers, "rival": RivalProposer}) | None
    known, first = ", ".join(guide_kinds(wing)), measures_of(wing.verifier())[0]
    guides = {name: guide_of(values, wing) for name, values in own.get("guides", {}).items()}
    guides = guides or default_guides(wing, first)
    arm = create_model("Arm", __base__=Arm, __module__=__name__, proposer=(arm_proposer, Arm.model_fields["proposer"]))
    written = "searches" in own or "arms" in own
    searches = own.get("searches", {} if written or not first.binary else default_searches(wing))
    arms = own.get("arms", {} if written or first.binary else default_arms(guides))
    values: dict[str, Any] = {
        "searches": {name: validate(SearchPlan, dict(plan)) for name, plan in searches.items()},
        "arms": {name: validate(arm, dict(plan)) for name, plan in arms.items()},
        "guides": guides,
        "references": tuple(name for name in wing.rewards if name in guides) if first.binary else tuple(arms)[:1],
        "proposer": own.get("proposer"),
        "measure": first.name,
        "budgets": BUDGETS if first.binary else (),
        "oracle": "oracle" if not first.binary and "oracle" in arms else None,
    }
    types: dict[str, Any] = {"guides": dict[str, guide], "arms": dict[str, arm], "proposer": proposer}  # type: ignore[valid-type]
    words = {"guides": f"name -> reward model, of kind {known}"}
    for name in ("references", "oracle", "blow_up", "num_logged", "num_candidates"):
        values |= {name: own[name]} if name in own else {}
    for name, study in _studies(wing, own, first).items():
        values[name], types[name] = study() if name in _default_studies(wing, own, first) else None, study | None
    values["rivals"] = tuple(wing.rivals)
    fields: dict[str, Any] = {
        "domain": (str, Field(wing.name, description="which domain: the name of an installed wing"))
    }
    for name, value in values.items():
        described = base.model_fields[name]
        fields[name] = (
            types.get(name, described.annotation),
            Field(value, description=words.get(name, described.description)),
        )
    return create_model("EvaluateSettings", __base__=base, __module__=__name__, **fields)


def default_guides(wing: Wing, headline: Measure) -> dict[str, Config]:
    """The trained PRM, what else the domain trains, everything that needs no training, and where errors are measured
    the truth itself, as "oracle".
    """
    trained: dict[str, Config] = {name: TrainedGuide(artifact=name) for name in ("prm", *wing.defaults.trained)}
    untrained = {kind: settings() for kind, settings in wing.rewards.items()}
    return trained | untrained | ({} if headline.binary else {"oracle": OracleGuide()})


def default_searches(wing: Wing) -> dict[str, object]:
    """Best-first for the frontier, with other step budgets where a domain has them; then other searches at equal
    budgets: ten steps of `size` states a step, so that whole solutions fit in.
    """
    plans: dict[str, Any] = {"best_first": {"search": {"kind": "best_first"}, "budget": 1000}}
    for factor in (0.5, 2.0) if _rebudgets(wing) else ():
        search = {"search": {"kind": "best_first"}, "budget": 100, "step_factor": factor}
        plans[f"best_first_steps_x{factor:g}"] = search
    for size, budget in ((2, 20), (5, 50), (10, 100)):
        matched: dict[str, dict[str, Any]] = {
            "beam": {"width": size, "num_candidates": 6},
            "dvts": {"num_trees": size, "num_candidates": 4},
            "best_of_n": {"num_samples": size},
            "particles": {"num_particles": size},
        }
        for kind, search in matched.items():
            plans[f"{kind}_{budget}"] = {"search": {"kind": kind} | search, "budget": budget, "guides": ("prm",)}
    return plans


def default_arms(guides: Mapping[str, object]) -> dict[str, object]:
    """What needs no choice, to compare with, and the choice of every guide among the candidates of a step."""
    return {UNGUIDED: {}} | {name: {"guide": name} for name in guides}


def _rebudgets(wing: Wing) -> bool:
    """Whether solutions of a domain have a step budget that can be changed."""
    return wing.known is not None and wing.known.rebudget is not None


def _default_studies(wing: Wing, own: Plain, headline: Measure) -> set[str]:
    """Studies that an evaluation holds by default: those of the domain's defaults, and what its measure allows."""
    found = {name for name in STUDIES if own.get(name) is not None}
    found |= {"values", "dividend"} if headline.binary else set()
    return found | ({"samples"} if wing.answers is not None else set())


def _studies(wing: Wing, own: Plain, headline: Measure) -> dict[str, type[Config]]:
    """Settings class of every study, with the domain's defaults."""
    return {name: with_defaults(study, own[name]) if own.get(name) else study for name, study in STUDIES.items()}


def _fitting(
    cls: type[EvaluateSettings], given: Mapping[str, object], guides: Mapping[str, object], arms: Mapping[str, object]
) -> dict[str, object]:
    """Defaults that fit the guides and arms that were chosen."""
    defaults = {name: field.default for name, field in cls.model_fields.items()}
    if "guides" not in given and "arms" not in given and "searches" not in given:
        return {}
    searches = {name: plan for name, plan in defaults["searches"].items() if set(plan.guides) <= set(guides)}
    kept = {name: arm for name, arm in defaults["arms"].items() if arm.guide in {*guides, UNSCORED}}
    fitting: dict[str, Any] = {}
    if "searches" not in given:
        fitting["searches"] = {} if given.get("arms") else searches
    if "arms" not in given:
        fitting["arms"] = {} if given.get("searches") else kept
    arms = arms if "arms" in given else fitting["arms"]
    compared = set(arms) | (set(guides) if given.get("searches", fitting.get("searches")) else set())
    known = tuple(name for name in defaults["references"] if name in compared)
    fitting["references"] = known or tuple(arms)[:1]
    fitting["oracle"] = defaults["oracle"] if defaults["oracle"] in arms else None
    pictures, rankings = defaults["pictures"], defaults["rankings"]
    if pictures is not None and pictures.arm not in arms:
        fitting["pictures"] = None
    if rankings is not None and rankings.reference not in guides:
        fitting["rankings"] = rankings.model_copy(update={"reference": None})
    return fitting
