"""From sampled tokens to states: where a solution is cut, and the reason that is recorded."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepward.domains.math.continuation import extend
from stepward.domains.math.engine import Continuations, EngineStats, FinishReason
from stepward.domains.math.states import Ending, MathStates, roots
from stepward.domains.math.steps import Limits, is_final_answer
from unit.math.small_models import TOKENS, small_tokenizer

TOKENIZER = small_tokenizer()
NEWLINES = np.array(["\n" in token for token in TOKENS])
END, BREAK = TOKENS.index("<end>"), TOKENS.index("\n")
NOTHING = EngineStats(0, 0, 0, 0, 0, 1.0, 0.0)
LIMITS = Limits(max_steps=3, max_step_tokens=4)


def sampled(tokens: list[int], reason: FinishReason) -> Continuations:
    row = np.array([tokens], np.int32)
    return Continuations(
        prefix=np.zeros(1, np.int64),
        tokens=row,
        log_probs=np.where(row >= 0, -0.5, 0.0).astype(np.float32),
        lengths=np.array([len(tokens)]),
        reasons=np.array([reason], np.int8),
        stats=NOTHING,
    )


def root() -> MathStates:
    return roots(np.array(["q"], object), np.array(["1"], object))


def after(text: str, reason: FinishReason, states: MathStates | None = None) -> MathStates:
    tokens = TOKENIZER(text)["input_ids"]
    return extend(states or root(), sampled(tokens, reason), NEWLINES, LIMITS, TOKENIZER)


@pytest.mark.parametrize(
    ("text", "reason", "ending", "kept"),
    [
        ("a+b\n", FinishReason.STOP, Ending.OPEN, "a+b\n"),
        ("A: 1\n", FinishReason.STOP, Ending.ANSWERED, "A: 1\n"),
        ("A: 1<end>", FinishReason.EOS, Ending.ANSWERED, "A: 1"),
        ("+1<end>", FinishReason.EOS, Ending.ANSWERED, "+1"),  # any number will do when the text ends
        ("ab<end>", FinishReason.EOS, Ending.NO_ANSWER, "ab"),
        ("<end>", FinishReason.EOS, Ending.NO_ANSWER, ""),
        ("ab+1", FinishReason.LENGTH, Ending.LINE_TOO_LONG, "ab+1"),
        ("abb\n", FinishReason.STOP, Ending.OPEN, "abb\n"),  # four tokens, the last of which ends the line
        ("ab", FinishReason.CONTEXT, Ending.OUT_OF_CONTEXT, "ab"),
        ("a\nb\n1\n", FinishReason.LENGTH, Ending.OUT_OF_STEPS, "a\nb\n1\n"),
        ("a\nb\n1\n2\nA: 1\n", FinishReason.STOP, Ending.OUT_OF_STEPS, "a\nb\n1\n"),
        ("a\nb\nA: 1\n", FinishReason.STOP, Ending.ANSWERED, "a\nb\nA: 1\n"),
        ("a\nabab1\nA: 1\n", FinishReason.STOP, Ending.LINE_TOO_LONG, "a\nabab"),
    ],
)
def test_endings(text: str, reason: FinishReason, ending: Ending, kept: str) -> None:
    state = after(text, reason)
    assert Ending(state.ending[0]) == ending
    assert state.text[0] == kept


def test_what_is_counted() -> None:
    state = after("a\nb1\n", FinishReason.LENGTH)
    assert (state.num_steps[0], state.num_tokens[0], state.last_tokens[0], state.log_prob[0]) == (2, 5, 3, -2.5)
    state = after("2+\n", FinishReason.STOP, state)
    assert (state.num_steps[0], state.num_tokens[0], state.last_tokens[0], state.log_prob[0]) == (3, 8, 3, -4.0)
    assert state.text[0] == "a\nb1\n2+\n" and state.ending[0] == Ending.OUT_OF_STEPS


def test_a_text_that_fills_the_context_stays_as_it_is() -> None:
    state = extend(root(), sampled([], FinishReason.CONTEXT), NEWLINES, LIMITS, TOKENIZER)
    assert (state.ending[0], state.text[0], state.num_steps[0]) == (Ending.OUT_OF_CONTEXT, "", 0)


def engine_stops(tokens: list[int], *, lines: bool, limit: int, room: int) -> tuple[list[int], FinishReason]:
    """What an engine that draws just these tokens would return: the rules of its `StopRule`, in words."""
    for i, token in enumerate(tokens):
        said, reason = tokens[: i + 1], None
        if len(said) >= room:
            reason = FinishReason.CONTEXT
        if len(said) >= limit:
            reason = FinishReason.LENGTH
        if token == BREAK and (lines or is_final_answer(TOKENIZER.decode(said).rstrip("\n").rpartition("\n")[2])):
            reason = FinishReason.STOP
        if token == END:
            reason = FinishReason.EOS
        if reason is not None:
            return said, reason
    raise AssertionError("draw more tokens")


@given(st.lists(st.integers(0, len(TOKENS) - 1), max_size=14), st.integers(1, 16))
def test_sampling_at_once_ends_where_line_by_line_does(tokens: list[int], room: int) -> None:
    """The same draws, cut into lines or taken at once, give the same state."""
    tokens = tokens + [1] * 20  # enough for every limit
    said, reason = engine_stops(tokens, lines=False, limit=12, room=room)
    whole = extend(root(), sampled(said, reason), NEWLINES, LIMITS, TOKENIZER)
    state, used = root(), 0
    while state.ending[0] == Ending.OPEN:
        if used >= room:
            said, reason = [], FinishReason.CONTEXT
        else:
            said, reason = engine_stops(tokens[used:], lines=True, limit=LIMITS.max_step_tokens, room=room - used)
        state, used = extend(state, sampled(said, reason), NEWLINES, LIMITS, TOKENIZER), used + len(said)
    for name in ("text", "ending", "num_steps", "num_tokens", "log_prob"):
        assert getattr(whole, name).tolist() == getattr(state, name).tolist(), name
