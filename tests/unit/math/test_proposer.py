"""The language-model proposer: one line a step, whole solutions, any model, and bad input."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import chi2_contingency
from transformers import GPT2Config, GPT2LMHeadModel, Qwen2Config, Qwen2ForCausalLM

from stepward.core.cost import Ledger, metered_proposer
from stepward.core.interfaces import Status
from stepward.core.rollout import forked, rollout
from stepward.core.seeding import Rng
from stepward.domains.math import AnswerVerifier, Ending, LanguageModelSettings, MathDomain, MathStates
from stepward.domains.math.proposer import LanguageModelProposer
from stepward.domains.math.states import roots
from stepward.domains.math.steps import Limits, StepRule
from stepward.label import count_successes
from stepward.testing import check_proposer
from unit.math.small_models import CONTEXT, TOKENS, small_model, small_proposer, small_tokenizer

DOMAIN = MathDomain()


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def proposer() -> LanguageModelProposer:
    return small_proposer()


def questions(*texts: str, reference: str = "1") -> MathStates:
    return roots(np.array(texts, object), np.full(len(texts), reference, dtype=object))


def streams(num: int, purpose: str = "test") -> Rng:
    return Rng.from_seed(3, num, purpose)


def same(left: MathStates, right: MathStates) -> bool:
    return left.text.tolist() == right.text.tolist() and np.array_equal(left.ending, right.ending)


def test_contract(proposer: LanguageModelProposer) -> None:
    check_proposer(proposer, DOMAIN, questions("a+1", "b", "1+2", "ab"), num_candidates=5)


def test_a_proposal_adds_one_line(proposer: LanguageModelProposer) -> None:
    children = proposer.propose(questions("a+1", "b"), num_candidates=200, rng=streams(2))
    for text, ending, tokens in zip(children.text, children.ending, children.last_tokens, strict=True):
        said = text.lstrip("\n")  # empty lines are no steps
        assert "\n" not in said[:-1]
        assert (ending == Ending.OPEN) == (said.endswith("\n") and not said.startswith("A:"))
        assert 1 <= tokens <= 5
    assert set(children.ending.tolist()) >= {Ending.OPEN, Ending.ANSWERED, Ending.NO_ANSWER, Ending.LINE_TOO_LONG}
    assert np.array_equal(children.last_tokens, children.num_tokens)


def test_log_prob_is_that_of_the_model_at_temperature_one() -> None:
    """Whatever it is sampled at, log p sums the model's own log-probabilities of the tokens of all lines."""
    proposer = small_proposer(temperatures=(0.5,))
    ends = proposer.complete(questions("a+1"), num_continuations=60, rng=streams(1))
    ends = ends.take((ends.ending == Ending.ANSWERED) | (ends.ending == Ending.OUT_OF_STEPS))
    ends = ends.take(np.array([text.endswith("\n") for text in ends.text]))  # others have an end token besides
    assert len(ends) >= 5
    prompt = len(proposer.encode(questions("a+1"))[0])
    for tokens, log_prob in zip(proposer.encode(ends), ends.log_prob, strict=True):
        with torch.no_grad():
            logits = proposer.engine.model(torch.tensor([tokens])).logits[0].double().log_softmax(-1)
        expected = logits[range(prompt - 1, len(tokens) - 1), tokens[prompt:]].sum()
        assert log_prob == pytest.approx(float(expected), abs=1e-5)


def test_finished_solutions_stay_as_they_are(proposer: LanguageModelProposer) -> None:
    over = questions("a+1", "b").replace(
        text=np.array(["A: 1\n", "a\n"], object), ending=np.array([Ending.ANSWERED, Ending.OUT_OF_STEPS], np.int8)
    )
    children = proposer.propose(over, num_candidates=2, rng=streams(2))
    assert same(children, over.take(np.array([0, 0, 1, 1])))
    assert (children.last_tokens == 0).all()  # nothing was sampled, so nothing is charged
    assert same(proposer.complete(over, num_continuations=1, rng=streams(2)), over)


