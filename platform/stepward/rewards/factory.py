"""From guides as settings to reward models: the one place where they are built."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from stepward.core.artifacts import Artifact
from stepward.core.batch import Batch
from stepward.core.config import validate
from stepward.core.cost import Combinator
from stepward.core.interfaces import Proposer, RewardModel, Verifier, rollout_policy
from stepward.core.registry import lookup
from stepward.core.stage import in_store
from stepward.core.storage import Folder
from stepward.core.wing import Scale, Wing
from stepward.rewards.calibrated import Calibrated
from stepward.rewards.calibrators import Calibrator, calibrator_from_dict
from stepward.rewards.composite import Composite, Part
from stepward.rewards.ensemble import Ensemble
from stepward.rewards.guides import (
    UNSCORED,
    Calibration,
    CompositeGuide,
    EnsembleGuide,
    LookaheadGuide,
    OracleGuide,
    RivalGuide,
    TrainedGuide,
    parts_of,
    reached,
)
from stepward.rewards.lookahead import Lookahead

Loader = Callable[[Folder, Wing], RewardModel]
Proposers = Callable[[str | None], Proposer]  # kind -> proposer; None: the policy


class Guides:
    """The guides of an evaluation as reward models, each built when it is first asked for.

    Args:
        settings: name -> settings of every guide.
        store: where trained ones are, and what settings name as ``artifacts/…``.
        wing: the domain.
        proposers: for guides that look ahead; None: of the default settings of their kind.
        load: reads trained ones; None: `load_reward`.
        rivals: name of a rival -> the reward model that was fitted; None: there are none.
    """

    def __init__(
        self,
        settings: Mapping[str, object],
        *,
        store: str,
        wing: Wing,
        proposers: Proposers | None = None,
        load: Loader | None = None,
        rivals: Callable[[str], RewardModel] | None = None,
    ) -> None:
        self.settings, self._store, self._wing, self._load = settings, store, wing, load
        self._rivals = rivals
        self._proposers = proposers or self._default_proposer
        self._built: dict[str, RewardModel] = {}

    def __getitem__(self, name: str) -> RewardModel:
        """The guide called `name`; `UNSCORED` scores 0 unless a guide has that name.

        Raises:
            ValueError: a guide or an artifact does not exist, or guides are made of one another in a circle.
        """
        return self._guide(name, ())

    def parts(self, name: str) -> dict[str, RewardModel]:
        """Name -> reward model of the guides a guide is made of, down to those that are made of no others."""
        leaves = [part for part, guide in reached([name], self.settings).items() if not parts_of(guide)]
        return {part: self[part] for part in leaves}

    def artifacts(self, names: Iterable[str] | None = None) -> dict[str, Artifact]:
        """Guide -> the train artifact it is loaded from, of the trained ones that `names` are made of; None: of all."""
        chosen = self.settings if names is None else reached(names, self.settings)
        return {
            name: Artifact(self._store, self._wing.name, "train", guide.artifact)
            for name, guide in chosen.items()
            if isinstance(guide, TrainedGuide)
        }

    def _guide(self, name: str, within: tuple[str, ...]) -> RewardModel:
        if name == UNSCORED and UNSCORED not in self.settings:
            return Unscored()
        if name not in self._built:
            others = {other: guide for other, guide in self.settings.items() if other not in within}
            self._built[name] = self._build(lookup(others, name, kind="guide"), (*within, name))
        return self._built[name]

    def _build(self, guide: Any, within: tuple[str, ...]) -> RewardModel:
        domain = self._wing.domain
        if isinstance(guide, TrainedGuide):
            folder = Artifact(self._store, self._wing.name, "train", guide.artifact).folder
            return load_trained(folder, self._wing, guide.calibration, self._load)
        if isinstance(guide, OracleGuide):
            return Oracle(self._wing.verifier())
        if isinstance(guide, RivalGuide):
            if self._rivals is None:
                raise ValueError(
                    f"guide {within[-1]!r}: expected one that no evaluation fits, got a rival; leave it out"
                )
            return self._rivals(guide.rival)
        parts = {name: self._guide(name, within) for name in parts_of(guide)}
        if isinstance(guide, LookaheadGuide):
            policy = rollout_policy(self._proposers(guide.proposer))
            options = guide.model_dump(include={"depth", "discount", "num_rollouts", "reading", "margin"})
            return Lookahead(parts[guide.guide], policy, domain, **options)
        if isinstance(guide, CompositeGuide):
            how = guide.parts
            return Composite({n: Part(part, how[n].weight, how[n].transform) for n, part in parts.items()}, domain)
        if isinstance(guide, EnsembleGuide):
            options = guide.model_dump(include={"reduction", "num_deviations"})
            return Ensemble(list(parts.values()), domain, **options)
        built: RewardModel = in_store(guide, self._store, self._wing.name).build(domain)
        return built

    def _default_proposer(self, kind: str | None) -> Proposer:
        kinds = self._wing.proposers
        settings: Any = lookup(kinds, kind or next(iter(kinds)), kind="proposer")()
        proposer: Proposer = in_store(settings, self._store, self._wing.name).build()
        return proposer


def scale_of(name: str, guides: Mapping[str, object], wing: Wing) -> Scale:
    """What the scores of a guide are: success probabilities, logs of them, or numbers that only rank."""
    guide = guides[name]
    if isinstance(guide, TrainedGuide):
        return wing.trained_scale
    if isinstance(guide, CompositeGuide):
        return "log_probability" if guide.log_scale else "rank"
    if isinstance(guide, EnsembleGuide):
        others = {other: settings for other, settings in guides.items() if other != name}
        scales = {scale_of(member, others, wing) for member in guide.members if member in others}
        return "probability" if scales <= {"probability"} and guide.reduction != "lower_bound" else "rank"
    kind = lookup(wing.rivals, guide.rival, kind="rival") if isinstance(guide, RivalGuide) else guide
    scale: Scale = getattr(kind, "SCALE", "rank")
    return scale


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
    return Calibrated(reward, fitted, wing.domain, wing.budgets.left if wing.budgets else None)


def load_reward(folder: Folder, wing: Wing) -> RewardModel:
    """The reward model of a train artifact, as it was trained."""
    reward: RewardModel = learner_of(folder, wing).reward(folder.read_weights("weights.safetensors"))
    return reward


def learner_of(folder: Folder, wing: Wing) -> Any:
    """Settings of the learner that a train artifact was made with."""
    described = folder.read_json("reward.json")
    if described["domain"] != wing.name:
        raise ValueError(f"{folder.url}: expected a reward model of domain {wing.name!r}, got {described['domain']!r}.")
    return validate(lookup(wing.learners, described["kind"], kind="learner"), described["settings"])


def load_calibrators(folder: Folder) -> dict[str, Calibrator]:
    """The calibrations that were fitted for a train artifact, by kind."""
    fitted = folder.read_json("calibration.json") if folder.exists("calibration.json") else {}
    return {kind: calibrator_from_dict(data) for kind, data in fitted.items() if isinstance(data, dict)}


class Unscored(Combinator):
    """0 for every step and charged nothing: for arms that choose among no candidates, or by themselves."""

    def score(self, parents: Batch, children: Batch) -> Float[np.ndarray, " n"]:
        """0 for every child."""
        return np.zeros(len(children))


class Oracle:
    """Scores a child by what the verifier says of it. It stands outside of every comparison of methods."""

    num_parameters = 0
    LOWEST = -1e6  # of an outcome that is not finite: finite itself, so that it can be compared and standardised

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    def score(self, parents: Batch, children: Batch) -> Float[np.ndarray, " n"]:
        """Outcome of each child: solved or not, or minus its error."""
        return np.maximum(self._verifier.outcome(children), self.LOWEST)
