"""Monte-Carlo values of the children of held-out states, where true values are not known.

The children are those that every guide is asked to rank. They are labelled once, in pieces, and shared by all guides.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from stepward.core.interfaces import Proposer
from stepward.core.rollout import continuations
from stepward.core.seeding import Rng
from stepward.core.wing import Wing
from stepward.evaluate.held_out import HeldOut
from stepward.evaluate.study_settings import ValueStudy
from stepward.evaluate.values import siblings

IN_FLIGHT = 8192  # rollouts that advance together


def num_families(held: int, study: ValueStudy) -> int:
    """Held-out states whose children are labelled."""
    return min(study.max_parents, held)


def label_siblings(
    held: HeldOut,
    first: int,
    end: int,
    study: ValueStudy,
    *,
    policy: Proposer,
    proposer: Proposer,
    wing: Wing,
    seed: int,
) -> pa.Table:
    """Successes among `study.sibling_rollouts` continuations, by the labels' policy, of the children of states
    `first` to `end`; one row a child: parent (position among the held-out states), child, successes, num_rollouts.
    """
    parents, ids = held.states.take(np.arange(first, end)), held.ids[first:end]
    _, children = siblings(parents, ids, study.num_children, proposer, seed)
    names = [f"{name}/{j}" for name in ids for j in range(study.num_children)]
    rng, times = Rng.from_ids(seed, names, "sibling labels"), study.sibling_rollouts
    successes, verifier = np.zeros(len(children)), wing.verifier()
    for rows, ends in continuations(children, times, domain=wing.domain, proposer=policy, rng=rng, in_flight=IN_FLIGHT):
        successes += np.bincount(rows, verifier.outcome(ends) > 0.5, len(children))
    parent = np.repeat(np.arange(first, end), study.num_children)
    pairs = np.stack([parent.astype(np.uint64), wing.domain.keys(children)], axis=1)
    same = np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1)
    return pa.table(
        {
            "parent": parent,
            "child": np.tile(np.arange(study.num_children), end - first),
            "successes": np.bincount(same, successes).astype(np.int64)[same],
            "num_rollouts": (np.bincount(same) * times)[same],
        }
    )
