"""From sampled tokens to states: where a solution is cut, and the reason that is recorded."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from stepward.domains.math.continuation import extend, step_by_step, stopping
from stepward.domains.math.engine import Continuations, EngineStats, FinishReason, SamplingConfig, TokenTexts
from stepward.domains.math.engine.stopping import StopRule
from stepward.domains.math.states import Ending, MathStates, roots
from stepward.domains.math.steps import Limits, StepRule
from unit.math.small_models import TOKENS, small_tokenizer

TOKENIZER = small_tokenizer()
TEXTS = TokenTexts(TOKENIZER, len(TOKENS))
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
    return extend(states or root(), sampled(tokens, reason), LIMITS, TEXTS)


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
    state = extend(root(), sampled([], FinishReason.CONTEXT), LIMITS, TEXTS)
    assert (state.ending[0], state.text[0], state.num_steps[0]) == (Ending.OUT_OF_CONTEXT, "", 0)


PIECES = ["<end>", "a", "1", "\n", "\n\n", " b\n  ", ". ", " B", "Step 1:", "Step", " 2:", "A: 1", "Q: "]
RULES = [*({"by": by} for by in ("line", "blank_line", "sentence", "marker")), {"by": "tokens", "tokens": 3}]


def piece_texts() -> TokenTexts:
    raw = Tokenizer(models.WordLevel({piece: i for i, piece in enumerate(PIECES)}, unk_token="<end>"))
    raw.decoder = decoders.Fuse()
    return TokenTexts(PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<end>"), len(PIECES))


PIECE_TEXTS = piece_texts()


def engine_draws(tokens: list[int], state: MathStates, limits: Limits, *, whole: bool, room: int) -> Continuations:
    """What an engine that draws just these tokens would return."""
    stop = StopRule(
        SamplingConfig(**stopping(state, limits, whole=whole)),
        eos_token_ids=(0,),
        vocab_size=len(PIECES),
        max_positions=room,
        texts=PIECE_TEXTS,
    )
    for size in range(1, len(tokens) + 1):
        (reason,) = stop(np.zeros(1, int), np.zeros(1, int), np.array([tokens[:size]], np.int32), np.array([size]))
        if reason != FinishReason.RUNNING:
            return sampled(tokens[:size], FinishReason(reason))
    raise AssertionError("draw more tokens")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["by"])
@given(st.lists(st.integers(0, len(PIECES) - 1), max_size=24), st.integers(1, 30))
def test_a_solution_written_at_once_has_the_steps_of_one_written_step_by_step(rule, tokens, room) -> None:
    """The same draws give the same states on the way and at the end, and the text alone shows the same steps."""
    tokens, steps = tokens + [1] * 60, StepRule(**rule)  # enough for every limit
    limits = Limits(max_steps=4, max_step_tokens=5, steps=steps, opening="Q:")
    at_once = engine_draws(tokens, root(), limits, whole=True, room=room)
    told = [state for _, state in step_by_step(root(), at_once, limits, PIECE_TEXTS)]
    state, used, made = root(), 0, []
    while state.ending[0] == Ending.OPEN:
        said = sampled([], FinishReason.CONTEXT)
        if used < room:
            said = engine_draws(tokens[used:], state, limits, whole=False, room=room - used)
        begun = state.replace(last_tokens=np.zeros(1, np.int64))  # as a proposer does
        state, used = extend(begun, said, limits, PIECE_TEXTS), used + int(said.lengths[0])
        made.append(state)
    assert len(made) == len(told)
    whole = extend(root(), at_once, limits, PIECE_TEXTS)
    for one, other in [*zip(made, told, strict=True), (state, whole)]:
        for name in ("text", "ending", "num_steps", "num_tokens", "last_tokens", "log_prob", "ends"):
            assert getattr(one, name).tolist() == getattr(other, name).tolist(), name
    if rule["by"] != "tokens":
        alone = [
            [step.strip() for step in made if step.strip()] for made in (state.steps()[0], steps.split(state.text[0]))
        ]
        assert alone[0] == alone[1]


def test_the_next_question_ends_a_solution_and_is_no_part_of_it() -> None:
    limits = Limits(opening="b:")
    for text, ending in (("+1\nb:\n", Ending.ANSWERED), ("aa\nb:\n", Ending.NO_ANSWER)):
        tokens = TOKENIZER(text.replace(":", "+"))["input_ids"]
        state = extend(root(), sampled(tokens, FinishReason.STOP), replace(limits, opening="b+"), TEXTS)
        assert (state.text[0], Ending(state.ending[0])) == (text[:3], ending)
