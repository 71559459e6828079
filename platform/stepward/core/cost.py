"""What a search spends, counted by wrappers around proposers and reward models rather than by their good will.

`metered_proposer` and `metered_reward` charge the ledger that is recording, row by row, to the problem each child
belongs to. So a lookahead that rolls states forward inside a reward model is charged like any other proposal.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, fields

import numpy as np
from jaxtyping import Bool, Float, Int

from stepward.core.batch import Batch
from stepward.core.interfaces import Domain, Proposer, RewardModel
from stepward.core.seeding import Rng


@dataclass(frozen=True)
class Cost:
    """An amount of work for one problem; as a budget, a limit on each kind (`inf`: no limit).

    Attributes:
        expansions: states whose children were proposed by the search.
        proposals: children proposed, lookahead included.
        nfe: network forward passes of the proposer.
        generated_tokens: tokens sampled by the proposer.
        scored: steps scored by reward models.
        scored_tokens: tokens read by reward models.
        flops: floating-point operations: 2 * parameters * tokens for every forward pass.
        seconds: wall-clock time inside proposer and reward models; a batch's time is shared equally by its rows.
    """

    expansions: float = 0.0
    proposals: float = 0.0
    nfe: float = 0.0
    generated_tokens: float = 0.0
    scored: float = 0.0
    scored_tokens: float = 0.0
    flops: float = 0.0
    seconds: float = 0.0

    @classmethod
    def limit(cls, **limits: float) -> Cost:
        """A budget: the kinds named are limited, the others are not. At least one limit must be finite."""
        unknown = set(limits) - set(KINDS)
        if unknown:
            raise ValueError(f"Budget: expected kinds among {list(KINDS)}, got {sorted(unknown)}.")
        bad = {kind: value for kind, value in limits.items() if not value > 0}
        if bad:
            raise ValueError(f"Budget: expected limits above 0, got {bad}.")
        if not any(math.isfinite(value) for value in limits.values()):
            raise ValueError(f"Budget: expected at least one finite limit among {list(KINDS)}, got {limits}.")
        return cls(**{kind: limits.get(kind, math.inf) for kind in KINDS})

    @property
    def limited(self) -> tuple[str, ...]:
        """Kinds that a budget limits."""
        return tuple(kind for kind in KINDS if math.isfinite(getattr(self, kind)))

    def __add__(self, other: Cost) -> Cost:
        return Cost(**{kind: getattr(self, kind) + getattr(other, kind) for kind in KINDS})

    def to_dict(self) -> dict[str, float]:
        """Amount by kind of cost, one entry for each of `KINDS`."""
        return asdict(self)


KINDS: tuple[str, ...] = tuple(f.name for f in fields(Cost))
_recording: ContextVar[Ledger | None] = ContextVar("stepward_ledger", default=None)


class Ledger:
    """Spent cost of P problems: one float array [P] a kind, in `spent`."""

    def __init__(self, num_problems: int) -> None:
        self.num_problems = num_problems
        self.spent: dict[str, Float[np.ndarray, " p"]] = {kind: np.zeros(num_problems) for kind in KINDS}

    def charge(self, problem: Int[np.ndarray, " n"], **amounts: Float[np.ndarray, " n"] | float) -> None:
        """Add amounts (one number a row, or one for every row) to the problem each row belongs to."""
        rows = np.bincount(problem, minlength=self.num_problems).astype(np.float64)
        for kind, amount in amounts.items():
            if np.ndim(amount) == 0:
                self.spent[kind] += rows * amount
            else:
                self.spent[kind] += np.bincount(problem, weights=amount, minlength=self.num_problems)

    def within(self, budget: Cost) -> Bool[np.ndarray, " p"]:
        """Problems that have some of every limited kind left."""
        open_ = np.ones(self.num_problems, bool)
        for kind in budget.limited:
            open_ &= self.spent[kind] < getattr(budget, kind)
        return open_

    def above(self, budget: Cost, kinds: Sequence[str]) -> Bool[np.ndarray, " p"]:
        """Problems that have spent more than the limit of one of `kinds`."""
        over = np.zeros(self.num_problems, bool)
        for kind in kinds:
            over |= self.spent[kind] > getattr(budget, kind)
        return over

    def take_back(self, problems: Bool[np.ndarray, " p"], before: Mapping[str, Float[np.ndarray, " p"]]) -> None:
        """Charge some problems no more than they had spent before."""
        for kind, amounts in before.items():
            self.spent[kind][problems] = amounts[problems]

    def total(self) -> Cost:
        """Cost of all problems together."""
        return Cost(**{kind: float(values.sum()) for kind, values in self.spent.items()})

    @contextmanager
    def recording(self) -> Iterator[Ledger]:
        """Within this block, metered proposers and reward models charge this ledger."""
        token = _recording.set(self)
        try:
            yield self
        finally:
            _recording.reset(token)


class MeteredProposer:
    """A proposer whose work is charged. Build it with `metered_proposer`."""

    def __init__(self, inner: Proposer, domain: Domain) -> None:
        self.inner, self.domain = inner, domain
        self.num_parameters, self.nfe = inner.num_parameters, inner.nfe

    def propose(self, states: Batch, *, num_candidates: int, rng: Rng) -> Batch:
        """The inner proposer's children, charged to the problem of each: proposals, tokens, passes, FLOPs, seconds."""
        start = time.perf_counter()
        children = self.inner.propose(states, num_candidates=num_candidates, rng=rng)
        seconds = time.perf_counter() - start
        expected = len(states) * num_candidates
        if len(children) != expected:
            raise ValueError(
                f"{type(self.inner).__name__}.propose: expected {len(states)} states x {num_candidates} candidates = "
                f"{expected} children, got {len(children)}. A proposer returns exactly k children of every state."
            )
        self._charge(children, num_candidates, seconds)
        return children

    def tell(self, states: Batch, *, rng: Rng) -> Iterator[tuple[Int[np.ndarray, " _"], Batch]] | None:
        """Rollouts of the inner proposer, where it tells them; every step is charged as a proposal."""
        told = self.inner.tell(states, rng=rng) if hasattr(self.inner, "tell") else None
        return None if told is None else self._charged(told)

    def _charged(
        self, told: Iterator[tuple[Int[np.ndarray, " _"], Batch]]
    ) -> Iterator[tuple[Int[np.ndarray, " _"], Batch]]:
        start = time.perf_counter()
        for rows, children in told:
            self._charge(children, 1, time.perf_counter() - start)
            yield rows, children
            start = time.perf_counter()

    def _charge(self, children: Batch, num_candidates: int, seconds: float) -> None:
        ledger, expected = _recording.get(), len(children)
        if ledger is not None and expected:
            tokens = charged_tokens(self.inner, self.domain, children)
            passes = charged_passes(self.inner, num_candidates)
            ledger.charge(
                children.problem,
                proposals=1.0,
                nfe=passes,
                generated_tokens=tokens,
                flops=2.0 * self.num_parameters * (passes or 1.0) * tokens,
                seconds=seconds / expected,
            )