@pytest.mark.parametrize("temperatures", [(1.0,), (0.5, 1.5)])
def test_complete_leaves_nothing_open(temperatures: tuple[float, ...]) -> None:
    proposer = small_proposer(temperatures=temperatures)
    states = questions("a+1", "b", "1+2")
    ends = proposer.complete(states, num_continuations=50, rng=streams(3))
    assert np.array_equal(ends.problem, np.repeat(states.problem, 50))
    assert not (DOMAIN.status(ends) == Status.OPEN).any()
    some = np.array([2, 0])
    fewer = proposer.complete(states.take(some), num_continuations=50, rng=streams(3).take(some))
    assert same(fewer, ends.take((some[:, None] * 50 + np.arange(50)).ravel()))


def test_whole_solutions_are_distributed_as_line_by_line(proposer: LanguageModelProposer) -> None:
    """Chi-square of ending, number of lines and first letter of 1,500 solutions by either way; p > 1e-4."""
    state = proposer.propose(questions("a+1"), num_candidates=40, rng=streams(1))
    state = state.take(np.flatnonzero(state.ending == Ending.OPEN)[:1])
    num = 1500
    at_once = proposer.complete(state, num_continuations=num, rng=streams(1, "at once"))
    by_line = proposer._step_by_step(state, num, streams(1, "by line"))
    outcomes = [
        f"{ending} {lines} {text[len(state.text[0]) :][:1]}"
        for states in (at_once, by_line)
        for ending, lines, text in zip(states.ending, states.num_steps, states.text, strict=True)
    ]
    names, which, count = np.unique(outcomes, return_inverse=True, return_counts=True)
    rare = count[which] < 20
    table = np.zeros((2, len(names) + 1))
    np.add.at(table, (np.repeat([0, 1], num), np.where(rare, len(names), which)), 1)
    table = table[:, table.sum(axis=0) > 0]
    assert table.shape[1] > 10
    assert chi2_contingency(table).pvalue > 1e-4


def test_rollouts_told_at_once_are_those_of_single_steps() -> None:
    """Greedy, so that random numbers do not matter: rows, parents, children and costs of every step."""
    found = []
    for at_once in (False, True):
        limits = Limits(max_steps=4, steps=StepRule(by="tokens", tokens=2))
        policy = small_proposer(temperatures=(0.0,), at_once=at_once, limits=limits)
        proposer = metered_proposer(policy, DOMAIN)
        states, ledger = questions("a+1", "b", "a+1", "1+2" * 9), Ledger(4)
        with ledger.recording():
            steps = list(rollout(states, domain=DOMAIN, proposer=proposer, streams=forked(streams(4))))
        found.append((steps, ledger.total().to_dict() | {"seconds": 0.0}))
    (single, cost), (told, same_cost) = found
    assert len(single) == len(told) > 1 and cost == same_cost
    for a, b in zip(single, told, strict=True):
        assert (a.number, a.rows.tolist(), a.last.tolist()) == (b.number, b.rows.tolist(), b.last.tolist())
        assert same(a.parents, b.parents) and same(a.children, b.children)


def test_labels_by_either_way_agree(proposer: LanguageModelProposer) -> None:
    """count_successes by `complete` and by `propose` alone: differences of shares within 4 standard errors each."""

    class Stepwise:
        """The same proposer without its fast way."""

        num_parameters, nfe, propose = proposer.num_parameters, proposer.nfe, staticmethod(proposer.propose)

    M, states = 250, questions("a+1", "b", "1+2")
    parts = dict(domain=DOMAIN, verifier=AnswerVerifier(), num_rollouts=M)
    fast = count_successes(states, proposer=proposer, rng=streams(3, "fast"), **parts) / M
    slow = count_successes(states, proposer=Stepwise(), rng=streams(3, "slow"), **parts) / M
    pooled = (fast + slow) / 2
    assert (pooled > 0.02).all() and (pooled < 0.98).all()
    assert (np.abs(fast - slow) < 4 * np.sqrt(2 * pooled * (1 - pooled) / M)).all()


