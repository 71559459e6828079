"""What proposers that write text have in common: step by step, or whole solutions at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Int8, Shaped, UInt64

from stepward.core.batch import repeat
from stepward.core.rollout import Streams, complete
from stepward.core.seeding import Rng
from stepward.domains.math.grading import final_answer
from stepward.domains.math.prompts import Prompt
from stepward.domains.math.states import Ending, MathDomain, MathStates
from stepward.domains.math.steps import Limits, is_final_answer

__all__ = ["SEQUENCES_A_CALL", "Writer", "answered"]

SEQUENCES_A_CALL = 8192  # of an engine: its account of tokens takes 4 KiB a sequence of 512 tokens


class Writer(ABC):
    """A step is sampled at one temperature, drawn anew for every step where there are several.

    A line that states a final answer completes the solution, and so does the end of the text where an answer can be
    found in it; limits of steps, tokens and context end it dead. Solutions that are over stay as they are. What a row
    says depends on its own stream, question and text.

    Args:
        temperatures: logits are divided by one of them; .3 and .7 mixed give both safe and bold lines, .8 alone is
            usual for Monte-Carlo labels.
        top_p: nucleus sampling; 1 samples from all tokens.
        limits: what a step is, and how many there may be.
        prompt: what the model continues.
    """

    nfe = 1
    num_parameters: int

    def __init__(
        self, temperatures: Sequence[float], top_p: float, limits: Limits | None, prompt: Prompt | None
    ) -> None:
        self.temperatures, self.top_p = tuple(temperatures), top_p
        self.limits, self.prompt = limits or Limits(), prompt or Prompt()

    @abstractmethod
    def sample(
        self, states: MathStates, keys: UInt64[np.ndarray, " n"], temperature: float, *, whole: bool
    ) -> MathStates:
        """Open solutions with one step more, or with all steps; `keys` are what each row's randomness comes from."""

    def propose(self, states: MathStates, *, num_candidates: int, rng: Rng) -> MathStates:
        """`num_candidates` next steps of every solution."""
        keys, temperature = self._draw(rng, num_candidates)
        children = repeat(states.replace(last_tokens=np.zeros_like(states.last_tokens)), num_candidates)
        return self._write(children, keys, temperature, whole=False)

    def complete(self, states: MathStates, *, num_continuations: int, rng: Rng) -> MathStates:
        """Every solution `num_continuations` times written to its end: n -> n * M, row-major, none of them open.

        Distributed as `propose` applied step by step, and several times as fast, because a text is read once for all
        of its continuations and the batch is full until the last of them. With several temperatures it goes step by
        step.
        """
        size = max(1, SEQUENCES_A_CALL // num_continuations)
        pieces = [np.arange(first, min(first + size, len(states))) for first in range(0, len(states), size)]
        write = self._whole if len(self.temperatures) == 1 else self._step_by_step
        done = [write(states.take(piece), num_continuations, rng.take(piece)) for piece in pieces]
        return MathStates.concat([states.take(slice(0, 0)), *done])

    def _whole(self, states: MathStates, times: int, rng: Rng) -> MathStates:
        keys, temperature = self._draw(rng, times)
        return self._write(repeat(states, times), keys, temperature, whole=True)

    def _step_by_step(self, states: MathStates, times: int, rng: Rng) -> MathStates:
        return complete(
            repeat(states, times), domain=MathDomain(), proposer=self, streams=_forked_again(rng.repeat(times))
        )

    def _draw(self, rng: Rng, times: int) -> tuple[UInt64[np.ndarray, " m"], Int[np.ndarray, " m"]]:
        """A key of the engine's uniforms, and the index of a temperature, for each of `times` steps a stream."""
        keys = (rng.uniform(times).reshape(-1) * 2.0**53).astype(np.uint64)
        return keys, rng.integers(0, len(self.temperatures), times).reshape(-1)

    def _write(
        self, states: MathStates, keys: UInt64[np.ndarray, " m"], temperature: Int[np.ndarray, " m"], *, whole: bool
    ) -> MathStates:
        is_open = states.ending == Ending.OPEN
        for index, value in enumerate(self.temperatures):
            rows = np.flatnonzero(is_open & (temperature == index))
            if len(rows):
                states = _put(states, rows, self.sample(states.take(rows), keys[rows], value, whole=whole))
        return states


def answered(
    reason: Int8[np.ndarray, " n"], text: Shaped[np.ndarray, " n"], added: list[str]
) -> Int8[np.ndarray, " n"]:
    """An answer, where there is one, is why a solution is over, whatever limit it reached at the same moment.

    A line that says it is the answer counts when it is finished and no thought. At the end of a text any answer counts.
    """
    ending = reason.copy()
    for i, piece in enumerate(added):
        says_so = "\n" in piece and is_final_answer(piece.rpartition("\n")[0].rstrip().rpartition("\n")[2])
        if (says_so or reason[i] == Ending.NO_ANSWER) and final_answer(text[i]):
            ending[i] = Ending.ANSWERED
    return ending


def _forked_again(rng: Rng) -> Streams:
    """Every step's streams are forks of the last step's."""
    now = rng

    def streams(rows: Int[np.ndarray, " m"], step: int) -> Rng:
        nonlocal now
        now = now.fork(0) if step else now
        return now.take(rows)

    return streams


def _put(states: MathStates, rows: Int[np.ndarray, " r"], changed: MathStates) -> MathStates:
    """`states` with some rows exchanged."""
    place = np.arange(len(states))
    place[rows] = len(states) + np.arange(len(rows))
    return MathStates.concat([states, changed]).take(place)
