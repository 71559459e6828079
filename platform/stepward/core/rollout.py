"""Rollouts: states that a policy carries on, step by step, all in lockstep. The only such loop of the platform.

Mining, continuation labels, samples, lookahead, horizons of rankings: each says where rollouts begin, what streams they
follow and how far they go, and takes what it needs of every step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Int

from stepward.core.batch import Batch, repeat
from stepward.core.interfaces import Domain, Proposer, Status
from stepward.core.seeding import Rng

__all__ = [
    "Completer",
    "Step",
    "Streams",
    "Teller",
    "complete",
    "continuations",
    "ends",
    "forked",
    "rollout",
    "running",
]

B = TypeVar("B", bound=Batch)
MAX_STEPS = 100_000


@runtime_checkable
class Completer(Protocol):
    """What a proposer may offer beside `propose`: rollouts to the end in one call, where that is faster."""

    def complete(self, states: B, *, num_continuations: int, rng: Rng) -> B:
        """Every state `num_continuations` times rolled out, n -> n * M, row-major; none of them is open.

        Distributed as `propose` applied until nothing is open. `rng` holds one stream a state.
        """
        ...


@runtime_checkable
class Teller(Protocol):
    """What a proposer may offer beside `propose`: rollouts sampled in one go and told step by step, where that is
    faster.
    """

    def tell(self, states: B, *, rng: Rng) -> Iterator[tuple[Int[np.ndarray, " _"], B]] | None:
        """(rows that take a step, their states after it) for step 1, 2, …, until no state is open; None: not now.

        Distributed as `propose` applied until nothing is open. `rng` holds one stream a state.
        """
        ...


Streams: TypeAlias = Callable[[Int[np.ndarray, " m"], int], Rng]
"""``streams(rows, step)``: random numbers of the rollouts `rows` for step number `step`, from 0; asked once a step."""


@dataclass(frozen=True)
class Step(Generic[B]):
    """One step of the m rollouts that are under way.

    Attributes:
        number: of the step, counted from 1.
        rows: which rollouts these are, increasing.
        parents, children: their states before and after it.
        last: positions in `children` of those that go no further.
    """

    number: int
    rows: Int[np.ndarray, " m"]
    parents: B
    children: B
    last: Int[np.ndarray, " l"]


def forked(rng: Rng, first: int = 0) -> Streams:
    """Streams of their own for every step, named by its number, the first by `first`."""
    return lambda rows, step: rng.take(rows).fork(step + first)


def running(rng: Rng) -> Streams:
    """The same streams throughout: a step goes on where the last one stopped drawing."""
    now = rng

    def streams(rows: Int[np.ndarray, " m"], step: int) -> Rng:
        nonlocal now
        now = Rng(rng.keys[rows], now.counter)
        return now

    return streams


def rollout(
    states: B,
    *,
    domain: Domain,
    proposer: Proposer,
    streams: Streams,
    max_steps: int | Int[np.ndarray, " n"] | None = None,
) -> Iterator[Step[B]]:
    """Roll n states forward, one child a step, until they are complete or dead; those that are leave the batch.

    Args:
        streams: `forked` or `running` ones, of n rows.
        max_steps: steps that a rollout takes at most, one number or one a row; None: as many as there are.

    Raises:
        ValueError: without `max_steps`, some rollouts do not come to an end.
    """
    most = np.broadcast_to(MAX_STEPS if max_steps is None else max_steps, len(states))
    rows = np.flatnonzero((domain.status(states) == Status.OPEN) & (most > 0))
    states = states if len(rows) == len(states) else states.take(rows)
    told = proposer.tell(states, rng=streams(rows, 0)) if max_steps is None and isinstance(proposer, Teller) else None
    if told is not None:
        yield from _told(rows, states, told, domain)
        return
    number = 0
    while len(rows):
        children = proposer.propose(states, num_candidates=1, rng=streams(rows, number))
        number += 1
        is_open = domain.status(children) == Status.OPEN
        going = is_open & (number < most[rows])
        if max_steps is None and number == MAX_STEPS and is_open.any():
            raise ValueError(
                f"Rollouts: expected every one to be complete or dead within {MAX_STEPS} steps, but {is_open.sum()} "
                f"are open. Give the domain {domain.name!r} a step budget."
            )
        yield Step(number, rows, states, children, np.flatnonzero(~going))
        on = np.flatnonzero(going)
        rows, states = (rows, children) if len(on) == len(rows) else (rows[on], children.take(on))


def _told(
    rows: Int[np.ndarray, " n"], states: B, told: Iterator[tuple[Int[np.ndarray, " _"], B]], domain: Domain
) -> Iterator[Step[B]]:
    """The steps of rollouts that a proposer tells."""
    under_way = np.arange(len(rows))
    for number, (mine, children) in enumerate(told, 1):
        parents = states.take(np.searchsorted(under_way, mine))
        yield Step(number, rows[mine], parents, children, np.flatnonzero(domain.status(children) != Status.OPEN))
        under_way, states = mine, children


def ends(states: B, steps: Iterable[Step[B]]) -> B:
    """The last state of every rollout that began at `states`, in their order."""
    parts, place = [states], np.arange(len(states))
    offset = len(states)
    for step in steps:
        if len(step.last):
            parts.append(step.children.take(step.last))
            place[step.rows[step.last]] = offset + np.arange(len(step.last))
            offset += len(step.last)
    return type(states).concat(parts).take(place) if len(parts) > 1 else states


def complete(states: B, *, domain: Domain, proposer: Proposer, streams: Streams) -> B:
    """Every state rolled forward until it is complete or dead; same rows, same order."""
    return ends(states, rollout(states, domain=domain, proposer=proposer, streams=streams))


def continuations(
    states: B, num: int, *, domain: Domain, proposer: Proposer, rng: Rng, in_flight: int
) -> Iterator[tuple[Int[np.ndarray, " m"], B]]:
    """`num` rollouts of every state to its end, told as they end: (states that m of them began at, where they ended).

    What a state's rollouts are depends on its own stream alone. A proposer that completes solutions at once does so.

    Args:
        rng: one stream a state.
        in_flight: rollouts that advance together.

    Raises:
        ValueError: rollouts do not come to an end.
    """
    size = max(1, in_flight // num)
    for first in range(0, len(states), size):
        rows = np.arange(first, min(first + size, len(states)))
        piece, streams = without_history(states.take(rows)), rng.take(rows)
        if isinstance(proposer, Completer):
            yield np.repeat(rows, num), _completed(piece, num, domain, proposer, streams)
        else:
            for begun, found in _as_they_end(repeat(piece, num), domain, proposer, running(streams.repeat(num))):
                yield first + begun // num, found


def without_history(states: B) -> B:
    """The same states without what only records their past, where a batch of the domain can leave that out.

    A batch may offer ``without_history()`` when proposals and outcomes do not depend on the past it carries: rollouts
    then do not copy it at every step.
    """
    return states.without_history() if hasattr(states, "without_history") else states


def _as_they_end(
    states: B, domain: Domain, proposer: Proposer, streams: Streams
) -> Iterator[tuple[Int[np.ndarray, " m"], B]]:
    """(rows, last states) of rollouts, those first that end first."""
    over = np.flatnonzero(domain.status(states) != Status.OPEN)
    if len(over):
        yield over, states.take(over)
    for step in rollout(states, domain=domain, proposer=proposer, streams=streams):
        if len(step.last):
            yield step.rows[step.last], step.children.take(step.last)


def _completed(states: B, num: int, domain: Domain, proposer: Completer, rng: Rng) -> B:
    """All rollouts of a few states in one call of the proposer."""
    found = proposer.complete(states, num_continuations=num, rng=rng)
    expected, num_open = len(states) * num, int((domain.status(found) == Status.OPEN).sum())
    if len(found) != expected or num_open:
        raise ValueError(
            f"{type(proposer).__name__}.complete: expected {len(states)} states x {num} rollouts = {expected} "
            f"states that are complete or dead, got {len(found)}, {num_open} of them open. Roll each out to its end."
        )
    return found
