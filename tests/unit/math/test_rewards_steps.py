"""The step transformer: causal, blind to padding, one sigmoid, embeddings computed once; and that it can learn."""

import numpy as np
import pytest
import torch
from scipy.special import expit
from transformers import BertConfig, BertModel

from stepward.core.wing import Trainable
from stepward.domains.math.rewards.step_embeddings import StepEmbedder, embedder_of
from stepward.domains.math.rewards.step_transformer import StepTransformer
from stepward.domains.math.states import MathDomain, MathStates, roots
from stepward.testing.contracts import check_reward
from stepward.train import Optimisation, SoftBCE, epochs, make_examples, seeded_module
from unit.math.small_models import CONTEXT, small_model, small_tokenizer

SMALL = dict(width=16, num_layers=2, num_heads=2, max_steps=6)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("base")
    small_model().save_pretrained(folder)
    small_tokenizer().save_pretrained(folder)
    return str(folder)


def solutions(*texts: str) -> MathStates:
    question = np.array([f"a+{1 + i % 2}" for i in range(len(texts))], object)
    steps = np.array([text.count("\n") for text in texts])
    states = roots(question, question).replace(text=np.array(texts, object), num_steps=steps)
    return states.replace(problem=np.arange(len(texts)) % 2)


STATES = solutions("", "a\n", "a\nb1\n", "b\n1\n2+\nA: 1\n", "2\n2\n")


def trained(settings: StepTransformer) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in seeded_module(settings.module, 0).state_dict().items()}


def test_logits_of_a_beginning_do_not_depend_on_later_steps(base):
    torch.manual_seed(0)
    network = StepTransformer(base=base, **SMALL).module().eval()
    steps = torch.randn(3, 6, 16)
    with torch.no_grad():
        whole = network.step_logits(steps)
        assert whole.std() > 1e-3
        changed = network.step_logits(torch.cat([steps[:, :4], 5 * torch.randn(3, 2, 16)], dim=1))
        torch.testing.assert_close(changed[:, :4], whole[:, :4], atol=1e-6, rtol=1e-6)
        assert not torch.allclose(changed[:, 4:], whole[:, 4:], atol=1e-3)
        for length in range(1, 7):
            alone = network(steps[:, :length], torch.full((3,), length))
            torch.testing.assert_close(alone, whole[:, length - 1], atol=1e-6, rtol=1e-6)
            padding = torch.cat([steps[:, :length], torch.full((3, 6 - length, 16), 1e3)], dim=1)
            torch.testing.assert_close(network(padding, torch.full((3,), length)), alone, atol=1e-6, rtol=1e-6)


def test_order_of_steps_matters(base):
    network = StepTransformer(base=base, **SMALL).module().eval()
    steps, both = torch.randn(1, 2, 16), torch.full((1,), 2)
    with torch.no_grad():
        assert abs(float(network(steps, both) - network(steps.flip(1), both))) > 1e-4


def test_sigmoid_is_applied_once(base):
    """Logits leave [0, 1], the score is their sigmoid; a second sigmoid could give no score outside [.5, .74]."""
    settings = StepTransformer(base=base, **SMALL)
    weights = trained(settings)
    weights["output.weight"] = 20 * weights["output.weight"]
    reward = settings.reward(weights)
    logits = reward.logits(STATES)
    scores = reward.score(STATES, STATES)
    np.testing.assert_allclose(scores, expit(logits.astype(float)), rtol=1e-12)
    assert ((scores < 0.5) | (scores > 0.74)).any() and ((logits < 0) | (logits > 1)).any()
    module = settings.module().eval()
    module.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    inputs = {name: torch.from_numpy(array) for name, array in settings.encode(STATES).items()}
    np.testing.assert_allclose(module(**inputs).detach(), logits, atol=1e-5)


def test_encoding_is_question_and_lines(base):
    settings = StepTransformer(base=base, **SMALL)
    assert isinstance(settings, Trainable)
    inputs = settings.encode(STATES)
    assert inputs["lengths"].tolist() == [1, 2, 3, 5, 3]
    assert inputs["embeddings"].shape == (5, 5, 16)
    np.testing.assert_array_equal(inputs["embeddings"][4, 1], inputs["embeddings"][4, 2])  # the line "2" twice
    assert not inputs["embeddings"][0, 1:].any()
    long = solutions("".join(f"{i % 2 + 1}\n" for i in range(9)))
    assert settings.steps(long) == [["a+1", "1\n", "2\n", "1\n", "2\n", "1\n"]]


