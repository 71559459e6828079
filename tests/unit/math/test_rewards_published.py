"""Published PRMs: each format against a transcription of the code its authors publish, on small random models."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from torch import nn
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaModel,
    MistralConfig,
    MistralForCausalLM,
    MistralModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForTokenClassification,
    Qwen2Model,
)

from stepward.domains.math.rewards.formats import FORMATS
from stepward.domains.math.rewards.formats_table import EXAMPLE, formats_table, main, positions
from stepward.domains.math.rewards.published import PublishedPRM
from stepward.domains.math.states import MathDomain, MathStates, roots
from stepward.testing.contracts import check_reward

QUESTION = "Ann has 3 pens and buys 4. How many?"
STEPS = ["She buys 4 pens.", "3+4=7 - so far.", "The answer is 7."]
DOMAIN = MathDomain()
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA_3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content }}"
    "<|eot_id|>{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)


def byte_tokenizer(special: list[str], template: str, **tokens: str) -> PreTrainedTokenizerFast:
    """Bytes and some special tokens, as of Qwen and Llama 3."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=template, **tokens)


def word_tokenizer(pad: str) -> PreTrainedTokenizerFast:
    """Letters, and signs and the step tag with the space before them; it begins texts with <s>, as those of Llama 2."""
    letters = sorted({*"▁\nABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.,:?'-+=ки"})
    pieces = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), *((letter, -5.0) for letter in letters)]
    pieces += [("▁ки", -1.0), ("▁+", -1.0), ("▁-", -1.0)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(split=False)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": pad}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def config(kind: type, tokenizer: PreTrainedTokenizerFast, **options: object) -> object:
    sizes = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2)
    sizes |= dict(intermediate_size=24, vocab_size=len(tokenizer), initializer_range=0.4, bos_token_id=None)
    return kind(**sizes, max_position_embeddings=512, **options)


def save_with_head(folder: Path, body: nn.Module, head: dict[str, torch.Tensor], **extra: object) -> None:
    """A model whose class comes with remote code: configuration, and tensors of body and head by name."""
    for name, value in extra.items():
        setattr(body.config, name, value)
    body.config.save_pretrained(folder)
    tensors = {f"model.{name}": tensor for name, tensor in body.state_dict().items()} | head
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")


def qwen(folder: Path) -> list[float]:
    """The model card: softmax of two classes at <extra_0>."""
    tokenizer = byte_tokenizer(["<extra_0>", "<|im_start|>", "<|im_end|>"], CHATML, pad_token="<|im_end|>")
    body = Qwen2Model(config(Qwen2Config, tokenizer)).eval()
    score = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2))
    code = {"AutoModel": "modeling_qwen2_rm.Qwen2ForProcessRewardModel"}
    head = {f"score.{name}": tensor for name, tensor in score.state_dict().items()}
    save_with_head(folder, body, head, auto_map=code, architectures=["Qwen2ForProcessRewardModel"])
    tokenizer.save_pretrained(folder)
    messages = [
        {"role": "system", "content": "Please reason step by step, and put your final answer within \\boxed{}."},
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": "<extra_0>".join(STEPS) + "<extra_0>"},
    ]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=False)
    ids = tokenizer.encode(text, return_tensors="pt")
    logits = score(body(input_ids=ids).last_hidden_state)
    token_masks = ids == tokenizer.encode("<extra_0>")[0]
    return (logits.softmax(-1)[token_masks])[:, 1].tolist()


def shepherd(folder: Path) -> list[float]:
    """The model card: softmax over + and - at the tag."""
    tokenizer = word_tokenizer("</s>")
    model = MistralForCausalLM(config(MistralConfig, tokenizer)).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    candidates = tokenizer.encode("+ -")[1:]
    tag = tokenizer.encode("ки")[-1]
    output = "\n".join(f"Step {i}: {step} ки" for i, step in enumerate(STEPS, 1))
    ids = torch.tensor([tokenizer.encode(f"{QUESTION} {output}")])
    scores = model(ids).logits[:, :, candidates].softmax(dim=-1)[:, :, 0]
    return scores[ids == tag].tolist()


def openrlhf(folder: Path) -> list[float]:
    """PRMLoss: logits of the reward tokens at the placeholder; the text has no tokens of the tokenizer's own."""
    tokenizer = word_tokenizer("</s>")
    model = LlamaForCausalLM(config(LlamaConfig, tokenizer, tie_word_embeddings=True)).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    [placeholder], *reward_tokens = (tokenizer.encode(t, add_special_tokens=False) for t in ("ки", "+", "-"))
    text = f"{QUESTION} " + "\n".join(f"Step {i}: {step} ки" for i, step in enumerate(STEPS, 1))
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
    logits = model(ids).logits[ids == placeholder][..., [token for [token] in reward_tokens]]
    return logits.softmax(-1)[:, 0].tolist()


