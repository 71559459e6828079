"""Adapters and fine-tuned bodies: what is trained is little or all, and others read it as they read their own."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModel, AutoTokenizer, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from stepward.domains.math.rewards.low_rank import LowRank
from stepward.domains.math.rewards.text import TextPRM
from stepward.domains.math.states import MathStates, roots
from stepward.train import Checkpoint, Optimisation, SoftBCE, epochs, make_examples, seeded_module
from unit.math.small_models import CONTEXT, TOKENS, small_tokenizer

peft = pytest.importorskip("peft")
PLAN = Optimisation(num_epochs=4, batch_size=24, learning_rate=1e-2)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    common = dict(vocab_size=len(TOKENS), bos_token_id=None, eos_token_id=0, initializer_range=0.2)
    sizes = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24)
    models = {
        "llama": LlamaForCausalLM(LlamaConfig(max_position_embeddings=CONTEXT, **sizes, **common)),
        "gpt2": GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=CONTEXT, **common)),
    }
    found = {}
    for name, model in models.items():
        found[name] = str(tmp_path_factory.mktemp(name))
        model.save_pretrained(found[name])
        small_tokenizer().save_pretrained(found[name])
    return found


def rows(number: int = 96) -> tuple[MathStates, np.ndarray]:
    """Solutions of one line; those with an "a" in it are right."""
    wins = np.random.default_rng(0).integers(0, 2, number)
    lines = [f"{'ba'[win]}{'12'[i % 2]}{'+' * (i % 5)}\n" for i, win in enumerate(wins)]
    questions = np.array([f"{1 + i % 2}+b" for i in range(number)], object)
    states = roots(questions, questions).replace(text=np.array(lines, object), num_steps=np.ones(number, np.int64))
    return states, wins.astype(float)


def trained(learner: TextPRM, plan: Optimisation = PLAN, **options: object) -> Checkpoint:
    states, wins = rows()
    examples = make_examples(learner.encode(states), wins, np.ones(len(wins)), SoftBCE(), pool=False)
    module = seeded_module(learner.module, 0)
    *_, done = epochs(module, examples, examples, SoftBCE(), plan, seed=0, **options)
    return done


def arrays(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in checkpoint.weights.items()}


def by_others(body: nn.Module, base: str, head: Path, states: MathStates) -> np.ndarray:
    """Scores by transformers or peft alone."""
    layers = nn.Sequential(nn.Linear(16, 16), nn.SiLU(), nn.Linear(16, 1))
    layers.load_state_dict(load_file(head))
    tokenizer, found = AutoTokenizer.from_pretrained(base), []
    for question, text in zip(states.question, states.text, strict=True):
        ids = torch.tensor([tokenizer(f"{question}\n{text}")["input_ids"]])
        with torch.no_grad():
            state = body.eval()(input_ids=ids).last_hidden_state[0, -1]
            found.append(float(layers(state.float()).sigmoid()))
    return np.array(found)


@pytest.mark.parametrize(("base", "options"), [("llama", {}), ("gpt2", {}), ("llama", {"dtype": "bfloat16"})])
def test_adapters_alone_are_trained_and_peft_reads_them(bases, base, options, tmp_path):
    learner = TextPRM(base=bases[base], lora=LowRank(rank=4, alpha=8), **options)
    states, _ = rows()
    done = trained(learner)
    kept = sum(weight.numel() for weight in done.weights.values())
    assert all("lora_" in name or name.startswith("head.") for name in done.weights)
    assert kept < 0.7 * learner.module().num_parameters
    assert done.progress.history[-1]["validation_loss"] < 0.95 * done.progress.history[0]["train_loss"]
    scores = learner.reward(arrays(done)).score(states, states)
    learner.exports(arrays(done), tmp_path)
    dtype = torch.bfloat16 if options else torch.float32
    body = AutoModel.from_pretrained(bases[base], dtype=dtype)
    fresh = by_others(body, bases[base], tmp_path / "head.safetensors", states)
    body = peft.PeftModel.from_pretrained(body, tmp_path)
    theirs = by_others(body, bases[base], tmp_path / "head.safetensors", states)
    tolerance = 0.02 if options else 1e-4
    np.testing.assert_allclose(theirs, scores, atol=tolerance)
    assert np.abs(fresh - scores).max() > 2 * tolerance, "the adapters matter"


def test_a_fine_tuned_body_is_read_by_transformers(bases, tmp_path):
    learner = TextPRM(base=bases["llama"], export=True)
    states, _ = rows()
    done = trained(learner)
    learner.exports(arrays(done), tmp_path)
    body = AutoModel.from_pretrained(tmp_path)
    theirs = by_others(body, str(tmp_path), tmp_path / "head.safetensors", states)
    np.testing.assert_allclose(theirs, learner.reward(arrays(done)).score(states, states), atol=1e-5)
    silent = TextPRM(base=bases["llama"])
    silent.exports(arrays(done), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_pieces_checkpointing_and_a_pause_change_nothing(bases):
    """Adapters without dropout, which each of them draws anew."""
    learner = TextPRM(base=bases["llama"], lora=LowRank(rank=2, dropout=0))
    whole = trained(learner)
    thrifty = learner.model_copy(update={"checkpointing": True})
    pieces = trained(thrifty, PLAN.model_copy(update={"accumulate": 4}))
    states, wins = rows()
    examples = make_examples(learner.encode(states), wins, np.ones(len(wins)), SoftBCE(), pool=False)
    first = next(epochs(seeded_module(learner.module, 0), examples, examples, SoftBCE(), PLAN, seed=0))
    resumed = trained(learner, start=first)
    for name, weight in whole.weights.items():
        torch.testing.assert_close(pieces.weights[name], weight, atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(resumed.weights[name], weight, atol=0, rtol=0)


def test_settings_without_effect_are_refused(bases):
    with pytest.raises(ValueError, match="expected lora"):
        TextPRM(dtype="bfloat16")
    with pytest.raises(ValueError, match="leave them out"):
        TextPRM(lora=LowRank(), init="scratch")
    with pytest.raises(ValueError, match="Target modules"):
        TextPRM(base=bases["llama"], lora=LowRank(layers=("nothing",))).module()
