"""Heads on hidden states: what sampling leaves behind is what reading gives, at the head's price, and can be lost."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from stepward.core.artifacts import Artifact
from stepward.core.cost import Ledger, metered_reward
from stepward.core.interfaces import Status
from stepward.core.seeding import Rng
from stepward.core.storage import Folder
from stepward.core.wing import Trainable, find_wing
from stepward.domains.math import LanguageModelSettings, MathDomain, MathStates
from stepward.domains.math.reading_settings import ReadingSettings
from stepward.domains.math.rewards.hidden import HiddenPRM, LinearHead, MLPHead, TransformerHead
from stepward.domains.math.states import roots
from stepward.domains.math.step_states import StepStates, blocks_of, read_states, settled
from stepward.domains.math.vector_files import VectorFiles
from stepward.evaluate.arms import Arm
from stepward.evaluate.context import Evaluation
from stepward.evaluate.proposers import Proposers
from stepward.evaluate.samples.settings import SampleStudy
from stepward.evaluate.studies.shared import SharedSamples
from stepward.rewards.factory import Guides
from stepward.rewards.guides import TrainedGuide
from stepward.testing.contracts import check_reward
from stepward.train import Optimisation, SoftBCE, epochs, make_examples, seeded_module
from unit.math.small_models import CONTEXT, TOKENS, small_tokenizer

COMMON = dict(vocab_size=len(TOKENS), bos_token_id=None, eos_token_id=0, initializer_range=0.2)
QUESTIONS = np.array(["a+1", "1+b"], object)
HEADS = [
    LinearHead(),
    LinearHead(history=False),
    MLPHead(width=8, dropout=0.1),
    TransformerHead(width=8, num_layers=1, num_heads=2),
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPWARD_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model of three blocks that the engine has a pass of its own for."""
    torch.set_num_threads(1)
    sizes = dict(hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=24)
    config = LlamaConfig(max_position_embeddings=CONTEXT, **sizes, **COMMON)
    return saved(lambda: LlamaForCausalLM(config), tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def foreign_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One that it has not."""
    config = GPT2Config(n_embd=16, n_layer=3, n_head=2, n_positions=CONTEXT, **COMMON)
    return saved(lambda: GPT2LMHeadModel(config), tmp_path_factory.mktemp("gpt2"))


def saved(build: Callable[[], PreTrainedModel], place: Path) -> str:
    torch.manual_seed(0)
    build().save_pretrained(place)
    small_tokenizer().save_pretrained(place)
    return str(place)


def settings(folder: str, dtype: str = "float32", **options: object) -> HiddenPRM:
    model = ReadingSettings(model=folder, prompt="b{question}\n", dtype=dtype)
    return HiddenPRM(**{"model": model, "layers": (1, 2), "head": HEADS[2], **options})


def proposer_settings(folder: str, **options: object) -> LanguageModelSettings:
    model = {"model": folder, "prompt": "b{question}\n", "dtype": "float32"}
    return LanguageModelSettings(**{**model, "temperatures": (1.0,), "max_step_tokens": 9, **options})


def sampled(folder: str, depth: int = 3, **options: object) -> list[tuple[MathStates, MathStates]]:
    """(parents, children) of some lines of solutions."""
    proposer, steps, states = proposer_settings(folder, **options).build(), [], roots(QUESTIONS, QUESTIONS)
    for step in range(depth):
        rng = Rng.from_ids(0, [f"{step}/{i}" for i in range(len(states))], "propose")
        children = proposer.propose(states, num_candidates=6, rng=rng)
        steps.append((states.take(np.repeat(np.arange(len(states)), 6)), children))
        states = children.take(np.flatnonzero(MathDomain().status(children) == Status.OPEN)[:4])
    return steps


def trained(learner: HiddenPRM) -> dict[str, np.ndarray]:
    """Some weights; those of a fresh linear head are 0."""
    torch.manual_seed(0)
    fresh = learner.module().state_dict().items()
    return {n: (w + 0.2 * torch.randn(w.shape) if n.startswith("head") else w).numpy() for n, w in fresh}


def alive(states: MathStates) -> np.ndarray:
    return MathDomain().status(states) != Status.DEAD


@pytest.mark.parametrize(
    ("kind", "dtype", "tolerance"),
    [("folder", "float32", 2e-4), ("foreign_folder", "float32", 2e-4), ("folder", "bfloat16", 0.1)],
)
def test_states_left_behind_are_those_of_reading(kind, dtype, tolerance, request):
    folder = request.getfixturevalue(kind)
    learner = settings(folder, dtype=dtype)
    left, read = learner.states(), StepStates(learner.model, learner.layers)
    steps = sampled(folder, dtype=dtype)
    assert len(steps[-1][1]) >= 12, "there are open solutions to go on from"
    for _, children in ((steps[0][0], steps[0][0]), *steps):
        known = left.sampled(children.question, children.text)
        assert known[alive(children)].all()
        children = children.take(np.flatnonzero(known))
        expected = read(children.question, children.text)
        np.testing.assert_allclose(left(children.question, children.text), expected, atol=tolerance)
        assert np.ptp(expected, axis=0).max() > 0.1
    assert left.texts_read == 0 < read.texts_read


def test_how_a_text_ends_in_blanks_changes_nothing(folder):
    """A model that leaves a line empty after each step leaves states behind under the names they are asked for by."""
    assert settled(["a\n\n", "a \n", "a ", "a", "", "\n"]).tolist() == ["a\n", "a\n", "a", "a", "", "\n"]
    learner, written = settings(folder), texts("a\n\nb\n\n", "a\n\nb\n", "a\n\nb\n \n")
    found = learner.encode(written)["states"]
    np.testing.assert_array_equal(found[1:], found[:1].repeat(2, 0))
    learner_alone = settings(folder, head=HEADS[1])
    np.testing.assert_array_equal(learner_alone.encode(written)["states"], found[:, :1])


@pytest.mark.parametrize("head", HEADS)
def test_lost_states_are_read_again_and_charged(folder, head):
    learner = settings(folder, head=head)
    reward, steps = learner.reward(trained(learner)), sampled(folder, depth=2)
    metered = metered_reward(reward, MathDomain())

    def scored(step: tuple[MathStates, MathStates]) -> tuple[np.ndarray, float]:
        ledger = Ledger(len(QUESTIONS))
        with ledger.recording():
            return metered.score(*step), float(ledger.total().flops)

    for parents, children in steps:
        there = np.flatnonzero(alive(children) & reward._sampled(children, learner.texts(children)))
        assert len(there) > 3
        step = parents.take(there), children.take(there)
        places = [len(row) if isinstance(head, TransformerHead) else 1 for row in learner.texts(step[1])]
        found, spent = scored(step)
        np.testing.assert_allclose(spent, 2 * sum(places) * reward._a_head)
        lost = learner.reward(trained(learner))
        lost._states = StepStates(learner.model, learner.layers)
        metered_lost, ledger = metered_reward(lost, MathDomain()), Ledger(len(QUESTIONS))
        with ledger.recording():
            np.testing.assert_allclose(metered_lost.score(*step), found, atol=1e-4)
        texts_read = lost._states.num_tokens(step[1].question, step[1].text)
        read = (ledger.total().flops - spent) / (2 * reward._a_token)
        assert max(texts_read) <= read <= sum(texts_read) and np.ptp(found) > 0
    dead = children.take(np.flatnonzero(~alive(children)))
    assert len(dead) and (metered.score(dead, dead) == 0).all() and (reward.charged_tokens(dead) == 0).all()


def test_reading_is_charged_once_for_texts_that_begin_one_another(folder):
    learner = settings(folder)
    reward, states = learner.reward(trained(learner)), texts("1+\n", "1+\n2\n", "1+\n2\nA: 2\n")
    lengths = reward._states.num_tokens(states.question, states.text)
    work = reward.charged_tokens(states) * reward.num_parameters - reward._a_head
    np.testing.assert_allclose(work, np.diff(lengths, prepend=0) * reward._a_token)


def texts(*written: str) -> MathStates:
    question = np.full(len(written), QUESTIONS[0], object)
    states = roots(question, question)
    return states.replace(text=np.array(written, object), num_steps=np.array([t.count("\n") for t in written]))


def test_reading_runs_only_as_many_blocks_as_it_needs(folder):
    model = ReadingSettings(model=folder, dtype="float32").load()
    rows = [[1, 2, 3], [1, 2, 3, 4, 5], [4], [1, 2]]
    with torch.inference_mode():
        outputs = [model(torch.tensor([row]), output_hidden_states=True).hidden_states for row in rows]
    expected = np.array([np.concatenate([o[layer][0, -1].numpy() for layer in (1, 2)]) for o in outputs])
    ran: list[int] = []
    for number, block in enumerate(blocks_of(model)):
        block.register_forward_pre_hook(lambda *_, number=number: ran.append(number))
    np.testing.assert_allclose(read_states(model, rows, (1, 2)), expected, atol=1e-5)
    assert ran == [0, 1]
    assert read_states(model, [], (1,)).shape == (0, 16)


def test_a_learner_reads_texts_from_elsewhere_and_finds_them_in_files_again(folder, monkeypatch):
    monkeypatch.setattr("stepward.domains.math.vector_files.SAVED", 16)
    learner = settings(folder)
    assert isinstance(learner, Trainable)
    states = texts(*(f"{'1' * (1 + i % 8)}\n{'2' * (i // 8)}+\n" for i in range(64)))
    inputs = learner.encode(states)
    assert inputs["states"].shape == (64, 3, 32) and inputs["lengths"].tolist() == [3] * 64
    monkeypatch.setattr("stepward.domains.math.step_states.read_states", lambda *_: pytest.fail("read twice"))
    np.testing.assert_array_equal(learner.encode(states)["states"], inputs["states"])
    assert not Path(VectorFiles("states", learner.model.reading, learner.layers, "bfloat16").url).exists()


@pytest.mark.parametrize("head", HEADS)
def test_it_learns_which_line_was_written(folder, head):
    """Success depends on the last line alone; the scale of the states is no matter."""
    generator = np.random.default_rng(0)
    last = generator.integers(0, 2, 160)
    states = texts(*(f"{generator.integers(1, 3)}\n{'ab'[w]}{generator.integers(1, 3)}\n" for w in last))
    learner, wins = settings(folder, head=head), last.astype(float)
    examples = make_examples(learner.encode(states), wins, np.ones(160), SoftBCE(), pool=False)
    module = seeded_module(learner.module, 0)
    learner.adapt(module, examples.inputs)
    plan = Optimisation(num_epochs=12, batch_size=32, learning_rate=1e-2)
    *_, done = epochs(module, examples, examples, SoftBCE(), plan, seed=0)
    reward = learner.reward({name: tensor.numpy() for name, tensor in done.weights.items()})
    scores = reward.score(states, states)
    assert scores[wins == 1].min() > 0.6 and scores[wins == 0].max() < 0.4
    check_reward(reward, MathDomain(), states.take(slice(0, 8)), states.take(slice(0, 8)), tolerance=1e-4)


def test_another_proposer_is_refused(folder, tmp_path):
    learner = settings(folder)
    learner.check_proposer(proposer_settings(folder, temperatures=(0.5,)))
    with pytest.raises(ValueError, match=r"the proposer is 'embedded'.*second_pass=true"):
        learner.check_proposer(LanguageModelSettings())
    with pytest.raises(ValueError, match="another prompt"):
        learner.check_proposer(proposer_settings(folder, prompt="{question}\n"))
    with pytest.raises(ValueError, match="kind 'vllm' gives no states away"):
        learner.check_proposer(proposer_settings(folder, engine="vllm", dtype="auto"))
    settings(folder, second_pass=True).check_proposer(LanguageModelSettings())
    own = settings(folder, second_pass=True)
    reward = own.reward(trained(own))
    steps = sampled(folder, depth=1)
    assert not reward._sampled(steps[0][1], own.texts(steps[0][1])).any()


def test_layers_must_be_blocks_of_the_model(folder):
    assert settings(folder, layers=()).states().layers == (1,)
    with pytest.raises(ValueError, match=r"blocks from 1 to 2 of the 3"):
        settings(folder, layers=(3,)).states()
    with pytest.raises(ValueError, match="in order"):
        settings(folder, layers=(2, 1))


def test_an_evaluation_refuses_before_it_begins(folder, tmp_path):
    """Arms of its own proposer, and samples of the evaluation's, are both looked at."""
    artifact = Artifact(str(tmp_path), "math", "train", "prm")
    learner = settings(folder)
    described = {"domain": "math", "kind": "hidden", "settings": learner.model_dump(mode="json")}
    artifact.folder.write_json("reward.json", described)
    guide = TrainedGuide(artifact="prm")
    for arms, samples, fits in (({}, True, False), ({}, None, True), ({"arm": Arm(guide="prm")}, None, False)):
        evaluation = SimpleNamespace(wing=find_wing("math"))
        evaluation.settings = SimpleNamespace(guides={"prm": guide}, samples=samples, families=lambda: {"arms": arms})  # noqa: B023
        evaluation.guides = Guides({"prm": guide}, store=str(tmp_path), wing=evaluation.wing)
        evaluation.proposers = Proposers(evaluation.wing, LanguageModelSettings().model_dump())
        with nullcontext() if fits else pytest.raises(ValueError, match=r"guide 'prm': .* the proposer is 'embedded'"):
            Evaluation.check_pairs(evaluation)


def test_a_study_of_samples_charges_the_head_alone(folder, tmp_path):
    """The guide must be there before anything is drawn, or all that was sampled would have to be read."""
    artifact, learner, wing = Artifact(str(tmp_path), "math", "train", "prm"), settings(folder), find_wing("math")
    described = {"domain": "math", "kind": "hidden", "settings": learner.model_dump(mode="json")}
    artifact.folder.write_json("reward.json", described)
    artifact.folder.write_weights("weights.safetensors", trained(learner))
    guide, proposer = TrainedGuide(artifact="prm"), proposer_settings(folder).build()
    study = SampleStudy(sizes=(1, 4), budgets=(1,), budget=1)
    evaluation = SimpleNamespace(wing=wing, folder=Folder(str(tmp_path)), proposers=lambda: proposer)
    evaluation.settings = SimpleNamespace(samples=study, guides={"prm": guide}, seed=0)
    evaluation.guides = Guides({"prm": guide}, store=str(tmp_path), wing=wing)
    evaluation.rows = lambda _: pa.table({"id": ["0", "1"], "question": list(QUESTIONS), "answer": ["1", "2"]})
    shared = object.__new__(SharedSamples)
    shared.evaluation, shared.settings, shared.wing = evaluation, evaluation.settings, wing
    shared.do("samples/0-2")
    spent = evaluation.folder.read_table("shards/spent/0-2.parquet").to_pandas()
    mine = spent[(spent["arm"] == "prm") & (spent["size"] == 4)]
    heads = mine["flops"].to_numpy() / (2 * evaluation.guides["prm"]._a_head)
    assert heads.sum() > 3
    np.testing.assert_allclose(heads, heads.round(), atol=1e-6)  # so many heads, and no token of the model
