"""A wing: everything one domain brings to the platform, found through the entry-point group ``stepward.domains``.

Stages (label, train, evaluate, …) are written once and ask the wing for the domain's own pieces. Pieces that a user
configures are `Config` classes with a ``build`` method, so that ``--help`` lists their settings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa

from stepward.core.batch import Batch
from stepward.core.benchmarks import Benchmarks
from stepward.core.capabilities import Answers, Budgets, Drawing, KnownValues, Written
from stepward.core.config import Config
from stepward.core.interfaces import Domain, RewardModel, Verifier
from stepward.core.learning import Learning, Pretraining
from stepward.core.measures import measures_of
from stepward.core.registry import lookup, plugin_points, plugins

Scale = Literal["probability", "log_probability", "rank"]  # of success, its logarithm, or numbers that only rank


@dataclass(frozen=True)
class Rejected:
    """A row that could not be used: it goes to the dead-letter table and the job goes on.

    Attributes:
        id: id of the row, or where it stood ("problems.csv:17").
        error: what was expected and what came.
        content: the row as text, cut to 1,000 characters.
    """

    id: str
    error: str
    content: str


@runtime_checkable
class ProblemSource(Protocol):
    """Settings that say where problems come from: the domain's generator, or a user's own file."""

    def problems(self, split: str, seed: int) -> tuple[pa.Table, list[Rejected]]:
        """Problems of one split ("train", "validation", "test"), one a row with a unique `id`, and rows rejected.

        Generated problems depend on (seed, split, position) alone, and no problem is in two splits.
        """
        ...


@runtime_checkable
class Mining(Protocol):
    """Settings that say which partial solutions are labelled."""

    # optional: IN_WORKERS = True, where mining takes a model or a simulation, so that the actor pool does it
    # optional: prepare(), which loads what mining takes, and raises if it cannot be used: no problem is to blame then
    # optional: follow(proposer), the same settings with what they leave to the proposer that is labelled

    def mine(self, problems: pa.Table, seed: int) -> pa.Table:
        """Partial solutions, one a row with a unique `id` and its `problem_id`; deterministic by (seed, id)."""
        ...


@runtime_checkable
class Trainable(Protocol):
    """Settings of a reward model that is learned by gradient descent.

    The trained weights and these settings together make the reward model again: see `reward`.
    """

    # optional: bundles(states) -> [n] integers, equal for rows that the module reads cheaper in one call than apart
    # optional: beside(states, shares) -> further inputs in training, for tasks that the module learns jointly; see
    # `stepward.train.ExampleTask`
    # optional: adapt(module, inputs), which sets what a fresh module takes from its training rows, such as their scale
    # optional: exports(weights, folder), which writes what was trained as other libraries read it
    # optional: follow(proposer), the same settings with what they leave to the labels' proposer, given as plain values
    # optional: check_proposer(settings), which raises ValueError for a proposer whose steps it cannot score

    def module(self) -> Any:
        """A fresh torch module that maps the tensors of `encode` to one logit a row."""
        ...

    def encode(self, states: Batch) -> dict[str, np.ndarray]:
        """Inputs of the module, one row a state."""
        ...

    def reward(self, weights: Mapping[str, np.ndarray]) -> RewardModel:
        """The reward model (on the probability scale) with these weights."""
        ...


@runtime_checkable
class Fittable(Protocol):
    """Settings of a reward model that is fitted in one call, for example an HMM."""

    def fit(self, states: Batch, successes: np.ndarray, num_rollouts: np.ndarray, seed: int) -> dict[str, np.ndarray]:
        """Weights fitted to labelled states."""
        ...

    def reward(self, weights: Mapping[str, np.ndarray]) -> RewardModel:
        """The reward model with fitted weights."""
        ...


@dataclass(frozen=True)
class Defaults:
    """Settings of the stages that suit a domain, as plain values in place of the stages' own defaults.

    Attributes:
        optimisation: of gradient descent.
        objective: kind of the objective that reward models are trained for.
        trained: further reward models that an experiment trains beside "prm": name -> kind of learner.
        baselines: kind of learner -> what of `optimisation` differs for it, in an experiment.
        evaluation: of the evaluate stage: guides, searches, arms, values, samples, …
        pretrained: block of an experiment -> settings of the pretraining there.
    """

    optimisation: Mapping[str, Any] = field(default_factory=dict)
    objective: str = field(default="soft_bce")
    trained: Mapping[str, str] = field(default_factory=dict)
    baselines: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    pretrained: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Wing:
    """One domain's pieces.

    Attributes:
        name: the domain's name in artifact paths and settings.
        domain: what a search may know.
        states: table of problems or partial solutions -> batch of states, row by row.
        problems: settings class, a `ProblemSource`.
        mining: settings class, a `Mining`.
        proposers: kind -> settings class with ``build() -> Proposer``.
        rewards: kind -> settings class with ``build(domain) -> RewardModel``, for those that need no training.
        learners: kind -> settings class, `Trainable` or `Fittable`.
        verifier: ``() -> Verifier``; its measures say what an evaluation studies.
        known: true values of states; None where these are not known.
        budgets: how many steps states have left; None where a calibration by budget is not offered.
        drawing: how states are drawn; None: not at all.
        answers: what solutions say; None where anybody can see whether a solution is right.
        written: solutions as texts, for notebooks and servers; None where they are none.
        labels: kind -> settings class, a `stepward.core.labels.LabelKind`, of what learners learn from; the first is
            the default. None named: how often the policy solves the problem from a state.
        sources: kind -> settings class, a `stepward.core.data.DataSource`, where data can be made or converted before
            anything else (jobs/data.py).
        benchmarks: solutions whose steps are labelled, to judge reward models by; None: there are none.
        pretraining: what the domain trains before it can label, if anything.
        learning: how reward models learn from its labels; None: from counts, as `stepward.train.CountLearning` says.
        steps: ``(table) -> (parents, children)`` where a score is of a step and not of the state it led to.
        rivals: name -> settings class of a trivial rival (`stepward.core.rivals`), which every evaluation of a trained
            guide has beside it, unasked.
        about: the task in a sentence, for who reads a report first.
        defaults: settings of the stages that suit it.
        spaces: name -> search space of a sweep (dotted name -> value or dimension), for packages that bring their own;
            the first is the default of jobs/tune.py.
    """

    name: str
    domain: Domain
    states: Callable[[pa.Table], Batch]
    problems: type[Config]
    mining: type[Config]
    proposers: Mapping[str, type[Config]]
    rewards: Mapping[str, type[Config]]
    learners: Mapping[str, type[Config]]
    verifier: Callable[[], Verifier]
    known: KnownValues | None = field(default=None)
    budgets: Budgets | None = field(default=None)
    drawing: Drawing | None = field(default=None)
    answers: Answers | None = field(default=None)
    written: Written | None = field(default=None)
    labels: Mapping[str, type[Config]] = field(default_factory=dict)
    sources: Mapping[str, type[Config]] = field(default_factory=dict)
    benchmarks: Benchmarks | None = field(default=None)
    pretraining: Pretraining | None = field(default=None)
    learning: Learning | None = field(default=None)
    steps: Callable[[pa.Table], tuple[Any, Any]] | None = field(default=None)
    rivals: Mapping[str, type[Config]] = field(default_factory=dict)
    about: str = ""
    defaults: Defaults = field(default_factory=Defaults)
    spaces: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def trained_scale(self) -> Scale:
        """What reward models say that are trained on this domain's labels."""
        return "probability" if measures_of(self.verifier())[0].binary else "rank"


