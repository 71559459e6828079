"""The text reward model: shared passes, incremental scoring, what it charges, and that it can learn."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel

from stepward.core.interfaces import Status
from stepward.core.seeding import Rng
from stepward.core.wing import Trainable
from stepward.domains.math.data import MathProblems
from stepward.domains.math.rewards import text_scoring
from stepward.domains.math.rewards.body import _hosts
from stepward.domains.math.rewards.outcome import OutcomeModel
from stepward.domains.math.rewards.rows import padded
from stepward.domains.math.rewards.text import TextPRM, solutions_of
from stepward.domains.math.states import MathDomain, MathStates, math_states, roots
from stepward.testing.contracts import check_reward
from stepward.train import Optimisation, SoftBCE, epochs, make_examples, seeded_module
from unit.math.small_models import CONTEXT, TOKENS, small_model, small_proposer, small_tokenizer

DOMAIN = MathDomain()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Bases of three kinds with random weights."""
    torch.set_num_threads(1)
    torch.manual_seed(1)
    sizes = dict(vocab_size=len(TOKENS), initializer_range=0.3)
    gpt2 = GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=CONTEXT, **sizes)
    bert = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24)
    models = {
        "llama": small_model(),
        "gpt2": GPT2LMHeadModel(gpt2),
        "bert": BertModel(BertConfig(max_position_embeddings=CONTEXT, **bert, **sizes)),
    }
    found = {}
    for name, model in models.items():
        folder = tmp_path_factory.mktemp(name)
        model.save_pretrained(folder)
        small_tokenizer().save_pretrained(folder)
        found[name] = str(folder)
    return found


@pytest.fixture(scope="module")
def rounds() -> list[tuple[MathStates, MathStates]]:
    """Three rounds of a search: (parents, children), the parents from the round before."""
    proposer, steps = small_proposer(), []
    questions = np.array(["a+1", "b"], object)
    parents = roots(questions, questions)
    for depth in range(3):
        many = parents.take(np.repeat(np.arange(len(parents)), 20 if depth == 0 else 2))
        children = proposer.propose(many, num_candidates=1, rng=Rng.from_ids(depth, range(len(many)), "test"))
        steps.append((many, children))
        parents = children.take(DOMAIN.status(children) == 0)
    assert len(parents) > 2
    return steps


def weights_of(settings: TextPRM) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in seeded_module(settings.module, 0).state_dict().items()}


def logits_row_by_row(settings: TextPRM, weights: dict[str, np.ndarray], states: MathStates) -> np.ndarray:
    """One pass of plain transformers a state, nothing shared and nothing padded."""
    module = settings.module().eval()
    module.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    found = []
    for row in settings.tokens(states):
        with torch.inference_mode():
            hidden = module.body(input_ids=torch.tensor([row])).last_hidden_state[0]
            found.append(float(module.head(hidden[-1 if settings.pool == "last" else 0])))
    return np.array(found)


@pytest.mark.parametrize(("base", "pool"), [("llama", "last"), ("gpt2", "last"), ("bert", "last"), ("bert", "first")])
def test_a_batch_equals_one_pass_a_row(folders, rounds, base, pool):
    """Rows that share passes, repeat or are padded have the logits they have alone, with and without gradients."""
    settings = TextPRM(base=folders[base], pool=pool)
    assert isinstance(settings, Trainable)
    weights = weights_of(settings)
    states = MathStates.concat([part for pair in rounds for part in pair])
    module = settings.module().eval()
    module.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    tokens = torch.from_numpy(settings.encode(states)["tokens"])
    expected = logits_row_by_row(settings, weights, states)
    assert np.std(expected) > 1e-3
    np.testing.assert_allclose(module(tokens=tokens).detach(), expected, atol=1e-5)
    with torch.no_grad():
        np.testing.assert_allclose(module(tokens=tokens), expected, atol=1e-5)


