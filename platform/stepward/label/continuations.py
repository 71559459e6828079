"""Monte-Carlo continuation labels: how often does the proposer, left alone, solve the problem from here?

For a state s the label is the pair (successes, M) of M independent rollouts of the proposer π. Their ratio p̂ estimates
V^π(s) = P(solved | s, π) without bias, with standard error √(V^π(1 − V^π)/M): Wang et al. 2024, "Math-Shepherd",
arXiv:2312.08935, section 3.3 (soft estimation).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import numpy as np
from jaxtyping import Float, Int

from stepward.core.batch import Batch
from stepward.core.interfaces import Domain, Proposer, Verifier
from stepward.core.rollout import continuations
from stepward.core.seeding import Rng

B = TypeVar("B", bound=Batch)

Record: TypeAlias = Callable[[Int[np.ndarray, " m"], Any, Float[np.ndarray, " m"]], None]
"""``record(rows, ends, outcome)``: which states m rollouts began at, where they ended, and whether solved."""

IN_FLIGHT = 65_536


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
    successes = np.zeros(len(states))
    how: dict[str, Any] = {"domain": domain, "proposer": proposer, "rng": rng, "in_flight": in_flight}
    for rows, ends in continuations(states, num_rollouts, **how):
        outcome = _zero_or_one(verifier.outcome(ends))
        if record is not None:
            record(rows, ends, outcome)
        successes += np.bincount(rows, weights=outcome, minlength=len(states))
    return successes.astype(np.int64)


def shifted(record: Record, rows: Int[np.ndarray, " p"]) -> Record:
    """For a piece of the states: tells of rows of all of them."""
    return lambda owner, ends, outcome: record(rows[owner], ends, outcome)


def _zero_or_one(outcome: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    if not np.isin(outcome, (0.0, 1.0)).all():
        raise ValueError(
            f"Continuation labels: expected outcomes 0 (not solved) or 1 (solved), got {np.unique(outcome)[:5]}. "
            "A verifier that measures an error needs another kind of label."
        )
    return outcome