def test_reward_contract(base):
    settings = StepTransformer(base=base, **SMALL)
    check_reward(settings.reward(trained(settings)), MathDomain(), STATES, STATES, tolerance=1e-6)


def test_charge_is_the_work_of_encoder_and_network(base):
    reward = StepTransformer(base=base, **SMALL).reward(trained(StepTransformer(base=base, **SMALL)))
    encoder = embedder_of(base).num_parameters
    network = reward.num_parameters - encoder
    work = reward.charged_tokens(STATES) * reward.num_parameters
    exact = np.array([3, 2, 3, 2, 2]) * encoder + np.array([1, 2, 3, 5, 3]) * network
    assert (work >= exact).all() and (work < exact + reward.num_parameters).all()


def test_embeddings_are_means_over_tokens():
    model, tokenizer = small_model().base_model, small_tokenizer()
    embedder = StepEmbedder(model, tokenizer, context=CONTEXT)
    texts = ["a", "ab12\n", "", "2+1"]
    vectors = embedder(texts)
    for text, vector in zip(texts, vectors, strict=True):
        if not text:
            assert not vector.any()
            continue
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        with torch.inference_mode():
            np.testing.assert_allclose(vector, model(input_ids=ids).last_hidden_state[0].mean(0), atol=1e-6)


def test_cache_is_bounded_and_changes_nothing():
    texts = ["a", "b", "1", "a", "ab", "2", "b"]
    kept = StepEmbedder(small_model().base_model, small_tokenizer(), context=CONTEXT)
    tight = StepEmbedder(small_model().base_model, small_tokenizer(), context=CONTEXT, max_entries=2)
    expected = kept(texts)
    assert kept.texts_run == 5 and len(kept) == 5
    np.testing.assert_array_equal(kept(texts), expected)
    assert kept.texts_run == 5
    np.testing.assert_allclose(tight(texts), expected, atol=1e-6)
    assert len(tight) == 2 and tight.texts_run == 5
    tight(["2", "b"])  # the two used last
    assert tight.texts_run == 5
    tight(["a"])
    assert tight.texts_run == 6


def test_a_sentence_encoder_embeds_lines_once_for_all_trainings(tmp_path, monkeypatch):
    """A BERT, as sentence encoders are; its means over tokens are found in files by the next process."""
    monkeypatch.setenv("STEPWARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("stepward.domains.math.vector_files.SAVED", 4)
    torch.manual_seed(0)
    sizes = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24)
    BertModel(BertConfig(vocab_size=9, max_position_embeddings=CONTEXT, **sizes)).save_pretrained(tmp_path / "bert")
    small_tokenizer().save_pretrained(tmp_path / "bert")
    settings = StepTransformer(base=str(tmp_path / "bert"), **SMALL)
    inputs = settings.encode(STATES)
    assert embedder_of(settings.base).texts_run == 9
    embedder_of.cache_clear()
    again = settings.encode(STATES)
    assert embedder_of(settings.base).texts_run == 0
    np.testing.assert_array_equal(again["embeddings"], inputs["embeddings"])
    check_reward(settings.reward(trained(settings)), MathDomain(), STATES, STATES, tolerance=1e-6)


def test_it_learns_what_the_first_line_was(base):
    """Success depends on the first of three lines alone: the network must carry it to the end."""
    generator = np.random.default_rng(0)
    first = generator.integers(0, 2, 160)
    texts = [f"{'ab'[w]}\n{generator.integers(1, 3)}\n{generator.integers(1, 3)}+\n" for w in first]
    states, wins = solutions(*texts), first.astype(float)
    settings = StepTransformer(base=base, **SMALL)
    examples = make_examples(settings.encode(states), wins, np.ones(len(wins)), SoftBCE(), pool=False)
    plan = Optimisation(num_epochs=15, batch_size=32, learning_rate=1e-2)
    *_, last = epochs(seeded_module(settings.module, 0), examples, examples, SoftBCE(), plan, seed=0)
    scores = settings.reward({n: t.numpy() for n, t in last.weights.items()}).score(states, states)
    assert scores[wins == 1].min() > 0.8 and scores[wins == 0].max() < 0.2


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="divisor of width 16"):
        StepTransformer(width=16, num_heads=3)
