"""Search with a reward model and any policy, one's own function included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from stepward.api.html import boxed, frame_html
from stepward.api.scoring import PRM
from stepward.core.capabilities import Generate
from stepward.core.config import validate
from stepward.core.cost import Cost
from stepward.core.registry import lookup
from stepward.core.seeding import Rng
from stepward.core.wing import Wing, find_wing
from stepward.rewards.written import written_of
from stepward.search.loop import SearchResult
from stepward.search.registry import build_search

DEFAULT_SEARCH = {"kind": "best_first", "num_candidates": 4}


@dataclass(frozen=True)
class Found:
    """What a search found for each question.

    Attributes:
        result: states, values and costs, as the search gave them.
        questions: in the order in which they were given.
        wing: the domain.
    """

    result: SearchResult
    questions: list[str]
    wing: Wing

    @property
    def solutions(self) -> list[list[str] | None]:
        """Steps of the best solution of every question; None where none was found."""
        texts = written_of(self.wing).steps(self.result.states)
        return [texts[best] if best >= 0 else None for best in self.result.best]

    @property
    def table(self) -> pd.DataFrame:
        """One row a question: the solution, its answer and value, and what it cost."""
        best, answers = self.result.best, self._answers()
        rows = {
            "question": self.questions,
            "solution": ["\n".join(steps) if steps is not None else None for steps in self.solutions],
            "answer": [answers[i] if i >= 0 else None for i in best],
            "value": [float(self.result.value[i]) if i >= 0 else None for i in best],
            "expansions": self.result.cost["expansions"],
            "proposals": self.result.cost["proposals"],
        }
        return pd.DataFrame(rows)

    def _answers(self) -> list[str]:
        answers = self.wing.answers
        return answers.texts(self.result.states) if answers else [""] * len(self.result.states)

    def _repr_html_(self) -> str:
        solved = sum(i >= 0 for i in self.result.best)
        title = f"{solved} of {len(self.questions)} questions have a finished solution"
        return boxed(title, f"{self.result.cost['expansions'].sum():,.0f} expansions", frame_html(self.table))


def search(
    questions: str | Sequence[str],
    guide: PRM | str,
    *,
    generate: Generate | None = None,
    proposer: Mapping[str, object] | None = None,
    search: Mapping[str, object] = DEFAULT_SEARCH,
    budget: int = 20,
    domain: str = "math",
    seed: int = 0,
) -> Found:
    """Search solutions of questions, steered by a guide; all questions advance together.

    Args:
        questions: one or several.
        guide: a reward model, or a kind that needs no training, such as "likelihood".
        generate: ``(questions, steps so far, num) -> num next steps of each``, one's own policy; a step that states a
            final answer ends its solution, an empty one ends it without.
        proposer: settings of a proposer of the domain, ``{"kind": "lm", "model": "my-folder"}``; none: its default.
        search: kind of search and its settings.
        budget: expansions a question.
        domain: of a guide that is named.
        seed: of all random numbers; a question's result does not depend on the questions beside it.
    """
    asked = [questions] if isinstance(questions, str) else list(questions)
    wing = guide.wing if isinstance(guide, PRM) else find_wing(domain)
    written = written_of(wing)
    named: Any = None if isinstance(guide, PRM) else lookup(wing.rewards, guide, kind="guide")
    reward = guide.reward if isinstance(guide, PRM) else named().build(wing.domain)
    policy = written.proposer(generate) if generate is not None else _proposer(wing, proposer or {})
    result = build_search(dict(search))(
        written.states(asked, [[] for _ in asked]),
        domain=wing.domain,
        proposer=policy,
        reward=reward,
        budget=Cost.limit(expansions=budget),
        rng=Rng.from_ids(seed, asked, "search"),
    )
    return Found(result, asked, wing)


def _proposer(wing: Wing, values: Mapping[str, object]) -> Any:
    kind = str(values.get("kind", next(iter(wing.proposers))))
    settings: Any = validate(lookup(wing.proposers, kind, kind="proposer"), {**values, "kind": kind})
    return settings.build()
