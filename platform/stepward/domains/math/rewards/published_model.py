"""Loading published PRMs: the body by its configuration, the head from the safetensors by the names of its tensors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import safe_open
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerBase
from transformers.utils import cached_file
from transformers.utils import logging as transformers_logging

from stepward.domains.math.models import UNREADABLE, choose_dtype, load_tokenizer, read_weights, refuse_pickles
from stepward.domains.math.rewards.body import LONGEST, StepScorer
from stepward.domains.math.rewards.formats import Format, Head, step_tokens, token_of
from stepward.domains.math.rewards.text_scoring import TextReward
from stepward.domains.math.rewards.weights import device_of_choice
from stepward.domains.math.states import MathStates

__all__ = ["form_of", "guess_format", "load_published", "state_tokens"]

INDEX, WHOLE = "model.safetensors.index.json", "model.safetensors"
EMBEDDINGS = ("lm_head.weight", "model.embed_tokens.weight", "transformer.wte.weight")  # tied where there is no first
HEADS: dict[Head, tuple[str, ...]] = {  # names of the last layer, that before it follows from them
    "classes": ("score.2", "score", "classifier"),
    "value": ("v_head.summary",),
    "validity": ("score_head",),
}


def load_published(source: str, name: str, form_named: Callable[[str], Format], dtype: str) -> TextReward:
    """The reward model of a folder or hub id.

    Args:
        name: of its format, or "auto".
        form_named: name -> format.
        dtype: of the body, or "auto".
    """
    transformers_logging.disable_progress_bar()
    _, form, tokenizer = form_of(source, name, form_named)
    try:
        names = _tensors(source)
        head = _head(source, form, tokenizer, names)
        precision = choose_dtype(source) if dtype == "auto" else getattr(torch, dtype)
        body = read_weights(AutoModel, source, precision, new=("pooler.",))
    except UNREADABLE as error:
        raise ValueError(f"published PRM {source!r}: {str(error).strip()}") from error
    module = StepScorer(body, head_width=None, pool="last", head=head)
    if not module.causal:
        raise ValueError(f"published PRM {source!r}: expected a causal model, got {type(body).__name__}.")
    module.to(device_of_choice()).eval().requires_grad_(False)
    limit = getattr(body.config.get_text_config(), "max_position_embeddings", None) or LONGEST
    return TextReward(lambda states: state_tokens(form, tokenizer, states, limit), module)


def form_of(source: str, name: str, form_named: Callable[[str], Format]) -> tuple[str, Format, PreTrainedTokenizerBase]:
    """Name, format and tokenizer of a model, of whose weights only the names are read; see `load_published`.

    Raises:
        ValueError: there is no model, its format cannot be told, or its tokenizer does not know the marker.
    """
    tokenizer = load_tokenizer(source)
    try:
        refuse_pickles(source)
        name = guess_format(source, _tensors(source)) if name == "auto" else name
        form = form_named(name)
        if form.marker and form.layout != "pieces":
            token_of(tokenizer, form.marker, "marker")
    except UNREADABLE as error:
        raise ValueError(f"published PRM {source!r}: {str(error).strip()}") from error
    return name, form, tokenizer


def state_tokens(form: Format, tokenizer: PreTrainedTokenizerBase, states: MathStates, limit: int) -> list[list[int]]:
    """Token ids of every state; of one longer than `limit` its end."""
    pairs = list(zip(states.question, map(tuple, states.steps()), strict=True))
    found = {
        (question, steps): step_tokens(form, tokenizer, question, list(steps))[-limit:]
        for question, steps in dict.fromkeys(pairs)
    }
    return [found[pair] for pair in pairs]


def guess_format(source: str, names: Iterable[str]) -> str:
    """The format of a model, from the names of its tensors; of plain language models from their own name.

    Raises:
        ValueError: it cannot be told.
    """
    heads = {name.rsplit(".", 1)[0] for name in names}
    for layer, form in (("v_head.summary", "skywork"), ("score_head", "reasoneval"), ("score.2", "qwen")):
        if layer in heads:
            return form
    if heads & {"score", "classifier"}:
        return "trl"
    for word in ("rlhflow", "shepherd", "openrlhf"):
        if word in source.lower():
            return word
    raise ValueError(
        "format: its weights are those of a plain language model, and its name does not tell what it was trained on. "
        "Name it: shepherd, rlhflow or openrlhf."
    )


class ScoreHead(nn.Module):
    """From hidden states to one logit: layers with ReLU between them, and how their numbers become one."""

    def __init__(self, layers: list[nn.Linear], kind: Head) -> None:
        super().__init__()
        parts = [part for layer in layers for part in (layer, nn.ReLU())][:-1]
        self.layers, self.kind = nn.Sequential(*parts), kind

    def forward(self, hidden: Float[Tensor, "n c"]) -> Float[Tensor, "n 1"]:
        """Logits of a step being right: their sigmoid is the published score."""
        numbers = self.layers(hidden.float())
        if self.kind == "value":
            return numbers
        if self.kind == "pair":  # right, wrong
            return numbers[:, :1] - numbers[:, 1:]
        return numbers[:, 1:].logsumexp(1, keepdim=True) - numbers[:, :1]  # class 0 is wrong


def _head(source: str, form: Format, tokenizer: PreTrainedTokenizerBase, names: dict[str, str]) -> ScoreHead:
    if form.head == "pair":
        ids = [_last_token(tokenizer, text) for text in (form.right, form.wrong)]
        if ids[0] == ids[1]:
            raise ValueError(f"right, wrong: expected two tokens, got the same one for {form.right!r}, {form.wrong!r}")
        layers = [_rows(source, names, ids)]
    else:
        last = next((layer for layer in HEADS[form.head] if f"{layer}.weight" in names), None)
        if last is None:
            raise ValueError(
                f"expected a head named {' or '.join(HEADS[form.head])} in its weights, as this format has, found "
                "none; name another format"
            )
        layers = [_layer(source, names, name) for name in (["score.0"] if last == "score.2" else []) + [last]]
    outputs = {"pair": 2, "classes": 2, "value": 1, "validity": 3}[form.head]
    if layers[-1].out_features != outputs:
        raise ValueError(
            f"expected a head of {outputs} numbers, as this format has, got {layers[-1].out_features}. Name another."
        )
    return ScoreHead(layers, form.head)


def _last_token(tokenizer: PreTrainedTokenizerBase, text: str) -> int:
    """The last token of a text: tokenizers that mark the beginning of words make two of a sign."""
    ids = tokenizer.encode(text, add_special_tokens=False)
    if not ids or ids[-1] == tokenizer.unk_token_id:
        raise ValueError(f"right, wrong: expected texts that the tokenizer knows, got {text!r}")
    return int(ids[-1])


def _rows(source: str, names: dict[str, str], ids: list[int]) -> nn.Linear:
    """The rows of a language model's output that belong to some tokens; no others are computed."""
    table = next((name for name in EMBEDDINGS if name in names), None)
    if table is None:
        raise ValueError(f"expected output weights named {' or '.join(EMBEDDINGS)}, found none. Name another format.")
    with safe_open(names[table], framework="pt") as file:
        rows = file.get_slice(table)
        weight = torch.stack([rows[i : i + 1][0] for i in ids])
    return _linear(weight, None)


def _layer(source: str, names: dict[str, str], layer: str) -> nn.Linear:
    def read(name: str) -> Tensor | None:
        if name not in names:
            return None
        with safe_open(names[name], framework="pt") as file:
            tensor: Tensor = file.get_tensor(name)
            return tensor

    weight = read(f"{layer}.weight")
    assert weight is not None, "it was found by this name"
    return _linear(weight, read(f"{layer}.bias"))


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.weight.data = weight.float()
    if bias is not None:
        layer.bias.data = bias.float()
    return layer


def _tensors(source: str) -> dict[str, str]:
    """Name of every tensor of a model -> the file that holds it."""
    index = cached_file(source, INDEX, _raise_exceptions_for_missing_entries=False)
    if index:
        parts: dict[str, str] = json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"]
        return {name: str(cached_file(source, part)) for name, part in parts.items()}
    AutoConfig.from_pretrained(source, trust_remote_code=False)  # a place without a model is said in its words
    whole = str(cached_file(source, WHOLE))
    with safe_open(whole, framework="pt") as file:
        return dict.fromkeys(file.keys(), whole)
