"""Model folders: whole, or refused with what is wrong with them."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM

from stepward.core.config import parse_config
from stepward.core.wing import find_wing
from stepward.domains.math.models import load_language_model
from stepward.domains.math.rewards.body import build_body
from stepward.label import CountTask
from stepward.runtime.labelling import label_job
from unit.math.small_models import small_model, small_proposer, small_tokenizer

MISSING = "model.layers.0.mlp.up_proj.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    small_model().save_pretrained(tmp_path)
    small_tokenizer().save_pretrained(tmp_path)
    return tmp_path


def change(folder: Path, **tensors: torch.Tensor | None) -> None:
    weights = load_file(folder / "model.safetensors") | {k.replace("__", "."): v for k, v in tensors.items()}
    save_file({k: v for k, v in weights.items() if v is not None}, folder / "model.safetensors", {"format": "pt"})


def test_a_whole_folder_is_read(folder: Path) -> None:
    expected = small_model().state_dict()
    assert all(
        torch.equal(tensor, expected[name])
        for name, tensor in load_language_model(str(folder)).cpu().state_dict().items()
    )
    build_body(str(folder), pretrained=True)  # without a head: lm_head is left over, and nothing lacks


@pytest.mark.parametrize("damage", ["missing", "half", "shape"])
def test_damaged_weights_are_refused_and_never_replaced_by_random_ones(folder: Path, damage: str) -> None:
    """Today's transformers draws missing tensors at random, other ones at each load."""
    weights = folder / "model.safetensors"
    if damage == "half":
        weights.write_bytes(weights.read_bytes()[:2000])
    else:
        change(folder, **{MISSING.replace(".", "__"): None if damage == "missing" else torch.zeros(3, 3)})
    for load in (load_language_model, lambda name: build_body(name, pretrained=True)):
        with pytest.raises(ValueError, match=r"up_proj" if damage == "missing" else str(folder)):
            load(str(folder))


def test_parts_that_are_meant_to_be_new_are_not_missed(tmp_path: Path) -> None:
    """A masked language model has no pooler, and a step scorer reads none."""
    sizes = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=9)
    BertForMaskedLM(BertConfig(**sizes)).save_pretrained(tmp_path)
    assert build_body(str(tmp_path), pretrained=True).pooler is None


def test_a_pretrained_model_is_found_in_the_store_in_use(folder: Path, tmp_path: Path) -> None:
    """The command that pretraining advises names `artifacts/…`, and means the store of the job."""
    store = tmp_path / "elsewhere"
    shutil.copytree(
        folder, store / "math" / "pretrain" / "calmer" / "model", ignore=shutil.ignore_patterns("elsewhere")
    )
    words = [f"store={store}", "proposer.model=artifacts/math/pretrain/calmer/model"]
    task = CountTask(parse_config(label_job(find_wing("math")), words))
    assert task.proposer.num_parameters == small_proposer().num_parameters
