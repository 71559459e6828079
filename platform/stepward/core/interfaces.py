"""The interfaces a domain, a proposer, a reward model, a verifier and a search obey.

Shapes: n states in, n * k children out, row-major (children of state i are rows i*k .. i*k + k - 1).
All methods are batched and none has a single-item form.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, Int8, UInt64

from stepward.core.batch import Batch
from stepward.core.seeding import Rng

WORST = -1e6  # score of a step that must not be taken: finite, so that z-scores exist, and below all others


class UnavailableError(RuntimeError):
    """What all rows need, such as a server, cannot be used now: no row is to blame, so none becomes a dead letter.

    A stage stops at it and keeps what is done.
    """


S = TypeVar("S", bound=Batch)
S_contra = TypeVar("S_contra", bound=Batch, contravariant=True)


class Status(IntEnum):
    """Where a state stands, as anybody can see it without the ground truth."""

    OPEN = 0  # another step can be taken
    COMPLETE = 1  # the solution is finished: it has an answer, right or wrong
    DEAD = 2  # no further step is possible and there is no answer


@runtime_checkable
class Domain(Protocol[S_contra]):
    """What a search may know of a domain. It holds nothing that tells right answers from wrong ones."""

    name: str

    def status(self, states: S_contra) -> Int8[np.ndarray, " n"]:
        """`Status` of every state."""
        ...

    def keys(self, states: S_contra) -> UInt64[np.ndarray, " n"]:
        """Identity of a state within its problem: states with equal keys have the same future."""
        ...

    def step_tokens(self, states: S_contra) -> Int[np.ndarray, " n"]:
        """Tokens of the last step of every state; 1 where steps are not made of tokens."""
        ...


@runtime_checkable
class Proposer(Protocol[S]):
    """The policy: a language model, a surrogate of a PDE, the softmax walker.

    Attributes:
        num_parameters: weights used per forward pass and token; 0 for a rule or a table. FLOPs are charged from it.
        nfe: forward passes (network function evaluations) one proposal takes; 0 without a network.
    """

    num_parameters: int
    nfe: int

    # optional: charged_tokens(children) -> [n], where a proposal reads or writes other tokens than its step's
    # optional: charged_passes(num_candidates) -> float, where siblings share forward passes
    # optional: rollout_policy() -> Proposer, that rolls states on where one future is enough, such as without chance

    def propose(self, states: S, *, num_candidates: int, rng: Rng) -> S:
        """`num_candidates` children of every state: n -> n * k. `rng` holds one stream a state."""
        ...


@runtime_checkable
class RewardModel(Protocol[S_contra]):
    """Anything that scores a step.

    Attributes:
        num_parameters: weights used per forward pass and token; 0 for a rule or a table.
    """

    num_parameters: int

    # optional: charged_tokens(children) -> [n], where scoring reads more than the step's own tokens

    def score(self, parents: S_contra, children: S_contra) -> Float[np.ndarray, " n"]:
        """Score of the step from each parent to its child; higher is better. Rows are independent."""
        ...


@runtime_checkable
class Verifier(Protocol[S_contra]):
    """The only door to ground truth. Labelling, evaluation and the oracle baseline hold one; a search cannot."""

    # optional, where an outcome is not solved or not: measures, a tuple of `stepward.core.measures.Measure`, headline
    # first; and measure(roots, found) -> {name of each: [n]}, its value for every state found, NaN where it has none;
    # roots are the problems the states belong to, row by row

    def outcome(self, states: S_contra) -> Float[np.ndarray, " n"]:
        """1 for solved and 0 for not, or minus the error to the reference; higher is better."""
        ...


@runtime_checkable
class Combines(Protocol[S]):
    """A domain whose states can be mixed, as fields can: what composing searches ask for."""

    def extent(self, states: S) -> tuple[int, ...]:
        """Cells of the grid along its axes, for weights that differ from patch to patch."""
        ...

    def combine(self, parents: S, candidates: S, weights: Float[np.ndarray, "n k ..."], *, smooth: bool) -> S:
        """One child of each parent: the sum of its k candidates (n * k rows) with these weights.

        Args:
            weights: [n, k], or [n, k, r, s] a patch of the grid; they sum to 1 over k.
            smooth: interpolate weights between the centres of patches.
        """
        ...


def rollout_policy(proposer: Proposer) -> Proposer:
    """The policy a lookahead rolls states forward by: what the proposer offers for that, or the proposer itself."""
    return proposer.rollout_policy() if hasattr(proposer, "rollout_policy") else proposer


@runtime_checkable
class Search(Protocol[S_contra]):
    """From root states, one a problem, to solutions, within a budget that is counted a problem."""

    def __call__(
        self,
        problems: S_contra,
        *,
        domain: Domain,
        proposer: Proposer,
        reward: RewardModel,
        budget: Any,
        rng: Rng,
        keep_tree: bool = False,
    ) -> Any:
        """Solutions of every problem; what it may spend is limited a problem, and `rng` holds one stream a problem."""
        ...
