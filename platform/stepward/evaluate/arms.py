"""Arms of an evaluation: the guides that are compared, each a reward model built from plain settings.

A guide needs no training (a kind of the wing), or is trained, or looks ahead with another guide:

    guides:
      prm: {kind: trained, artifact: prm, calibration: temperature}
      prm_ahead: {kind: lookahead, guide: prm, depth: 2}
      both: {kind: composite, parts: {prm: {transform: log}, distance: {weight: .1}}}
      three: {kind: ensemble, members: [prm, prm_1, prm_2]}
      distance: {kind: distance}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import Field

from stepward.core.artifacts import Artifact
from stepward.core.config import Config, validate
from stepward.core.interfaces import Domain, RewardModel
from stepward.core.registry import lookup
from stepward.core.storage import Folder
from stepward.core.wing import Wing
from stepward.evaluate.proposers import Proposers
from stepward.rewards import Calibrated, Composite, Ensemble, Lookahead, Part
from stepward.rewards.calibrators import Calibrator, calibrator_from_dict
from stepward.rewards.composite import TRANSFORMS

Loader = Callable[[Folder, Wing], RewardModel]
Calibration = Literal["none", "temperature", "isotonic", "budget"]
PROBABILITIES = frozenset({"trained", "exact"})  # kinds whose scores are success probabilities; others only rank
LOG_PROBABILITIES = frozenset({"likelihood"})  # kinds whose scores are the log of one


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


class GuidePart(Config):
    """One part of a composite guide."""

    weight: float = Field(1.0, ge=0, description="share, relative to the other parts; 0 leaves it out")
    transform: str = Field("none", description=f"of its scores, before the weight: {', '.join(TRANSFORMS)}")

    def model_post_init(self, _: Any) -> None:
        lookup(TRANSFORMS, self.transform, kind="transform")


class CompositeGuide(Config):
    """A weighted sum of other guides, for example of log p and λ log PRM."""

    kind: Literal["composite"] = "composite"
    parts: dict[str, GuidePart] = Field(min_length=1, description="name of a guide -> its weight and transform")
    log_scale: bool = Field(
        False, description="its scores are logs of probabilities, a step each: they add up, and votes count exp of them"
    )


class EnsembleGuide(Config):
    """Several guides of one scale as one, such as reward models trained from several seeds."""

    kind: Literal["ensemble"] = "ensemble"
    members: tuple[str, ...] = Field(min_length=1, description="names of guides; all are evaluated and charged")
    reduction: Literal["mean", "min", "lower_bound"] = Field(
        "mean", description="of the members' scores; lower_bound: mean − c · their standard deviation"
    )
    num_deviations: float = Field(1.0, ge=0, description="c of lower_bound")

    def build_of(self, members: Mapping[str, RewardModel], domain: Domain) -> RewardModel:
        """The reward model of these members."""
        return Ensemble(list(members.values()), domain, reduction=self.reduction, num_deviations=self.num_deviations)


def says_probabilities(guide: Any, guides: Mapping[str, Any]) -> bool:
    """Whether a guide's scores are success probabilities, so that they can be calibrated and weigh votes."""
    if isinstance(guide, EnsembleGuide):
        others = {name: other for name, other in guides.items() if other is not guide}
        known = [others[name] for name in guide.members if name in others]
        return guide.reduction != "lower_bound" and all(says_probabilities(member, others) for member in known)
    return guide.kind in PROBABILITIES


def build_guide(
    name: str,
    guides: Mapping[str, Any],
    *,
    store: str,
    wing: Wing,
    load: Loader | None = None,
    proposers: Proposers | None = None,
) -> RewardModel:
    """The guide called `name` among the settings of all guides.

    Args:
        name: of the guide. guides: settings of all.
        store: where trained ones are.
        wing: the domain.
        load: reads trained ones; none: `load_reward`.
        proposers: for guides that look ahead; none: of default settings.

    Raises:
        ValueError: a guide or an artifact does not exist, or guides look ahead with one another in a circle.
    """
    guide = lookup(guides, name, kind="guide")
    if isinstance(guide, TrainedGuide):
        return load_trained(Artifact(store, wing.name, "train", guide.artifact).folder, wing, guide.calibration, load)
    others = {other: settings for other, settings in guides.items() if other != name}

    def another(name: str) -> RewardModel:
        return build_guide(name, others, store=store, wing=wing, load=load, proposers=proposers)

    if isinstance(guide, LookaheadGuide):
        return Lookahead(
            another(guide.guide),
            (proposers or Proposers(wing, {"kind": next(iter(wing.proposers))}))(guide.proposer),
            wing.domain,
            depth=guide.depth,
            discount=guide.discount,
            num_rollouts=guide.num_rollouts,
            reading=guide.reading,
        )
    if isinstance(guide, CompositeGuide):
        return Composite(
            {part: Part(another(part), how.weight, how.transform) for part, how in guide.parts.items()}, wing.domain
        )
    if isinstance(guide, EnsembleGuide):
        return guide.build_of({member: another(member) for member in guide.members}, wing.domain)
    return guide.build(wing.domain)


def trained_artifacts(guides: Mapping[str, Any], store: str, domain: str) -> dict[str, Artifact]:
    """Guide -> the train artifact it is loaded from, for those that are trained."""
    return {
        name: Artifact(store, domain, "train", guide.artifact)
        for name, guide in guides.items()
        if isinstance(guide, TrainedGuide)
    }


def load_trained(
    folder: Folder, wing: Wing, calibration: Calibration = "none", load: Loader | None = None
) -> RewardModel:
    """The reward model of a train artifact, calibrated if asked for.

    Args:
        folder: of the artifact, with weights.safetensors, reward.json and, for a calibration, calibration.json.
        wing: the domain it was trained for.
        calibration: which of the fitted calibrations to apply.
        load: reads the reward model itself; none: `load_reward`.

    Raises:
        ValueError: the artifact is of another domain, of a kind the wing does not know, or lacks the calibration.
    """
    reward = (load or load_reward)(folder, wing)
    if calibration == "none":
        return reward
    fitted = lookup(load_calibrators(folder), calibration, kind="fitted calibration")
    return Calibrated(reward, fitted, wing.domain, wing.budgets)


def load_reward(folder: Folder, wing: Wing) -> RewardModel:
    """The reward model of a train artifact, as it was trained."""
    described = folder.read_json("reward.json")
    if described["domain"] != wing.name:
        raise ValueError(f"{folder.url}: expected a reward model of domain {wing.name!r}, got {described['domain']!r}.")
    learner = lookup(wing.learners, described["kind"], kind="learner")
    reward: RewardModel = validate(learner, described["settings"]).reward(folder.read_weights("weights.safetensors"))  # type: ignore[attr-defined]
    return reward


def load_calibrators(folder: Folder) -> dict[str, Calibrator]:
    """The calibrations that were fitted for a train artifact, by kind."""
    fitted = folder.read_json("calibration.json") if folder.exists("calibration.json") else {}
    return {kind: calibrator_from_dict(data) for kind, data in fitted.items() if isinstance(data, dict)}