class MeteredReward:
    """A reward model whose work is charged. Build it with `metered_reward`."""

    def __init__(self, inner: RewardModel, domain: Domain) -> None:
        self.inner, self.domain = inner, domain
        self.num_parameters = inner.num_parameters

    def score(self, parents: Batch, children: Batch) -> Float[np.ndarray, " n"]:
        """The inner model's scores, charged to the problem of each child: scored tokens, passes, FLOPs, seconds."""
        start = time.perf_counter()
        scores = np.asarray(self.inner.score(parents, children), dtype=np.float64)
        seconds = time.perf_counter() - start
        if scores.shape != (len(children),):
            raise ValueError(
                f"{type(self.inner).__name__}.score: expected one score a child, shape ({len(children)},), got "
                f"{scores.shape}. Score rows independently and do not reduce over the batch."
            )
        ledger = _recording.get()
        if ledger is not None and len(children):
            tokens = charged_tokens(self.inner, self.domain, children)
            ledger.charge(
                children.problem,
                scored=1.0,
                scored_tokens=tokens,
                flops=2.0 * self.num_parameters * tokens,
                seconds=seconds / len(children),
            )
        return scores


class Combinator:
    """Base of what is made of other reward models or proposers. It charges nothing itself: its parts are metered."""

    num_parameters = 0


def charged_tokens(component: Proposer | RewardModel, domain: Domain, children: Batch) -> Float[np.ndarray, " n"]:
    """Tokens a forward pass over each child is charged for: the component's own count, or those of the last step."""
    count = getattr(component, "charged_tokens", None) or domain.step_tokens
    return count(children).astype(np.float64)


def charged_passes(proposer: Proposer, num_candidates: int) -> float:
    """Forward passes charged to each child: the proposer's own count for so many siblings, or its `nfe`."""
    count = getattr(proposer, "charged_passes", None)
    return float(proposer.nfe if count is None else count(num_candidates))


def metered_proposer(proposer: Proposer, domain: Domain) -> Proposer:
    """`proposer` with its work charged to the recording ledger; metered ones and combinators are returned unchanged."""
    return proposer if isinstance(proposer, MeteredProposer | Combinator) else MeteredProposer(proposer, domain)


def metered_reward(reward: RewardModel, domain: Domain) -> RewardModel:
    """`reward` with its work charged to the recording ledger; metered ones and combinators are returned as they are."""
    return reward if isinstance(reward, MeteredReward | Combinator) else MeteredReward(reward, domain)