@given(st.lists(st.lists(st.integers(0, 1), max_size=4).map(tuple), min_size=1, max_size=12, unique=True))
def test_hosts_begin_with_their_rows_and_are_no_beginnings(rows):
    rows = sorted(rows)  # of tuples too, a beginning comes before what begins with it
    host = _hosts(torch.from_numpy(padded([list(row) for row in rows])))
    for i, j in enumerate(host.tolist()):
        assert rows[j][: len(rows[i])] == rows[i]
        assert not any(other != rows[j] and other[: len(rows[j])] == rows[j] for other in rows)


def test_beginnings_share_the_pass_of_their_solution(folders, rounds):
    settings = TextPRM(base=folders["llama"])
    module = settings.module().eval()
    states = MathStates.concat([part for pair in rounds for part in pair])
    rows = []
    module.body.register_forward_pre_hook(
        lambda _, args, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    tokens = torch.from_numpy(settings.encode(states)["tokens"])
    texts = [f"{q}\n{t}" for q, t in zip(states.question, states.text, strict=True)]
    leaves = {text for text in texts if not any(other != text and other.startswith(text) for other in texts)}
    with torch.no_grad():
        alone = module(tokens=tokens)
    assert rows == [len(leaves)] and len(leaves) < len(set(texts))
    rows.clear()
    learned = module(tokens=tokens)  # with gradients in smaller passes, of texts of one length
    assert sum(rows) == len(leaves) and len(rows) > 1
    assert torch.allclose(alone, learned, atol=1e-5)


@pytest.mark.parametrize("base", ["llama", "gpt2"])
@pytest.mark.parametrize("cache_bytes", [2**28, 0])
def test_incremental_scores_are_those_of_full_rescoring(folders, rounds, base, cache_bytes, monkeypatch):
    monkeypatch.setitem(text_scoring.CACHE_BYTES, "cpu", cache_bytes)
    settings = TextPRM(base=folders[base])
    weights = weights_of(settings)
    reward = settings.reward(weights)
    for parents, children in rounds:
        expected = 1 / (1 + np.exp(-logits_row_by_row(settings, weights, children)))
        np.testing.assert_allclose(reward.score(parents, children), expected, atol=1e-5)


@pytest.mark.parametrize(("base", "pool"), [("llama", "last"), ("bert", "first")])
def test_reward_contract(folders, rounds, base, pool):
    settings = TextPRM(base=folders[base], pool=pool)
    reward = settings.reward(weights_of(settings))
    for parents, children in rounds:
        check_reward(reward, DOMAIN, parents, children, tolerance=1e-5)
        check_reward(settings.reward(weights_of(settings)), DOMAIN, children, children, tolerance=1e-5)


def test_only_new_tokens_are_run_and_charged(folders, rounds):
    """Over whole rounds the charge is what the scorer really ran: every distinct text once, and the questions once."""
    settings = TextPRM(base=folders["llama"])
    reward = settings.reward(weights_of(settings))
    charged = 0
    for parents, children in rounds:
        grown = children.last_tokens > 0
        keys = DOMAIN.keys(children) + children.problem.astype(np.uint64)
        distinct = np.sort(np.unique(keys[grown], return_index=True)[1])
        parents, children = parents.take(grown).take(distinct), children.take(grown).take(distinct)
        reward.score(parents, children)
        charged += reward.charged_tokens(children).sum()
    assert charged == reward._scorer.tokens_run > 0
    encoder = TextPRM(base=folders["bert"]).reward(weights_of(TextPRM(base=folders["bert"])))
    whole = [len(row) for row in settings.tokens(children)]
    np.testing.assert_array_equal(encoder.charged_tokens(children), whole)


def test_forgetting_changes_no_score(folders, rounds, monkeypatch):
    settings = TextPRM(base=folders["llama"])
    kept, lost = settings.reward(weights_of(settings)), settings.reward(weights_of(settings))
    scores = [kept.score(*pair) for pair in rounds]
    monkeypatch.setattr(text_scoring, "MAX_STATES", 3)
    for pair, expected in zip(rounds, scores, strict=True):
        np.testing.assert_allclose(lost.score(*pair), expected, atol=1e-5)
        assert len(lost._logits) <= 3 + 2 * len(pair[0])


def test_texts_longer_than_the_context_are_scored_by_their_end(folders):
    question = np.array(["a" * 40, "a" * 41], object)
    long = roots(question, question).replace(text=np.array(["b\n", "b\n"], object), num_steps=np.ones(2, np.int64))
    settings = TextPRM(base=folders["llama"])
    weights = weights_of(settings)
    assert [len(row) for row in settings.tokens(long)] == [CONTEXT] * 2
    scores = settings.reward(weights).score(roots(question, question), long)
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-6)
    expected = logits_row_by_row(settings, weights, long)
    np.testing.assert_allclose(np.log(scores / (1 - scores)), expected, atol=1e-4)


