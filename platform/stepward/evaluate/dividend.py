"""The parallelism dividend of guides: 1 − Π (1 − p_c) over k candidates against what k continuations came to.

Candidates are children sampled from the labelling policy, each continued once by that policy. Given the children these
continuations are independent, so the product is right for p_c = V^π(child); and k continuations of one state are
independent given the state, so 1 − (1 − p)^k is right for p = V^π(state). What is measured beyond that is the guide's:
errors that siblings share make it promise too much or too little.
"""

from __future__ import annotations

import numpy as np

from stepward.core.batch import repeat
from stepward.core.interfaces import Proposer, RewardModel
from stepward.core.rollout import complete, forked
from stepward.core.seeding import Rng
from stepward.core.wing import Wing
from stepward.evaluate.held_out import HeldOut
from stepward.evaluate.study_settings import DividendStudy
from stepward.evaluate.tables import Row
from stepward.statistics.parallelism import parallelism_dividend


def dividend_rows(
    guide: RewardModel,
    held: HeldOut,
    study: DividendStudy,
    *,
    policy: Proposer,
    wing: Wing,
    seed: int,
    rng: np.random.Generator,
) -> list[Row]:
    """Predicted and realised success of k candidates, from the guide's values of the children and of the parents.

    Every guide meets the same children and the same continuations.
    """
    num = min(study.num_parents, len(held))
    parents, most = held.states.take(np.arange(num)), max(study.num_candidates)
    streams = Rng.from_ids(seed, held.ids[:num], "dividend")
    children = policy.propose(parents, num_candidates=most, rng=streams)
    ends = complete(children, domain=wing.domain, proposer=policy, streams=forked(streams.repeat(most)))
    success = (wing.verifier().outcome(ends) > 0.5).reshape(num, most)
    of_children = guide.score(repeat(parents, most), children).reshape(num, most)
    of_parents = np.repeat(guide.score(parents, parents)[:, None], most, axis=1)
    rows = []
    for k in study.num_candidates:
        for source, values in (("children", of_children), ("parent", of_parents)):
            groups = np.repeat(np.arange(num), k)
            found = parallelism_dividend(values[:, :k].reshape(-1), success[:, :k].reshape(-1), groups, rng=rng)
            row = {"num_candidates": k, "values_of": source, "num_parents": num, "single": found.single}
            row |= {"predicted": found.predicted, "realised": found.realised, "excess": found.excess.value}
            rows.append(row | {"excess_low": found.excess.low, "excess_high": found.excess.high})
    return rows
