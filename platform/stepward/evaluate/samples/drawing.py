"""Solutions sampled once a problem, what each says, and what every guide thinks of it: the raw rows of a sample study.

One row a solution, and one row a problem and number of samples for what was spent: from these two tables every vote
and every comparison is made later (`study`), without a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from stepward.core.batch import Batch
from stepward.core.cost import Combinator, Ledger, charged_tokens, metered_proposer, metered_reward
from stepward.core.interfaces import Domain, Proposer, RewardModel, Status
from stepward.core.rollout import ends, forked, rollout
from stepward.core.seeding import Rng
from stepward.core.wing import Wing
from stepward.rewards.aggregation import aggregation_named

SPENT = ("generated_tokens", "scored_tokens", "flops")
POLICY = ""  # arm of the cost of the samples themselves


@dataclass(frozen=True)
class Samples:
    """k sampled solutions of each of P problems, step by step.

    Attributes:
        steps: for every depth (rows, parents, children): which of the P * k solutions took a step, and the step.
        ends: the P * k last states, row-major.
        spent: kind of cost -> amount a solution, [P * k].
        num_samples: k.
    """

    steps: list[tuple[Int[np.ndarray, " _"], Batch, Batch]]
    ends: Batch
    spent: dict[str, Float[np.ndarray, " m"]]
    num_samples: int

    @property
    def num_problems(self) -> int:
        """P."""
        return len(self.ends) // self.num_samples


def draw(
    problems: Batch, ids: Sequence[str], num_samples: int, *, domain: Domain, proposer: Proposer, seed: int
) -> Samples:
    """Sample solutions step by step. Sample j of a problem depends on (seed, problem id, j) alone."""
    names = [f"{name}/{j}" for name in ids for j in range(num_samples)]
    rng, metered, ledger = Rng.from_ids(seed, names, "samples"), metered_proposer(proposer, domain), Ledger(len(names))
    states = problems.take(np.repeat(np.arange(len(problems)), num_samples)).replace(problem=np.arange(len(names)))
    with ledger.recording():
        taken = list(rollout(states, domain=domain, proposer=metered, streams=forked(rng)))
    steps = [
        (rows, _of_problem(step.parents, rows, num_samples), _of_problem(step.children, rows, num_samples))
        for step in taken
        for rows in (step.rows,)
    ]
    last = _of_problem(ends(states, taken), np.arange(len(names)), num_samples)
    return Samples(steps, last, {kind: ledger.spent[kind] for kind in SPENT}, num_samples)


def solution_table(
    samples: Samples, ids: Sequence[str], guides: Mapping[str, tuple[RewardModel, Sequence[str]]], wing: Wing
) -> pa.Table:
    """One row a solution: problem_id, sample, answer ("" if none), right, and ``<guide>/<aggregation>`` -> value.

    Args:
        guides: name -> (guide, aggregations of its step scores).
    """
    assert wing.answers is not None, "a sample study is of domains whose solutions state an answer"
    complete = wing.domain.status(samples.ends) == Status.COMPLETE
    right = wing.verifier().outcome(samples.ends) > 0.5
    answers = np.where(complete, np.array(wing.answers.texts(samples.ends), object), "")
    columns: dict[str, Any] = {
        "problem_id": np.repeat(np.array(ids, object), samples.num_samples),
        "sample": np.tile(np.arange(samples.num_samples), len(ids)),
        "complete": complete,
        "answer": answers,
        "right": right & complete,
    }
    for name, (guide, aggregations) in guides.items():
        columns |= {f"{name}/{how}": values for how, values in path_values(samples, guide, aggregations).items()}
    return pa.table({name: pa.array(values.tolist()) for name, values in columns.items()})


def path_values(
    samples: Samples, guide: RewardModel, aggregations: Sequence[str]
) -> dict[str, Float[np.ndarray, " m"]]:
    """Aggregation -> value of every solution, all from one pass over its steps."""
    folds = {name: aggregation_named(name) for name in aggregations}
    states = {name: fold.start(len(samples.ends)) for name, fold in folds.items()}
    for rows, parents, children in samples.steps:
        scores = guide.score(parents, children)
        for name, fold in folds.items():
            states[name][rows] = fold.extend(states[name][rows], scores)
    return {name: fold.value(states[name]) for name, fold in folds.items()}


def spending_table(
    samples: Samples, ids: Sequence[str], sizes: Sequence[int], guides: Mapping[str, RewardModel], domain: Domain
) -> pa.Table:
    """One row a problem, number of samples and arm: what the samples cost (arm ""), and what each guide cost on top."""
    parts = []
    for size in sizes:
        spent = {POLICY: {kind: _first(amounts, samples, size) for kind, amounts in samples.spent.items()}}
        first = _steps_of_first(samples, size)
        spent |= {name: reading_cost(guide, domain, first, samples.num_problems) for name, guide in guides.items()}
        for arm, amounts in spent.items():
            columns: dict[str, Any] = {"problem_id": list(ids), "size": [size] * len(ids), "arm": [arm] * len(ids)}
            parts.append(pa.table(columns | {kind: pa.array(amounts[kind], pa.float64()) for kind in SPENT}))
    return pa.concat_tables(parts)


def reading_cost(
    guide: RewardModel, domain: Domain, steps: list[tuple[Batch, Batch]], num_problems: int
) -> dict[str, Float[np.ndarray, " p"]]:
    """What scoring these steps costs each problem, as a metered reward model charges it.

    What is shared between the samples of a problem is charged as often as the guide says, so costs do not simply add
    up. Guides that are made of others score once more, so that their parts are charged.
    """
    ledger = Ledger(num_problems)
    if not steps:
        return {kind: ledger.spent[kind] for kind in SPENT}
    parents, children = (type(part[0]).concat(list(part)) for part in zip(*steps, strict=True))
    if isinstance(guide, Combinator):
        with ledger.recording():
            metered_reward(guide, domain).score(parents, children)
    elif guide.num_parameters:
        tokens = charged_tokens(guide, domain, children)
        ledger.charge(children.problem, scored_tokens=tokens, flops=2.0 * guide.num_parameters * tokens)
    return {kind: ledger.spent[kind] for kind in SPENT}


def _steps_of_first(samples: Samples, size: int) -> list[tuple[Batch, Batch]]:
    """(parents, children) of every depth, of the first `size` samples of each problem."""
    found = []
    for rows, parents, children in samples.steps:
        keep = np.flatnonzero(rows % samples.num_samples < size)
        if len(keep):
            found.append((parents.take(keep), children.take(keep)))
    return found


def _first(amounts: Float[np.ndarray, " m"], samples: Samples, size: int) -> Float[np.ndarray, " p"]:
    return np.asarray(amounts.reshape(-1, samples.num_samples)[:, :size].sum(axis=1))


def _of_problem(states: Batch, rows: Int[np.ndarray, " n"], num_samples: int) -> Batch:
    return states.replace(problem=rows // num_samples)