def rlhflow(folder: Path) -> list[float]:
    """prm_evaluate.py: a conversation a step, + and - at the third token from its end."""
    special = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    tokenizer = byte_tokenizer(special, LLAMA_3, bos_token=special[0], eos_token=special[3])
    model = LlamaForCausalLM(config(LlamaConfig, tokenizer)).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    candidates = [tokenizer.encode("+")[-1], tokenizer.encode("-")[-1]]
    conversation, found = [], []
    for k, step in enumerate(STEPS):
        conversation.append({"content": f"{QUESTION} {step}" if k == 0 else step, "role": "user"})
        conversation.append({"content": "+", "role": "assistant"})
        ids = tokenizer.apply_chat_template(conversation, return_tensors="pt", return_dict=False)
        found.append(model(ids).logits[:, -3, candidates].softmax(dim=-1)[0, 0].item())
    return found


def skywork(folder: Path) -> list[float]:
    """io_utils.prepare_input: question and steps cut apart; sigmoid of a value at the token of the line break."""
    tokenizer = byte_tokenizer(["<|endoftext|>"], CHATML, bos_token="<|endoftext|>")
    body, summary = Qwen2Model(config(Qwen2Config, tokenizer)).eval(), nn.Linear(16, 1)
    head = {f"v_head.summary.{name}": tensor for name, tensor in summary.state_dict().items()}
    save_with_head(folder, body, head)
    tokenizer.save_pretrained(folder)
    ids = tokenizer.encode(tokenizer.bos_token + QUESTION + "\n")
    flags = [0] * len(ids)
    step_token_id = tokenizer.encode("\n")[-1]
    for step in "\n".join(STEPS).split("\n"):
        step_ids = [*tokenizer.encode(step), step_token_id]
        ids, flags = ids + step_ids, flags + [0] * (len(step_ids) - 1) + [1]
    values = summary(body(input_ids=torch.tensor([ids])).last_hidden_state)[0, :, 0].sigmoid()
    return values[torch.tensor(flags) == 1].tolist()


def trl(folder: Path) -> list[float]:
    """PRMTrainer.tokenize_row: labels at the last token of each separator."""
    tokenizer = byte_tokenizer(["<|endoftext|>"], CHATML, pad_token="<|endoftext|>")
    model = Qwen2ForTokenClassification(config(Qwen2Config, tokenizer, num_labels=2, pad_token_id=0)).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    ids, labels = tokenizer(QUESTION, add_special_tokens=False)["input_ids"], []
    for step in STEPS:
        ids = ids + tokenizer(step, add_special_tokens=False)["input_ids"] + tokenizer.encode("\n")
        labels.append(len(ids) - 1)
    return model(torch.tensor([ids])).logits[0, labels].softmax(-1)[:, 1].tolist()


def reasoneval(folder: Path, pad: str, kind: tuple[type, type], skip: int) -> list[float]:
    """examples.py: separators are taken out again; p(neutral) + p(positive) before each."""
    tokenizer = word_tokenizer(pad)
    body, score_head = kind[0](config(kind[1], tokenizer)).eval(), nn.Linear(16, 3, bias=False)
    save_with_head(folder, body, {"score_head.weight": score_head.weight.detach()}, score_dimension=3)
    tokenizer.save_pretrained(folder)
    prompt = f"Question:\n{QUESTION}\nAnswer:\nLet's think step by step.\n"
    ids = tokenizer(prompt + pad + "".join(step + pad for step in STEPS))["input_ids"]
    separator = tokenizer(pad)["input_ids"][-1]
    places, kept, count = [], [], 0
    for idx, token in enumerate(ids):
        if token == separator:
            places.append(idx - 1 - count)
            count += 1
        else:
            kept.append(token)
    kept = [1, *kept] if skip == 2 else kept
    scores = score_head(body(input_ids=torch.tensor([kept])).last_hidden_state)[0, places[skip:]].softmax(-1)
    return (scores[:, 1] + scores[:, 2]).tolist()


TRANSCRIBED = {
    "qwen": qwen,
    "shepherd": shepherd,
    "openrlhf": openrlhf,
    "rlhflow": rlhflow,
    "skywork": skywork,
    "trl": trl,
    "reasoneval": lambda folder: reasoneval(folder, "<unk>", (LlamaModel, LlamaConfig), 1),
    "reasoneval-7b": lambda folder: reasoneval(folder, "<s>", (MistralModel, MistralConfig), 2),
}