def test_outcome_model_speaks_of_complete_solutions_only(folders, rounds):
    settings = OutcomeModel(base=folders["llama"])
    weights = weights_of(settings)
    parents, children = (MathStates.concat(list(parts)) for parts in zip(*rounds, strict=True))
    complete = DOMAIN.status(children) == Status.COMPLETE
    assert complete.any() and not complete.all()
    reward = settings.reward(weights)
    check_reward(reward, DOMAIN, parents, children, tolerance=1e-5)
    scores = reward.score(parents, children)
    assert (scores[~complete] == 0.5).all()
    expected = logits_row_by_row(settings, weights, children.take(complete))
    np.testing.assert_allclose(scores[complete], 1 / (1 + np.exp(-expected)), atol=1e-5)
    lengths = np.array([len(row) for row in settings.tokens(children)])
    np.testing.assert_array_equal(reward.charged_tokens(children), np.where(complete, lengths, 0))


@pytest.mark.parametrize("base", ["llama", "bert"])
def test_outcome_model_learns_nothing_from_unfinished_solutions(folders, rounds, base):
    """Whatever their targets, they leave no gradient, a bidirectional body included."""
    settings = OutcomeModel(base=folders[base])
    children = MathStates.concat([pair[1] for pair in rounds])
    complete = DOMAIN.status(children) == Status.COMPLETE
    module = seeded_module(settings.module, 0).eval()

    def gradient(targets: np.ndarray) -> torch.Tensor:
        examples = make_examples(settings.encode(children), targets, np.ones(len(targets)), SoftBCE(), pool=False)
        module.zero_grad()
        losses = SoftBCE().row_losses(module(**examples.inputs), examples.targets, None)
        losses.sum().backward()
        return torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])

    zeros, unfinished = np.zeros(len(children)), (~complete).astype(float)
    torch.testing.assert_close(gradient(unfinished), gradient(zeros))
    assert gradient(zeros).abs().max() > 0
    assert not torch.allclose(gradient(complete.astype(float)), gradient(zeros))
    pooled = make_examples(settings.encode(children), unfinished, np.ones(len(children)), SoftBCE())
    assert len(pooled) == len(set(children.take(complete).question + children.take(complete).text)) + 1


def test_pretrained_starts_from_the_base_and_scratch_does_not(folders):
    base = small_model().state_dict()["model.embed_tokens.weight"]
    own = TextPRM(base=folders["llama"]).module().state_dict()["body.embed_tokens.weight"]
    assert torch.equal(own, base)
    fresh = TextPRM(base=folders["llama"], init="scratch")
    assert not torch.equal(fresh.module().state_dict()["body.embed_tokens.weight"], base)
    for name, array in weights_of(fresh).items():
        np.testing.assert_array_equal(array, weights_of(fresh)[name])


def test_it_learns_which_letter_the_line_has(folders):
    """Lines with an a succeed, lines with a b fail: one token to read, so the loss must fall far below ln 2."""
    generator = np.random.default_rng(0)
    lines = np.array(
        ["".join(generator.choice(["1", "2", "+", letter], 3)) for letter in "ab" for _ in range(60)], object
    )
    wins = np.array([line.count("a") > 0 for line in lines], float)
    question = np.full(len(lines), "1", object)
    states = roots(question, question).replace(text=lines + "\n", num_steps=np.ones(len(lines), np.int64))
    settings = TextPRM(base=folders["llama"])
    examples = make_examples(settings.encode(states), wins, np.ones(len(wins)), SoftBCE())
    plan = Optimisation(num_epochs=12, batch_size=16, learning_rate=1e-2)
    *_, last = epochs(seeded_module(settings.module, 0), examples, examples, SoftBCE(), plan, seed=0)
    assert last.progress.history[-1]["validation_loss"] < 0.2
    reward = settings.reward({name: tensor.numpy() for name, tensor in last.weights.items()})
    scores = reward.score(states, states)
    assert scores[wins == 1].min() > scores[wins == 0].mean()


