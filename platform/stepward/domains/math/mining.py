"""Partial solutions to label: the beginnings of solutions that a proposer sampled."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from stepward.core.batch import repeat
from stepward.core.config import Config, else_kind
from stepward.core.interfaces import Proposer
from stepward.core.rollout import forked, rollout
from stepward.core.seeding import Rng
from stepward.domains.math.reading_settings import WriterSettings
from stepward.domains.math.server.settings import ServerSettings
from stepward.domains.math.settings import LanguageModelSettings
from stepward.domains.math.states import MathDomain, MathStates, math_states, state_columns

__all__ = ["MathMining"]


Writer = Annotated[LanguageModelSettings | ServerSettings, Field(discriminator="kind"), else_kind("lm")]


class MathMining(Config):
    """Which partial solutions are labelled: every beginning of some sampled solutions, each text once a problem."""

    IN_WORKERS: ClassVar[bool] = True  # sampling takes a model, so the actor pool mines

    model: Writer | None = Field(
        None, description="what samples them; none: the proposer that is labelled, with its prompt and its steps"
    )
    temperatures: tuple[float, ...] = Field(
        (0.7, 1.0),
        min_length=1,
        description="of the proposer, where no model is named; low ones are typical and high ones show more errors",
    )
    samples_per_problem: int = Field(2, ge=1, description="solutions sampled for a problem")
    max_prefixes: int = Field(
        0, ge=0, description="beginnings kept of a solution, chosen at random, the finished one always; 0: all"
    )

    @model_validator(mode="after")
    def _no_setting_without_effect(self) -> MathMining:
        if self.model is not None and self.temperatures not in ((0.7, 1.0), self.model.temperatures):
            raise ValueError("temperatures: would have no effect beside a model of its own; write model.temperatures")
        return self

    def follow(self, policy: Config) -> MathMining:
        """The same, with the proposer that is labelled in place of a model that is not named."""
        if self.model is not None:
            return self
        if isinstance(policy, WriterSettings):
            policy = policy.model_copy(update={"temperatures": self.temperatures})
        return self.model_copy(update={"model": policy})

    def prepare(self) -> None:
        """Load the model, which raises if it cannot be used."""
        _proposer(self.model or LanguageModelSettings(temperatures=self.temperatures))

    def mine(self, problems: pa.Table, seed: int) -> pa.Table:
        """Beginnings of sampled solutions, from the bare question to the finished text.

        Columns: id ("<problem>/<sample>/<lines>"), problem_id, question, answer, those of a state, trace
        ("<problem>/<sample>") and multiplicity: how many samples of the problem begin with this very text. Texts that
        several samples share are one row, under the id of the first.
        """
        names, times = problems["id"].to_pylist(), self.samples_per_problem
        traces = [f"{name}/{j}" for name in names for j in range(times)]
        steps = self._sample(repeat(math_states(problems), times), Rng.from_ids(seed, traces, "mine"))
        kept = self._kept([rows for rows, _ in steps], Rng.from_ids(seed, traces, "prefixes"))
        return _table(names, traces, steps, kept)

    def _sample(self, states: MathStates, rng: Rng) -> list[tuple[np.ndarray, MathStates]]:
        """(samples, their states) after 0, 1, 2, … lines; a sample that is over is not in later entries."""
        steps = [(np.arange(len(states)), states)]
        if not len(states):
            return steps
        model = self.model or LanguageModelSettings(temperatures=self.temperatures)
        found = rollout(states, domain=MathDomain(), proposer=_proposer(model), streams=forked(rng, first=1))
        return [*steps, *((step.rows, step.children) for step in found)]

    def _kept(self, steps: Sequence[np.ndarray], rng: Rng) -> list[np.ndarray]:
        """Which entries of every step are kept: all, or of every sample its last and others at random."""
        last = np.zeros(len(rng), np.int64)
        for depth, rows in enumerate(steps):
            last[rows] = depth
        if not self.max_prefixes:
            return [np.ones(len(rows), bool) for rows in steps]
        draws = rng.uniform(len(steps))
        draws[np.arange(len(steps)) > last[:, None]] = np.inf
        draws[np.arange(len(rng)), last] = 0.0
        rank = draws.argsort(axis=1).argsort(axis=1)
        return [rank[rows, depth] < self.max_prefixes for depth, rows in enumerate(steps)]


def _table(
    names: list[str],
    traces: list[str],
    steps: list[tuple[np.ndarray, MathStates]],
    kept: list[np.ndarray],
) -> pa.Table:
    """Rows by problem, sample and number of lines; of equal texts of one problem the first."""
    rows = np.concatenate([mine[keep] for (mine, _), keep in zip(steps, kept, strict=True)])
    states = MathStates.concat([part.take(keep) for (_, part), keep in zip(steps, kept, strict=True)])
    lines = np.repeat(np.arange(len(steps)), [int(keep.sum()) for keep in kept])
    order = np.lexsort((lines, rows))
    rows, states, lines = rows[order], states.take(order), lines[order]
    groups: dict[tuple[int, str, int], list[int]] = {}
    for i, key in enumerate(zip(states.problem, states.text, states.ending, strict=True)):
        groups.setdefault(key, []).append(i)
    first = np.array([group[0] for group in groups.values()], dtype=np.int64)
    rows, states, lines = rows[first], states.take(first), lines[first]
    text = {
        "id": [f"{traces[row]}/{depth}" for row, depth in zip(rows, lines, strict=True)],
        "problem_id": [names[p] for p in states.problem],
        "question": states.question,
        "answer": states.reference,
        "trace": [traces[row] for row in rows],
    }
    return pa.table(
        {
            **{name: pa.array(values, pa.string()) for name, values in text.items()},
            **state_columns(states),
            "multiplicity": pa.array([len(group) for group in groups.values()], pa.int32()),
        }
    )


@lru_cache(maxsize=2)
def _proposer(settings: LanguageModelSettings | ServerSettings) -> Proposer:
    """Kept between chunks of problems: loading takes longer than mining a few."""
    return settings.build()