def test_several_temperatures_are_a_mixture() -> None:
    """The share of first lines of one kind under a mixture is the mean of those at each temperature."""
    num, share = 2000, {}
    for temperatures in [(0.2,), (2.0,), (0.2, 2.0)]:
        children = small_proposer(temperatures=temperatures).propose(
            questions("a+1"), num_candidates=num, rng=streams(1, str(temperatures))
        )
        texts, count = np.unique(children.text.astype(str), return_counts=True)
        share[temperatures] = dict(zip(texts, count / num, strict=True))
    favourite = max(share[(0.2,)], key=share[(0.2,)].get)
    low, high, mixed = (share[t].get(favourite, 0.0) for t in [(0.2,), (2.0,), (0.2, 2.0)])
    assert low - high > 0.3
    assert abs(mixed - (low + high) / 2) < 4 * np.sqrt(1.5 * 0.25 / num)


def test_the_reference_answer_is_not_looked_at(proposer: LanguageModelProposer) -> None:
    states = questions("a+1", "b", reference="1")
    other = questions("a+1", "b", reference="2")
    children = [proposer.propose(s, num_candidates=5, rng=streams(2)) for s in (states, other)]
    assert same(*children)
    assert np.array_equal(DOMAIN.keys(children[0]), DOMAIN.keys(children[1]))
    assert np.array_equal(DOMAIN.status(children[0]), DOMAIN.status(children[1]))


def test_a_question_longer_than_the_context_is_dead_and_says_why(proposer: LanguageModelProposer) -> None:
    states = questions("a+1", "ab" * CONTEXT, "b")
    children = proposer.propose(states, num_candidates=2, rng=streams(3))
    assert children.ending[2:4].tolist() == [Ending.OUT_OF_CONTEXT] * 2
    assert (DOMAIN.status(children)[2:4] == Status.DEAD).all()
    alone = proposer.propose(states.take(np.array([0, 2])), num_candidates=2, rng=streams(3).take(np.array([0, 2])))
    assert same(alone, children.take(np.array([0, 1, 4, 5])))
    assert (AnswerVerifier().outcome(children)[2:4] == 0).all()


def test_a_solution_that_outgrows_the_context_is_dead() -> None:
    proposer = small_proposer(limits=small_proposer().limits.__class__(max_steps=100, max_step_tokens=100))
    ends = proposer.complete(questions("a" * 15), num_continuations=200, rng=streams(1))
    full = ends.ending == Ending.OUT_OF_CONTEXT
    assert full.any()
    assert (ends.num_tokens[full] == CONTEXT - 16).all()  # 15 of the question and a line break


@pytest.mark.parametrize("kind", ["qwen2", "gpt2"])
def test_any_model_folder_will_do(kind: str, tmp_path: Path) -> None:
    shared = dict(vocab_size=len(TOKENS), bos_token_id=0, eos_token_id=0)
    if kind == "gpt2":
        model = GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=1, n_head=2, n_positions=CONTEXT, **shared))
    else:
        sizes = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1)
        model = Qwen2ForCausalLM(
            Qwen2Config(
                intermediate_size=24, max_position_embeddings=CONTEXT, tie_word_embeddings=False, **sizes, **shared
            )
        )
    model.save_pretrained(tmp_path)
    small_tokenizer().save_pretrained(tmp_path)
    proposer = LanguageModelSettings(model=str(tmp_path), max_step_tokens=5).build()
    check_proposer(proposer, DOMAIN, questions("a+1", "b", "1+2"), num_candidates=3)
    embedding = model.get_input_embeddings().weight.numel()
    total = sum(weight.numel() for weight in model.parameters())
    assert proposer.num_parameters == (total if kind == "gpt2" else total - embedding)


def test_pickled_weights_are_refused_with_the_remedy(tmp_path: Path) -> None:
    model = small_model()
    model.config.save_pretrained(tmp_path)
    small_tokenizer().save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pytorch_model\.bin.*refused(.|\n)*safe_serialization=True"):
        LanguageModelSettings(model=str(tmp_path)).build()


def test_a_model_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a folder with config"):
        LanguageModelSettings(model=str(tmp_path)).build()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prompt": "Solve:"}, "question"),
        ({"temperatures": [-1.0]}, "temperatures of 0"),
        ({"temperatures": []}, "at least 1"),
    ],
)
def test_settings_that_make_no_sense(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LanguageModelSettings(**settings)
