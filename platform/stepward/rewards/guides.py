"""Guides as settings: what scores the steps of a search, each a reward model built by `stepward.rewards.factory`.

A guide needs no training (a kind of the wing), is trained, is a rival, or is made of other guides, which it names:

    guides:
      prm: {kind: trained, artifact: prm, calibration: temperature}
      prm_ahead: {kind: lookahead, guide: prm, depth: 2}
      both: {kind: composite, parts: {prm: {transform: log}, distance: {weight: .1}}}
      three: {kind: ensemble, members: [prm, prm_1, prm_2]}
      distance: {kind: distance}
      truth: {kind: oracle}
      word_pairs: {kind: rival, rival: word_pairs}

Parts are names and not settings within settings, so that a model that two guides share is said and loaded once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Union

from pydantic import Field

from stepward.core.config import Config, validate
from stepward.core.registry import lookup
from stepward.core.wing import Wing
from stepward.rewards.composite import TRANSFORMS

Calibration = Literal["none", "temperature", "isotonic", "budget"]
UNSCORED = "none"  # the guide of an arm that has none


class TrainedGuide(Config):
    """A reward model from a finished train artifact of the same store and domain."""

    kind: Literal["trained"] = "trained"
    artifact: str = Field(description="name of the train artifact")
    calibration: Calibration = Field("none", description="calibration, fitted on the validation split, of its scores")


class LookaheadGuide(Config):
    """Another guide, with what it says about steps to come."""

    kind: Literal["lookahead"] = "lookahead"
    guide: str = Field(description="name of the guide to look ahead with")
    depth: int = Field(1, ge=0, description="steps that every child is rolled forward; 0 is the guide itself")
    discount: float = Field(1.0, gt=0, le=1, description="γ, weight of each further step")
    num_rollouts: int = Field(1, ge=1, description="rollouts a child")
    reading: Literal["sum", "last"] = Field("last", description="sum for rewards that add up, last for probabilities")
    proposer: str | None = Field(None, description="kind of proposer that rolls forward; none: the domain's policy")
    margin: float | None = Field(
        None,
        gt=0,
        description="lead of the best child over its siblings, in standard deviations of their scores, that needs no "
        "lookahead; none: always look",
    )

    def parts_named(self) -> list[str]:
        """The guide that it looks ahead with."""
        return [self.guide]


class GuidePart(Config):
    """One part of a composite guide."""

    weight: float = Field(1.0, ge=0, description="share, relative to the other parts; 0 leaves it out")
    transform: str = Field("none", description=f"of its scores, before the weight: {', '.join(TRANSFORMS)}")

    def model_post_init(self, _: object) -> None:
        """Refuses a transform that does not exist."""
        lookup(TRANSFORMS, self.transform, kind="transform")


class CompositeGuide(Config):
    """A weighted sum of other guides: log p and λ log PRM, or ARM and PRM standardised among siblings."""

    kind: Literal["composite"] = "composite"
    parts: dict[str, GuidePart] = Field(min_length=1, description="name of a guide -> its weight and transform")
    log_scale: bool = Field(
        False, description="its scores are logs of probabilities, a step each: they add up, and votes count exp of them"
    )

    def model_post_init(self, _: object) -> None:
        """Refuses a sum whose weights are all 0."""
        if not any(part.weight for part in self.parts.values()):
            raise ValueError(f"parts: expected a weight above 0 at least, got 0 for all of {sorted(self.parts)}")

    def parts_named(self) -> list[str]:
        """The guides of some weight."""
        return [name for name, part in self.parts.items() if part.weight]


class EnsembleGuide(Config):
    """Several guides of one scale as one, such as reward models trained from several seeds."""

    kind: Literal["ensemble"] = "ensemble"
    members: tuple[str, ...] = Field(min_length=2, description="names of guides; all are evaluated and charged")
    reduction: Literal["mean", "min", "lower_bound"] = Field(
        "mean", description="of the members' scores; lower_bound: mean − c · their standard deviation"
    )
    num_deviations: float = Field(1.0, ge=0, description="c of lower_bound")

    def parts_named(self) -> list[str]:
        """The members."""
        return list(self.members)


class OracleGuide(Config):
    """The truth itself as a reward: what a perfect choice among the candidates is worth. It is no method."""

    kind: Literal["oracle"] = "oracle"


class RivalGuide(Config):
    """A trivial rival that the domain declares, fitted by the evaluation where it learns anything."""

    kind: Literal["rival"] = "rival"
    rival: str = Field(description="name of the rival")


COMBINED = (LookaheadGuide, CompositeGuide, EnsembleGuide)
GENERAL = (TrainedGuide, *COMBINED, OracleGuide, RivalGuide)


def guide_kinds(wing: Wing) -> dict[str, type[Config]]:
    """Kind -> settings class of every guide that a domain can have."""
    general: dict[str, type[Config]] = {kind.model_fields["kind"].default: kind for kind in GENERAL}
    return general | dict(wing.rewards)


def guide_type(wing: Wing) -> Any:
    """The union of all kinds of guide of a domain, told apart by ``kind``, for a field of settings."""
    return Annotated[Union[tuple(guide_kinds(wing).values())], Field(discriminator="kind")]  # noqa: UP007


def guide_of(values: Mapping[str, object], wing: Wing) -> Config:
    """A guide from plain settings.

    Raises:
        ValueError: the domain has no guide of this kind, or a setting is wrong.
    """
    return validate(lookup(guide_kinds(wing), str(values["kind"]), kind="guide"), dict(values))


def parts_of(guide: object) -> list[str]:
    """Names of the guides that a guide is made of; none where it is made of no others."""
    return guide.parts_named() if isinstance(guide, COMBINED) else []


def is_trained(name: str, guides: Mapping[str, Any]) -> bool:
    """Whether a guide is trained, or made of one that is."""
    return any(isinstance(guide, TrainedGuide) for guide in reached([name], guides).values())


def reached(names: Iterable[str], guides: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `guides` that `names` are, or are made of, directly or through others."""
    waiting, found = list(names), dict[str, Any]()
    while waiting:
        name = waiting.pop(0)
        if name in guides and name not in found:
            found[name] = guides[name]
            waiting += parts_of(guides[name])
    return found
