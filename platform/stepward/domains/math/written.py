"""Solutions as people hand them over: a question and a list of steps; and a policy that is a plain function of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stepward.core.batch import repeat
from stepward.core.capabilities import Generate
from stepward.core.seeding import Rng
from stepward.domains.math.states import Ending, MathStates, roots
from stepward.domains.math.steps import is_final_answer

__all__ = ["FunctionProposer", "steps_of", "written_states"]


def written_states(questions: Sequence[str], steps: Sequence[Sequence[str]]) -> MathStates:
    """States with these steps, a line each: line breaks within a step become spaces.

    One whose last step states a final answer is answered. Tokens and their likelihood are not known: 0.
    """
    asked, none = np.empty(len(questions), object), np.full(len(questions), "", object)
    asked[:] = list(questions)
    return _with_steps(roots(asked, none), steps)


def steps_of(states: MathStates) -> list[list[str]]:
    """Steps of every solution, without the line breaks around them."""
    return [[step.strip("\n") for step in steps] for steps in states.steps()]


class FunctionProposer:
    """Asks a function for the next steps; what it costs inside is not known, so only proposals are charged.

    Args:
        generate: see `stepward.core.capabilities.Generate`.
    """

    num_parameters = 0
    nfe = 0

    def __init__(self, generate: Generate) -> None:
        self._generate = generate

    def propose(self, states: MathStates, *, num_candidates: int, rng: Rng) -> MathStates:
        """Children of every state; an empty step ends a solution without an answer.

        Raises:
            ValueError: the function did not give `num_candidates` texts for each solution.
        """
        before = steps_of(states)
        found = [list(texts) for texts in self._generate(list(states.question), before, num_candidates)]
        if [len(texts) for texts in found] != [num_candidates] * len(states):
            raise ValueError(
                f"generate: expected {num_candidates} next steps for each of {len(states)} solutions, got "
                f"{sorted({len(texts) for texts in found})} for {len(found)}"
            )
        steps = [[*begun, text] for begun, texts in zip(before, found, strict=True) for text in texts]
        children = _with_steps(repeat(states, num_candidates), [[s for s in row if s.strip()] for row in steps])
        stopped = np.array([not row[-1].strip() for row in steps], bool)
        ending = np.where(stopped & (children.ending == Ending.OPEN), Ending.NO_ANSWER, children.ending)
        return children.replace(ending=ending.astype(np.int8))


def _with_steps(states: MathStates, steps: Sequence[Sequence[str]]) -> MathStates:
    lines = [[" ".join(step.split("\n")).strip() for step in row] for row in steps]
    text = np.empty(len(lines), object)
    text[:] = ["".join(f"{line}\n" for line in row) for row in lines]
    ending = [Ending.ANSWERED if row and is_final_answer(row[-1]) else Ending.OPEN for row in lines]
    return states.replace(
        text=text, num_steps=np.array([len(row) for row in lines], np.int64), ending=np.array(ending, np.int8)
    )