def test_refuses_what_cannot_be(folders, tmp_path):
    with pytest.raises(ValueError, match="causal"):
        TextPRM(base=folders["llama"], pool="first").module()
    with pytest.raises(ValueError, match="expected 'embedded'"):
        TextPRM(base=str(tmp_path)).module()
    small_model().config.save_pretrained(tmp_path)
    torch.save(small_model().state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="pickled weights are refused"):
        TextPRM(base=str(tmp_path)).module()
    with pytest.raises(ValueError, match="question"):
        TextPRM(prompt="solve")
    weights = weights_of(TextPRM(base=folders["llama"]))
    with pytest.raises(ValueError, match="settings"):
        TextPRM(base=folders["llama"], head_width=3).reward(weights)


def test_embedded_base_reads_every_line_once():
    """On real solutions and the shipped tokenizer: lines are token boundaries, scores equal those of full passes."""
    table, _ = MathProblems(family="more_steps", num_test=4).problems("test", 0)
    bare = math_states(table)
    lines = [text.splitlines(keepends=True) for text in table["solution"].to_pylist()]
    settings = TextPRM()
    weights = weights_of(settings)
    reward, tokens_of_all, charged = settings.reward(weights), 0, 0
    parents = bare
    for depth in range(1, min(map(len, lines)) + 1):
        text = np.array(["".join(row[:depth]) for row in lines], object)
        children = bare.replace(text=text, num_steps=np.full(len(bare), depth), last_tokens=np.ones(len(bare), int))
        scores = reward.score(parents, children)
        expected = 1 / (1 + np.exp(-logits_row_by_row(settings, weights, children)))
        np.testing.assert_allclose(scores, expected, atol=1e-5)
        tokens_of_all += sum(len(row) for row in settings.tokens(children))
        charged += reward.charged_tokens(children).sum()
        parents = children
    whole = sum(len(row) for row in settings.tokens(parents))
    assert reward._scorer.tokens_run == charged == whole < tokens_of_all / 2


def test_solutions_of_finds_the_whole_solution_of_every_beginning():
    """Two solutions of one question that share a line, and another question with the same texts."""
    questions = np.array(["q"] * 6 + ["r"], object)
    texts = np.array(["a\n", "", "a\nb\n", "c\n", "a\nb\nd\n", "c\ne\n", "a\n"], object)
    states = roots(questions, questions).replace(text=texts)
    host = solutions_of(states)
    assert host[[0, 2, 4]].tolist() == [4, 4, 4]
    assert host[[3, 5]].tolist() == [5, 5]
    assert host[1] in (4, 5)
    assert host[6] == 6


def test_bundles_save_passes(folders, rounds):
    """Rows of one bundle in one minibatch: a pass a solution instead of nearly a pass a row, and the same logits."""
    states = MathStates.concat([children for _, children in rounds])
    learner = TextPRM(base=folders["llama"])
    module = seeded_module(learner.module, 0).eval()
    tokens, bundles = torch.from_numpy(learner.encode(states)["tokens"]), learner.bundles(states)
    passes = []
    module.body.register_forward_hook(lambda body, args, output: passes.append(len(output.last_hidden_state)))
    with torch.inference_mode():
        apart = torch.cat([module(tokens[[row]]) for row in range(len(tokens))])
        passes.clear()
        found = torch.zeros(len(tokens))
        for bundle in np.unique(bundles):
            rows = torch.from_numpy(np.flatnonzero(bundles == bundle))
            found[rows] = module(tokens[rows])
    assert torch.allclose(found, apart, atol=1e-5)
    assert sum(passes) == len(np.unique(bundles)) < len(np.unique(tokens.numpy(), axis=0))
