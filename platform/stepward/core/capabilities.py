"""Capabilities: what a domain may bring beside what every domain has. Studies and stages say which they need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int

Generate = Callable[[list[str], list[list[str]], int], Sequence[Sequence[str]]]
"""A policy as a plain function: (n questions, the steps of each so far, k) -> k next steps of each."""


@dataclass(frozen=True)
class KnownValues:
    """True values of states, where a domain knows them: labels and guides are judged against these.

    Attributes:
        exact: ``(states) -> values``, of the policy that is labelled by default.
        situations: ``(states) -> [n]`` integers, equal where states of any problems have the same future, so that
            held-out problems can be told from held-out states; None where that is not known.
        rebudget: ``(states, factor) -> states`` with the steps they have left multiplied, rounded down, at least 1;
            None where solutions have no step budget.
    """

    exact: Callable[[Any], Float[np.ndarray, " n"]]
    situations: Callable[[Any], np.ndarray] | None = field(default=None)
    rebudget: Callable[[Any, float], Any] | None = field(default=None)


@dataclass(frozen=True)
class Answers:
    """Solutions that state an answer, so that a vote can count them.

    Attributes:
        texts: ``(states) -> texts``, what each finished solution says, equal where two say the same and "" where it
            says nothing.
    """

    texts: Callable[[Any], list[str]]


@dataclass(frozen=True)
class Budgets:
    """States that are more or less near their last step, for a calibration by budget.

    Attributes:
        left: ``(states) -> [n]`` integers that grow with the steps a state has left.
    """

    left: Callable[[Any], Int[np.ndarray, " n"]]


@dataclass(frozen=True)
class Drawing:
    """States that can be drawn.

    Attributes:
        texts: ``(states) -> texts`` of a few characters that stand for each state in a drawing of a search.
        pictures: ``(parent, candidates, chosen) -> {name: array}``: one step as images of one channel, from the state
            before it (one row) and its k candidates, of which `chosen` was taken: state, deterministic (what needs no
            choice), choice, truth, each [H, W], and candidates [k, H, W].
    """

    texts: Callable[[Any], list[str]] | None = field(default=None)
    pictures: Callable[[Any, Any, int], dict[str, np.ndarray]] | None = field(default=None)


@dataclass(frozen=True)
class Written:
    """Solutions that people and other programs hand over as texts: a question and its steps.

    Attributes:
        states: ``(questions, steps) -> [n]`` states: the question, and the steps written so far, one list a row. Row i
            is of problem i.
        steps: ``(states) -> steps`` of every state, the way back.
        proposer: ``(generate) -> Proposer`` that asks a plain function for the next steps.
    """

    states: Callable[[Sequence[str], Sequence[Sequence[str]]], Any]
    steps: Callable[[Any], list[list[str]]]
    proposer: Callable[[Generate], Any]
