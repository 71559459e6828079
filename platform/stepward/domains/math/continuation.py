"""From sampled tokens to states: cut into steps and at the limits, with the reason why a solution is over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from stepward.core.config import Plain
from stepward.domains.math.engine import Continuations, FinishReason, TokenTexts
from stepward.domains.math.grading import final_answer
from stepward.domains.math.states import Ending, MathStates, last_end, object_array
from stepward.domains.math.steps import LINES, Limits, restates, states_answer

__all__ = ["extend", "step_by_step", "stopping"]


@dataclass(frozen=True)
class _Cut:
    """A state that a continuation goes through."""

    tokens: int  # of the continuation, up to here
    text: str
    ends: tuple[int, ...]  # of the steps that end here, mostly one
    ending: Ending


def stopping(states: MathStates, limits: Limits, *, whole: bool) -> Plain:
    """When to stop sampling what follows these open solutions, as settings of the engine.

    Args:
        whole: sample to the end of the solution, not of the step.
    """
    rule, starts = limits.steps, states.last_ends()
    in_text = not whole and rule.by != "tokens"

    def stop(row: int, added: str) -> bool:
        before = states.text[row]
        text = before + added
        return _is_over(text, len(before), limits.opening) or (in_text and any(rule.ends(text, starts[row])))

    return {
        "max_new_tokens": limits.step_tokens * (limits.max_steps if whole else 1),
        "stop_text": stop,
        "stop_at": "tokens" if in_text and rule.by != "line" else "newlines",
        "stop_texts": ("\n",) if in_text and rule.by == "line" else (),
    }


def _is_over(text: str, start: int, opening: str) -> bool:
    """Whether a line that ends beyond `start` ends the solution: it states an answer, or asks the next question."""
    return restates(text, opening, start) is not None or (states_answer(text, start) and bool(final_answer(text)))


def extend(states: MathStates, sampled: Continuations, limits: Limits, texts: TokenTexts) -> MathStates:
    """Open solutions with what was sampled for them, one step or many.

    Many steps sampled at once end where steps sampled one by one would have: at one that is too long, or after the
    last one that is allowed.

    Args:
        states: n open solutions.
        sampled: a continuation of each, in the same order.
        limits: of steps and of their tokens.
        texts: of the tokens of the model that was sampled.
    """
    through = _through(states, sampled, limits, texts)
    done = states.replace(ending=np.full(len(states), Ending.OUT_OF_CONTEXT, np.int8))  # where nothing was sampled
    rows = np.array([i for i, cuts in enumerate(through) if cuts], np.int64)
    if not len(rows):
        return done
    last = [len(cuts) - 1 for cuts in through]
    place = np.arange(len(states))
    place[rows] = len(states) + np.arange(len(rows))
    return MathStates.concat([done, _states(states, sampled, through, rows, last, limits)]).take(place)


def step_by_step(
    states: MathStates, sampled: Continuations, limits: Limits, texts: TokenTexts
) -> Iterator[tuple[Int[np.ndarray, " m"], MathStates]]:
    """(rows, their states) after one step, after two, … of solutions whose steps were sampled at once."""
    through = _through(states, sampled, limits, texts)
    full = _Cut(0, "", (), Ending.OUT_OF_CONTEXT)  # nothing was sampled
    through = [cuts or [replace(full, text=text)] for cuts, text in zip(through, states.text, strict=True)]
    for depth in range(max(map(len, through), default=0)):
        rows = np.array([i for i, cuts in enumerate(through) if len(cuts) > depth], np.int64)
        yield rows, _states(states, sampled, through, rows, [depth] * len(states), limits)


def _through(states: MathStates, sampled: Continuations, limits: Limits, texts: TokenTexts) -> list[list[_Cut]]:
    return [
        list(_cuts(tokens, int(reason), states.text[i], states.ends[i], int(states.num_steps[i]), limits, texts))
        for i, (tokens, reason) in enumerate(zip(sampled.token_lists(), sampled.reasons, strict=True))
    ]


def _states(
    states: MathStates,
    sampled: Continuations,
    through: Sequence[Sequence[_Cut]],
    rows: Int[np.ndarray, " m"],
    depth: Sequence[int],
    limits: Limits,
) -> MathStates:
    """The states of some rows after cut number `depth` of each."""
    cuts = [through[i][: depth[i] + 1] for i in rows]
    used = np.array([mine[-1].tokens for mine in cuts], np.int64)
    before = np.array([mine[-2].tokens if len(mine) > 1 else 0 for mine in cuts], np.int64)
    added = [sum((cut.ends for cut in mine), ()) for mine in cuts]
    kept = np.arange(sampled.tokens.shape[1]) < used[:, None]
    begun = states.take(rows)
    if limits.steps != LINES:
        begun = begun.replace(ends=object_array([(*(e or ()), *a) for e, a in zip(begun.ends, added, strict=True)]))
    return begun.replace(
        text=object_array([mine[-1].text for mine in cuts]),
        num_steps=begun.num_steps + np.array([len(ends) for ends in added], np.int64),
        num_tokens=begun.num_tokens + used,
        last_tokens=used - before,
        log_prob=begun.log_prob + np.where(kept, sampled.log_probs[rows], 0.0).sum(axis=1, dtype=np.float64),
        ending=np.array([mine[-1].ending for mine in cuts], np.int8),
    )


def _cuts(
    tokens: list[int],
    reason: int,
    text: str,
    ends: tuple[int, ...] | None,
    num_steps: int,
    limits: Limits,
    texts: TokenTexts,
) -> Iterator[_Cut]:
    """The states that one continuation goes through, the last of which is over or waits for more."""
    start, whole, begun = last_end(text, ends), text, 0
    rule, last = limits.steps, len(tokens) - 1
    telling = texts.newlines[tokens] if rule.by in ("line", "tokens") else np.ones(len(tokens), bool)
    for at in range(len(tokens)):
        size = at - begun + 1
        if not (telling[at] or at == last or size >= limits.step_tokens):
            continue
        now = text + texts.decode(tokens[: at + 1])
        ended = reason == FinishReason.EOS and at == last
        if rule.by == "tokens":
            new = [len(now)] if size == rule.tokens else []
        else:
            new = list(rule.ends(now, start))
        ending = Ending.OPEN
        if at == last and reason == FinishReason.CONTEXT:
            ending = Ending.OUT_OF_CONTEXT
        if new and num_steps + len(new) >= limits.max_steps:
            ending = Ending.OUT_OF_STEPS
        if not new and not ended and size >= limits.step_tokens:
            ending = Ending.LINE_TOO_LONG
        again = restates(now, limits.opening, len(whole))
        if again is not None:
            now, new = now[:again], [end for end in new if end <= again]
        if ended or again is not None:
            ending = Ending.NO_ANSWER
        if (states_answer(now, len(whole)) or ending == Ending.NO_ANSWER) and final_answer(now):
            ending = Ending.ANSWERED
        if ending == Ending.OPEN and not new:
            if at < last or reason != FinishReason.STOP:
                continue
            new = [len(now)]  # the engine had a reason of its own
        if ending == Ending.OUT_OF_CONTEXT and new:  # the next step is the one without room
            yield _Cut(at + 1, now, tuple(new), Ending.OPEN)
            new = []
        elif ending != Ending.OPEN and (not new or now[new[-1] :].strip()):
            new.append(len(now))  # the last step ends with the solution
        yield _Cut(at + 1, now, tuple(new), ending)
        if ending != Ending.OPEN:
            return
        whole, begun, start, num_steps = now, at + 1, new[-1], num_steps + len(new)