def beginnings(steps: list[str] = STEPS, question: str = QUESTION) -> tuple[MathStates, MathStates]:
    """(parents, children) of every step."""
    asked, text = np.array([question], object), ""
    states = [roots(asked, asked)]
    for number, step in enumerate(steps, 1):
        text += f"{step}\n"
        counts = {name: np.array([number]) for name in ("num_steps", "num_tokens")}
        states.append(states[0].replace(text=np.array([text], object), last_tokens=np.array([1]), **counts))
    return MathStates.concat(states[:-1]), MathStates.concat(states[1:])


@pytest.mark.parametrize("name", TRANSCRIBED)
def test_scores_are_those_of_the_published_reading(tmp_path, name):
    """All steps of a solution at once, and one after the other as in a search; the format is found by the weights."""
    torch.manual_seed(3)
    folder = tmp_path / name
    folder.mkdir()
    with torch.no_grad():
        expected = TRANSCRIBED[name](folder)
    assert len(expected) == len(STEPS) and np.std(expected) > 1e-3
    reward = PublishedPRM(path=str(folder), dtype="float32").build(DOMAIN)
    parents, children = beginnings()
    np.testing.assert_allclose(reward.score(parents, children), expected, atol=2e-6)
    step_by_step = PublishedPRM(path=str(folder), dtype="float32").build(DOMAIN)
    found = [step_by_step.score(parents.take([k]), children.take([k]))[0] for k in range(len(STEPS))]
    np.testing.assert_allclose(found, expected, atol=2e-6)
    check_reward(step_by_step, DOMAIN, parents, children)
    assert set(FORMATS) <= {*TRANSCRIBED} and (reward.charged_tokens(children) > 0).all()


def test_a_path_is_read_in_one_pass(tmp_path):
    folder = tmp_path / "qwen"
    folder.mkdir()
    with torch.no_grad():
        qwen(folder)
    reward = PublishedPRM(path=str(folder), dtype="float32").build(DOMAIN)
    read = []
    reward._module.body.register_forward_pre_hook(
        lambda _, args, kw: read.append(kw["input_ids"].shape), with_kwargs=True
    )
    parents, children = beginnings()
    reward.score(parents, children)
    assert [rows for rows, _ in read] == [1]
    assert reward.charged_tokens(children).sum() == read[0][1]


def test_the_table_of_formats_is_that_of_the_documentation(tmp_path, capsys):
    """All formats as texts; and the tokens of one model, of which those before each mark are read."""
    table = formats_table()
    assert table in Path("docs/published.md").read_text(encoding="utf-8")
    assert all(table.count(f"⟨{k}⟩") == len(FORMATS) for k in (1, 2, 3))
    folder = tmp_path / "shepherd"
    with torch.no_grad():
        shepherd(folder)
    main([str(folder)])
    printed = capsys.readouterr().out
    tokens, read = positions(FORMATS["shepherd"], word_tokenizer("</s>"))
    assert [tokens[i] for i in read] == ["▁ки"] * len(EXAMPLE[1]) and f"read at {read}" in printed


def test_what_does_not_fit_is_said_in_a_sentence(tmp_path):
    """An unknown marker, a format of another head, a plain language model, no model, and logits that are NaN."""
    folder = tmp_path / "rlhflow"
    with torch.no_grad():
        rlhflow(folder)
    wrong = {
        "marker: expected a text that is one token": {"format": "shepherd"},
        "expected a head named v_head.summary": {"format": "skywork"},
        "marker would have no effect": {"format": "rlhflow", "marker": "x"},
        "the same one": {"format": "rlhflow", "right": "1", "wrong": "1"},
    }
    for message, settings in wrong.items():
        with pytest.raises(ValueError, match=message):
            PublishedPRM(path=str(folder), dtype="float32", **settings).build(DOMAIN)
    plain = tmp_path / "plain"
    folder.rename(plain)
    with pytest.raises(ValueError, match="Name it: shepherd, rlhflow or openrlhf"):
        PublishedPRM(path=str(plain)).build(DOMAIN)
    with pytest.raises(ValueError, match="expected a tokenizer beside the weights"):
        PublishedPRM(path=str(tmp_path / "nowhere")).build(DOMAIN)
    with pytest.raises(ValueError, match="qwenn"):
        PublishedPRM(path=str(plain), format="qwenn")
    broken = PublishedPRM(path=str(plain), format="rlhflow", dtype="float32").build(DOMAIN)
    broken._module.head.layers[0].weight.data[:] = np.nan
    with pytest.raises(ValueError, match="finite logits, got 3 of 3"):
        broken.score(*beginnings())
