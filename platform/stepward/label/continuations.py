"""Monte-Carlo continuation labels: how often does the proposer, left alone, solve the problem from here?

For a state s the label is the pair (successes, M) of M independent rollouts of the proposer π. Their ratio p̂ estimates
V*(s) = P(solved | s, π) without bias, with standard error √(V*(1 − V*)/M): Wang et al. 2024, "Math-Shepherd",
arXiv:2312.08935, section 3.3 (soft estimation).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from stepward.core.batch import Batch, repeat
from stepward.core.interfaces import Domain, Proposer, Status, Verifier
from stepward.core.seeding import Rng

B = TypeVar("B", bound=Batch)

Record: TypeAlias = Callable[[Int[np.ndarray, " m"], Any, Float[np.ndarray, " m"]], None]
"""``record(rows, ends, outcome)``: which states m rollouts began at, where they ended, and whether solved."""

IN_FLIGHT = 65_536
MAX_STEPS = 100_000


@runtime_checkable
class Completer(Protocol):
    """What a proposer may offer beside `propose`: rollouts to the end in one call, where that is faster."""

    def complete(self, states: Any, *, num_continuations: int, rng: Rng) -> Any:
        """Every state `num_continuations` times rolled out, n -> n * M, row-major; none of them is open.

        Distributed as `propose` applied until nothing is open. `rng` holds one stream a state.
        """
        ...


def count_successes(
    states: B,
    *,
    domain: Domain,
    proposer: Proposer,
    verifier: Verifier,
    num_rollouts: int,
    rng: Rng,
    in_flight: int = IN_FLIGHT,
    record: Record | None = None,
) -> Int[np.ndarray, " n"]:
    """Rollouts of each state that were solved, out of `num_rollouts` (M).

    Args:
        states: n partial solutions.
        num_rollouts: M. Good values: 64 to train on, 256 to judge by (standard errors at most .063 and .031).
        rng: one stream a state; a state's count depends on its own stream alone, not on the batch it comes in.
        in_flight: rollouts that advance together. Good values: 65,536 for rules on numbers;
            for a language model what fits its memory.
        record: told of every rollout as it ends.

    Raises:
        ValueError: the verifier answers something else than 0 or 1, or rollouts do not come to an end.
    """
    size = max(1, in_flight // num_rollouts)
    pieces = [np.arange(first, min(first + size, len(states))) for first in range(0, len(states), size)]
    roll_out: Any = _complete if isinstance(proposer, Completer) else _roll_out
    counts = []
    for p in pieces:
        told = shifted(record, p) if record else _unheard
        counts.append(roll_out(states.take(p), domain, proposer, verifier, num_rollouts, rng.take(p), told))
    return np.concatenate([np.zeros(0, np.int64), *counts])


def _roll_out(
    states: Any, domain: Domain, proposer: Proposer, verifier: Verifier, num_rollouts: int, rng: Rng, record: Record
) -> Int[np.ndarray, " n"]:
    """All rollouts of a few states in lockstep; those that are over leave the batch."""
    num = len(states)
    rollouts, streams = repeat(without_history(states), num_rollouts), rng.repeat(num_rollouts)
    owner = np.repeat(np.arange(num), num_rollouts)
    successes = np.zeros(num)
    for _ in range(MAX_STEPS):
        is_open = domain.status(rollouts) == Status.OPEN
        if not is_open.all():
            over = np.flatnonzero(~is_open)
            ends = rollouts.take(over)
            outcome = _zero_or_one(verifier.outcome(ends))
            record(owner[over], ends, outcome)
            successes += np.bincount(owner[over], weights=outcome, minlength=num)
            left = np.flatnonzero(is_open)
            rollouts, streams, owner = rollouts.take(left), streams.take(left), owner[left]
        if not len(rollouts):
            return successes.astype(np.int64)
        rollouts = proposer.propose(rollouts, num_candidates=1, rng=streams)
    raise ValueError(
        f"Rollouts: expected every one to be complete or dead within {MAX_STEPS} steps, but {len(rollouts)} are open. "
        f"Give the domain {domain.name!r} a step budget."
    )


def _complete(
    states: Any, domain: Domain, proposer: Completer, verifier: Verifier, num_rollouts: int, rng: Rng, record: Record
) -> Int[np.ndarray, " n"]:
    """All rollouts of a few states in one call of the proposer."""
    ends = proposer.complete(without_history(states), num_continuations=num_rollouts, rng=rng)
    expected, num_open = len(states) * num_rollouts, int((domain.status(ends) == Status.OPEN).sum())
    if len(ends) != expected or num_open:
        raise ValueError(
            f"{type(proposer).__name__}.complete: expected {len(states)} states x {num_rollouts} rollouts = {expected} "
            f"states that are complete or dead, got {len(ends)}, {num_open} of them open. Roll each out to its end."
        )
    outcome = _zero_or_one(verifier.outcome(ends))
    record(np.repeat(np.arange(len(states)), num_rollouts), ends, outcome)
    return outcome.reshape(len(states), num_rollouts).sum(axis=1).astype(np.int64)


def shifted(record: Record, rows: Int[np.ndarray, " p"]) -> Record:
    """For a piece of the states: tells of rows of all of them."""
    return lambda owner, ends, outcome: record(rows[owner], ends, outcome)


def _unheard(owner: Int[np.ndarray, " m"], ends: Any, outcome: Float[np.ndarray, " m"]) -> None:
    """No record is kept."""


def without_history(states: B) -> B:
    """The same states without what only records their past, where a batch of the domain can leave that out.

    A batch may offer ``without_history()`` when proposals and outcomes do not depend on the past it carries: rollouts
    then do not copy it at every step.
    """
    return states.without_history() if hasattr(states, "without_history") else states


def _zero_or_one(outcome: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    if not np.isin(outcome, (0.0, 1.0)).all():
        raise ValueError(
            f"Continuation labels: expected outcomes 0 (not solved) or 1 (solved), got {np.unique(outcome)[:5]}. "
            "A verifier that measures an error needs another kind of label."
        )
    return outcome
