"""Settings of the evaluate stage, without those that say where and how fast it runs."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, create_model, field_validator, model_validator

from stepward.core.config import Config, validate, with_defaults
from stepward.core.cost import Cost
from stepward.core.stage import StageSettings
from stepward.core.wing import Wing
from stepward.evaluate.proposers import settings_of
from stepward.evaluate.samples.settings import SampleStudy
from stepward.rewards.guides import TrainedGuide, guide_kinds, guide_of, guide_type
from stepward.search.registry import build_search

ENUMERATE = "enumerate"  # the proposer that lists every action, where a domain has finitely many


BASELINES = {"hmm": "hmm", "orm": "outcome", "critic": "feature_critic"}  # name of a guide -> kind of learner


class SearchPlan(Config):
    """One search in which guides are compared, all on the same problems."""

    search: dict[str, Any] = Field(description="kind of the search and its settings")
    budget: int = Field(ge=1, description="expansions a problem may spend")
    proposer: str | None = Field(None, description="kind of proposer; none: that of the evaluation")
    guides: tuple[str, ...] = Field((), description="guides to compare in it; none named: all")
    step_factor: float = Field(1.0, gt=0, description="problems are given this many times their step budget")
    limits: dict[str, float] = Field(
        {}, description="further limits a problem, kind of cost -> amount: generated_tokens, flops, …"
    )

    @property
    def cost_limit(self) -> Cost:
        """The whole budget of a problem."""
        return Cost.limit(**({"expansions": self.budget} | self.limits))

    def model_post_init(self, _: Any) -> None:
        if "expansions" in self.limits:
            raise ValueError("limits: expected other kinds than expansions, which budget limits")
        Cost.limit(**({"expansions": self.budget} | self.limits))

    @field_validator("search")
    @classmethod
    def _known_search(cls, search: dict[str, Any]) -> dict[str, Any]:
        build_search(search)
        return search

    @property
    def anytime(self) -> bool:
        """Whether a run with a small budget begins one with a large budget: it ends at its first solution."""
        return getattr(build_search(self.search), "num_solutions", None) == 1

    @property
    def branching(self) -> int:
        """Children proposed of each expanded state; 1 in searches that sample solutions."""
        return getattr(build_search(self.search), "num_candidates", 1)


class ValueStudy(Config):
    """How well guides predict the success probability of held-out partial solutions."""

    max_states: int = Field(6000, ge=1, description="held-out partial solutions judged one by one; coverage uses all")
    max_parents: int = Field(3000, ge=1, description="of these, states whose children are ranked")
    num_children: int = Field(6, ge=2, description="children of each such state")
    sibling_rollouts: int = Field(
        0,
        ge=0,
        description="rollouts of each child where true values are unknown; 0: siblings are not judged then",
    )
    min_spread: float = Field(
        0.02, ge=0, description="sibling sets count when their true values differ by more than this"
    )
    num_bins: int = Field(15, ge=1, description="bins of equal mass for the calibration error")
    budget_factors: tuple[float, ...] = Field(
        (0.5, 1.0, 2.0), description="remaining steps are multiplied by these for the robustness table"
    )


class DividendStudy(Config):
    """What several candidates gain over one, predicted and realised."""

    num_parents: int = Field(2000, ge=1, description="held-out states")
    num_candidates: tuple[int, ...] = Field((2, 4, 8), description="candidates k of each state")


class EvaluateSettings(StageSettings):
    """What is evaluated and how. `evaluate_settings` adds the guides of a domain."""

    labels: str = Field("default", description="label artifact whose problems and labels are used")
    split: Literal["validation", "test"] = Field("test", description="choose on validation, report once on test")
    num_problems: int | None = Field(None, ge=1, description="search only the first so many problems; none: all")
    proposer: str = Field(description="kind of proposer that searches use")
    proposers: dict[str, dict[str, Any]] = Field(
        {},
        description="kind -> settings that differ: for the kind that was labelled from those of the labels, for others "
        "from their defaults",
    )
    guides: dict[str, Any]
    references: tuple[str, ...] = Field((), description="guides that all others are compared with, pair by pair")
    searches: dict[str, SearchPlan] = Field(
        {}, description="searches to run; the first gives the frontier of the report"
    )
    budgets: tuple[int, ...] = Field(
        (10, 20, 50, 100, 1000), description="expansions at which solve rates are compared"
    )
    values: ValueStudy = Field(ValueStudy(), description="judging values of held-out partial solutions")
    dividend: DividendStudy = Field(DividendStudy(), description="several candidates against one")
    samples: SampleStudy | None = Field(
        None, description="guides as judges of the same sampled solutions, where these state an answer; none: left out"
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
    def _defaults_fit_guides(cls, settings: Any) -> Any:
        """Default searches and references speak of default guides; those that were not chosen are left out."""
        if not isinstance(settings, dict) or not isinstance(settings.get("guides"), dict):
            return settings
        chosen, fields = set(settings["guides"]), cls.model_fields
        searches, references = fields["searches"].default, fields["references"].default
        fitting = {
            "searches": {n: plan for n, plan in (searches or {}).items() if set(plan.guides) <= chosen},
            "references": tuple(name for name in references or () if name in chosen),
        }
        return fitting | settings

    @model_validator(mode="after")
    def _names_known(self) -> EvaluateSettings:
        used = {("references", name) for name in self.references}
        used |= {(f"searches.{plan}.guides", name) for plan, p in self.searches.items() for name in p.guides}
        unknown = sorted((field, name) for field, name in used if name not in self.guides)
        if unknown:
            shown = ", ".join(f"{field}: {name!r}" for field, name in unknown)
            raise ValueError(f"expected names among the guides {sorted(self.guides)}, got {shown}")
        for kind, changes in self.proposers.items():
            settings_of(kind, self.wing, {}, {kind: changes})
        if not self.searches or not self.budgets:
            raise ValueError("expected at least one search and one budget")
        return self

    def arms(self, plan: str) -> list[str]:
        """Guides that run in a search."""
        return list(self.searches[plan].guides or self.guides)

    def proposer_kind(self, plan: str) -> str:
        return self.searches[plan].proposer or self.proposer


def evaluate_settings(wing: Wing, base: type[EvaluateSettings] = EvaluateSettings) -> type[EvaluateSettings]:
    """`base` with the guides of a domain as typed fields, and an evaluation of all of them as the default."""
    guide: Any = guide_type(wing)
    known = ", ".join(guide_kinds(wing))
    own = wing.defaults.evaluation
    guides = default_guides(wing) | {n: guide_of(v, wing) for n, v in own.get("guides", {}).items()}
    proposer = ENUMERATE if ENUMERATE in wing.proposers else next(iter(wing.proposers))
    policy = next(iter(wing.proposers))
    references = tuple(name for name in ("distance", "exact") if name in guides)
    searches = default_searches(wing, policy)
    if "searches" in own:
        searches = {name: validate(SearchPlan, plan) for name, plan in own["searches"].items()}
    studies: dict[str, Any] = {}
    for name, study in _studies(wing).items():
        settings = with_defaults(study, own.get(name, {}))
        annotation: Any = settings | None if name == "samples" else settings
        studies[name] = (annotation, Field(settings(), description=base.model_fields[name].description))
    fields: dict[str, Any] = {
        "domain": (str, Field(wing.name, description="which domain: the name of an installed wing")),
        "guides": (dict[str, guide], Field(guides, min_length=1, description=f"name -> reward model, of kind {known}")),
        "proposer": (str, Field(proposer, description="kind of proposer that searches use")),
        "references": (tuple[str, ...], Field(references, description="guides that all others are compared with")),
        "searches": (dict[str, SearchPlan], Field(searches, description="searches; the first gives the frontier")),
        **studies,
    }  # fmt: skip
    return create_model("EvaluateSettings", __base__=base, __module__=__name__, **fields)


def default_guides(wing: Wing) -> dict[str, Any]:
    """The trained PRM, the baselines that the domain has learners for, and everything that needs no training."""
    trained = {"prm": TrainedGuide(artifact="prm")}
    trained |= {name: TrainedGuide(artifact=name) for name, kind in BASELINES.items() if kind in wing.learners}
    return trained | {kind: settings() for kind, settings in wing.rewards.items()}


def _studies(wing: Wing) -> dict[str, type[Config]]:
    """The studies a domain can have, by their fields."""
    studies: dict[str, type[Config]] = {"values": ValueStudy, "dividend": DividendStudy}
    return studies if wing.answers is None else studies | {"samples": SampleStudy}


def default_searches(wing: Wing, policy: str) -> dict[str, SearchPlan]:
    """Best-first for the frontier, with fewer actions and other step budgets; then other searches at equal budgets."""
    plans = {"best_first": SearchPlan(search={"kind": "best_first"}, budget=1000)}
    if ENUMERATE in wing.proposers:
        few = {"kind": "best_first", "num_candidates": 3}
        plans["best_first_3"] = SearchPlan(search=few, budget=100)
    if wing.rebudget is not None:
        for factor in (0.5, 2.0):
            name = f"best_first_steps_x{factor:g}"
            plans[name] = SearchPlan(search={"kind": "best_first"}, budget=100, step_factor=factor)
    for size, budget in ((2, 20), (5, 50), (10, 100)):
        # Ten steps of `size` states a step: whole solutions fit into the budget.
        matched: dict[str, tuple[dict[str, Any], str | None]] = {
            "beam": ({"kind": "beam", "width": size, "num_candidates": 6}, None),
            "dvts": ({"kind": "dvts", "num_trees": size, "num_candidates": 4}, policy),
            "best_of_n": ({"kind": "best_of_n", "num_samples": size}, policy),
            "particles": ({"kind": "particles", "num_particles": size}, policy),
        }
        for kind, (search, proposer) in matched.items():
            name = f"{kind}_{budget}"
            plans[name] = SearchPlan(search=search, budget=budget, proposer=proposer, guides=("prm",))
    return plans
