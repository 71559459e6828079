"""Prompts: shots, system text and chat templates become one text; and models that cannot be used as they are."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from stepward.core.seeding import Rng
from stepward.domains.math import LanguageModelSettings
from stepward.domains.math import models as loading
from stepward.domains.math.models import choose_dtype
from stepward.domains.math.prompts import Prompt, Shot, build_prompt
from stepward.domains.math.states import roots
from unit.math.foreign_models import foreign_folder
from unit.math.small_models import small_model, small_proposer, small_tokenizer

SHOTS = (Shot(question="1+1", solution="2\n#### 2\n"), Shot(question="2+2", solution="#### 4"))
CHAT = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' and forbidden %}{{ raise_exception('no system') }}"
    "{% endif %}<{{ m.role }}>{{ m.content }}</>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


def folder_of(tmp_path: Path, chat: str | None = None) -> Path:
    folder = foreign_folder(tmp_path, "qwen2")
    if chat:
        config = json.loads((folder / "tokenizer_config.json").read_text())
        (folder / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": chat}))
    return folder


def settings(folder: Path, **options: object) -> LanguageModelSettings:
    return LanguageModelSettings(**({"model": str(folder), "dtype": "float32"} | options))


def test_shots_stand_before_the_question() -> None:
    prompt = build_prompt("Q: {question}\nA: ", shots=SHOTS, tokenizer=small_tokenizer())
    assert prompt.fill("3 {x}") == "Q: 1+1\nA: 2\n#### 2\n\nQ: 2+2\nA: #### 4\n\nQ: 3 {x}\nA: "


def test_a_chat_template_has_its_turns_and_its_special_tokens() -> None:
    tokenizer = small_tokenizer()
    tokenizer.chat_template, tokenizer.bos_token = CHAT, "<end>"
    prompt = build_prompt("{question}?\n", shots=SHOTS[:1], system="Be brief.", chat=True, tokenizer=tokenizer)
    turns = "<system>Be brief.</><user>1+1?</><assistant>2\n#### 2</><user>a?</><assistant>"
    assert prompt.fill("a") == "<end>" + turns and not prompt.special_tokens
    tokenizer.chat_template = CHAT.replace("forbidden", "true")
    with pytest.raises(ValueError, match=r"refused the turns \['system', 'user'\]: no system.*leave it out"):
        build_prompt("{question}", system="Be brief.", chat=True, tokenizer=tokenizer)


def test_what_all_prompts_begin_with_is_read_once(tmp_path: Path) -> None:
    """The same texts with and without, and the model runs as many tokens fewer as are common."""
    proposer = settings(folder_of(tmp_path), shots=[shot.model_dump() for shot in SHOTS * 3]).build()
    states = roots(np.array(["3+3", "4+4", "5"], object), np.array(["6", "8", "5"], object))
    common, read = proposer._common, []
    assert proposer.encode(states)[0][: len(common)] == common and len(common) > 16
    texts = []
    for beginning in (common, []):
        proposer.__dict__["_common"] = beginning
        sample = proposer.engine.sample
        proposer.engine.sample = lambda *args, sample=sample, **kw: read.append(sample(*args, **kw)) or read[-1]
        texts.append(proposer.complete(states, num_continuations=3, rng=Rng.from_seed(0, 3, "x")).text.tolist())
        proposer.engine.sample = sample
    assert texts[0] == texts[1]
    assert read[1].stats.prefill_tokens - read[0].stats.prefill_tokens == 2 * len(common)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(chat=True), r"chat: expected a tokenizer with a chat template.*instruction-tuned"),
        (dict(shots=[SHOTS[0].model_dump()] * 99), r"expected fewer than 512 tokens.*Leave out shots"),
        (dict(attention="eager"), r"attention: would have no effect.*leave it out"),
    ],
)
def test_prompts_and_settings_that_a_model_cannot_take(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings(folder_of(tmp_path), **options).build()


@pytest.mark.parametrize("options", [dict(system="Be brief."), dict(engine="vllm", spread=True)])
def test_settings_without_effect_are_refused(options: dict) -> None:
    with pytest.raises(ValueError, match="would have no effect"):
        LanguageModelSettings(model="a/b", **options)


def test_a_folder_without_tokenizer(tmp_path: Path) -> None:
    small_model().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"expected a tokenizer beside the weights(.|\n)*Copy the tokenizer's files"):
        settings(tmp_path).build()


def test_a_model_with_code_of_its_own(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    code = {"auto_map": {"AutoModelForCausalLM": "modeling_odd.OddModel"}, "model_type": "odd"}
    (folder / "config.json").write_text(json.dumps(config | code))
    (folder / "modeling_odd.py").write_text("raise SystemExit('this code ran')")
    with pytest.raises(ValueError, match=r"code of its own \(modeling_odd.OddModel\), which is not run"):
        settings(folder, dtype="auto").build()


def test_gguf_files_that_are_cut_short_or_not_there(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    (tmp_path / "short.gguf").write_bytes(b"GGUF" + (3).to_bytes(4, "little") + (99).to_bytes(8, "little"))
    with pytest.raises(ValueError, match=r"short.gguf.*cut short"):
        settings(tmp_path / "short.gguf").build()
    with pytest.raises(ValueError, match="there is no file"):
        settings(tmp_path / "none.gguf", dtype="auto").build()


@pytest.mark.parametrize(("half", "chosen"), [(0.5, torch.bfloat16), (0.95, torch.float32), (3.0, torch.float32)])
def test_precision_is_what_measures_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, half: float, chosen: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(loading, "_product_seconds", lambda width, dtype: half if dtype == torch.bfloat16 else 1.0)
    assert choose_dtype(str(folder_of(tmp_path))) == chosen
    assert f"{1 / half:.1f} x as fast" in caplog.text
    assert settings(tmp_path, dtype="auto").build().engine.model.dtype == chosen
    assert LanguageModelSettings().build().engine.model.dtype == torch.float32


def test_a_proposer_without_a_prompt_asks_the_bare_question() -> None:
    assert small_proposer().prompt == Prompt("{question}\n")