def wing_names() -> list[str]:
    """Every installed domain."""
    return sorted(plugin_points("domains"))


def find_wing(name: str) -> Wing:
    """The wing called `name`, with what other packages add to it, or an error that says which wings there are.

    Only that wing is imported: the walk does not wait for the libraries of the others.

    A package adds kinds to a domain it does not own through the entry-point groups ``stepward.proposers.<domain>``,
    ``stepward.rewards.<domain>``, ``stepward.learners.<domain>`` and ``stepward.rivals.<domain>`` (kinds of label:
    ``stepward.labels.<domain>``).
    """
    point = lookup(plugin_points("domains"), name, kind="domain")
    try:
        wing = point.load()
    except ModuleNotFoundError as error:
        raise ValueError(
            f"domain {name!r}: expected the package {error.name}, which is not installed. "
            f"Install what this domain needs, such as: pip install 'stepward[{name}]'"
        ) from error
    return replace(
        wing,
        proposers={**wing.proposers, **plugins(f"proposers.{name}")},
        rewards={**wing.rewards, **plugins(f"rewards.{name}")},
        learners={**wing.learners, **plugins(f"learners.{name}")},
        rivals={**wing.rivals, **plugins(f"rivals.{name}")},
    )


def rejected_table(rows: Iterable[Rejected], stage: str) -> pa.Table:
    """Dead letters as a table: id, stage, error, content."""
    rows = list(rows)
    return pa.table(
        {
            "id": pa.array([row.id for row in rows], pa.string()),
            "stage": pa.array([stage] * len(rows), pa.string()),
            "error": pa.array([row.error for row in rows], pa.string()),
            "content": pa.array([row.content[:1000] for row in rows], pa.string()),
        }
    )
