"""What a language model knew at the end of a step: hidden states that sampling leaves behind, or that reading makes.

The state of a text is the one that its last token was drawn from: the model has read all of the step but what ends it,
the token that breaks the line, and knows that it is over. (A text without a line break at its end was ended by the end
token, or by the beginning of the next sentence, and is read to its last word.) Blank lines at its end change nothing.
The state of a bare question is that at the end of the prompt. So sampling makes all of them, and no token is run for
their sake; a text that nobody sampled here is read, which gives the same numbers. Steps that end otherwise, at so many
tokens or where the next one's marker begins, are not over when their last token is drawn, and are always read.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any
from weakref import WeakSet, WeakValueDictionary

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from transformers import PreTrainedModel

from stepward.domains.math.models import load_tokenizer, skeleton
from stepward.domains.math.prompts import Reading
from stepward.domains.math.reading_settings import ReadingSettings
from stepward.domains.math.states import object_array, text_keys
from stepward.domains.math.vector_files import VectorFiles

__all__ = ["StepStates", "blocks_of", "ends_at", "read_states", "settled", "states_of", "watchers"]

MAX_BYTES = 2**30  # of states kept in memory; those that were used longest ago go first
PADDED = 8192  # tokens of a pass, padding included

_WATCHING: WeakSet[StepStates] = WeakSet()
_SHARED: WeakValueDictionary[tuple[Reading, tuple[int, ...]], StepStates] = WeakValueDictionary()

Texts = Shaped[np.ndarray, " n"]


def settled(texts: Iterable[str]) -> Texts:
    """Texts without the spaces at their ends, and with one line break there where there were several."""
    return object_array([body + "\n" * ("\n" in text[len(body) :]) for text in texts for body in [text.rstrip()]])


def ends_at(ids: Sequence[int], text: str) -> int:
    """How many of the tokens of prompt and settled text are read for the state of the text."""
    return max(len(ids) - text.endswith("\n"), 1)


class StepStates:
    """States of texts, kept by question and text. Losing them costs time, never correctness.

    Args:
        settings: model and prompt.
        layers: blocks, from 1, whose states are kept, one after another.
        max_bytes: of what is kept.
    """

    def __init__(self, settings: ReadingSettings, layers: tuple[int, ...], *, max_bytes: int = MAX_BYTES) -> None:
        model = skeleton(settings.model)
        self.settings, self.layers = settings, layers
        self.files = VectorFiles("states", settings.reading, layers, settings.dtype)
        self.width = len(layers) * int(model.config.get_text_config().hidden_size)
        self.parameters_a_token = sum(
            w.numel() for block in blocks_of(model)[: max(layers)] for w in block.parameters()
        )
        self.max_states = max(max_bytes // (4 * self.width), 1)
        self.texts_read = 0
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()
        self._sampled: set[int] = set()

    def __len__(self) -> int:
        """States kept now."""
        return len(self._kept)

    def __call__(self, questions: Texts, texts: Texts) -> Float[np.ndarray, "n w"]:
        """The state of every text; those that are not there are read."""
        texts = settled(texts)
        keys = text_keys(questions, texts).tolist()
        new = {k: (q, t) for k, q, t in zip(keys, questions, texts, strict=True) if k not in self._kept}
        found = self.files.completed(new, self._read) if new else {}
        states = np.zeros((len(keys), self.width), np.float32)
        for row, key in enumerate(keys):
            if key in self._kept:
                self._kept.move_to_end(key)
            states[row] = found[key] if key in found else self._kept[key]
        for key, state in found.items():
            self._keep(key, state)
        return states

    def note(self, questions: Texts, texts: Texts, states: Float[np.ndarray, "n w"]) -> None:
        """Keep states that sampling left behind."""
        for key, state in zip(text_keys(questions, settled(texts)).tolist(), states, strict=True):
            self._sampled.add(key)
            self._keep(key, state)

    def sampled(self, questions: Texts, texts: Texts) -> Bool[np.ndarray, " n"]:
        """Whether the state of each text is here and came from sampling."""
        return np.array([key in self._sampled for key in text_keys(questions, settled(texts)).tolist()], bool)

    def num_tokens(self, questions: Texts, texts: Texts) -> Int[np.ndarray, " n"]:
        """Tokens that are read for each text, the prompt included."""
        return np.array([len(row) for row in self._rows(questions, settled(texts))], np.int64)

    def forget(self) -> None:
        """Drop all states."""
        self._kept.clear()
        self._sampled.clear()

    def _keep(self, key: int, state: Float[np.ndarray, " w"]) -> None:
        self._kept[key] = state
        self._kept.move_to_end(key)
        while len(self._kept) > self.max_states:
            self._sampled.discard(self._kept.popitem(last=False)[0])

    def _read(self, texts: list[tuple[str, str]]) -> Float[np.ndarray, "n w"]:
        """States of (question, text), by running the model."""
        self.texts_read += len(texts)
        rows = self._rows([question for question, _ in texts], [text for _, text in texts])
        return read_states(_model(self.settings), rows, self.layers)

    def _rows(self, questions: Iterable[str], texts: Iterable[str]) -> list[list[int]]:
        """Tokens read for each text, the beginning of what is longer than the context."""
        tokenizer, prompt, context = _tools(self.settings)
        ids = prompt.tokens(tokenizer, questions, texts)
        return [row[: min(ends_at(row, text), context)] for row, text in zip(ids, texts, strict=True)]


def states_of(settings: ReadingSettings, layers: tuple[int, ...]) -> StepStates:
    """The states that all in this process share, for as long as anybody has them; proposers add what they sample."""
    name = settings.reading, layers
    if name not in _SHARED:
        _SHARED[name] = found = StepStates(settings, layers)
        _WATCHING.add(found)
        return found
    return _SHARED[name]


def watchers(reading: Reading | None) -> list[StepStates]:
    """Those in this process that want the states of a model with a prompt."""
    return [] if reading is None else [one for one in _WATCHING if one.settings.reading == reading]


class _EnoughError(Exception):
    """All layers that are asked for have run."""


@torch.inference_mode()
def read_states(
    model: PreTrainedModel, rows: Sequence[Sequence[int]], layers: tuple[int, ...]
) -> Float[np.ndarray, "n w"]:
    """Hidden states after blocks `layers` at the last token of each row, one layer after another.

    A row that begins another one is read with it; blocks behind the last layer do not run.
    """
    plain = [tuple(row) for row in rows]
    order = sorted(range(len(plain)), key=plain.__getitem__)
    host = list(range(len(plain)))
    for row, following in zip(reversed(order[:-1]), reversed(order[1:]), strict=True):
        if plain[following][: len(plain[row])] == plain[row]:
            host[row] = host[following]
    guests: dict[int, list[int]] = {}
    for row, whole in enumerate(host):
        guests.setdefault(whole, []).append(row)
    states = np.zeros((len(plain), len(layers) * model.config.get_text_config().hidden_size), np.float32)
    for part in _passes({whole: len(plain[whole]) for whole in guests}):
        mine = [(at, row) for at, whole in enumerate(part) for row in guests[whole]]
        places = torch.tensor([(at, len(plain[row]) - 1) for at, row in mine], device=model.device).T
        found = _run(model, [plain[whole] for whole in part], layers, places)
        states[[row for _, row in mine]] = found.float().cpu().numpy()
    return states


def _passes(lengths: Mapping[int, int]) -> list[list[int]]:
    """Rows that are read together: of similar length, the longest first, at most `PADDED` tokens."""
    passes: list[list[int]] = []
    for row in sorted(lengths, key=lambda row: -lengths[row]):
        if not passes or (len(passes[-1]) + 1) * lengths[passes[-1][0]] > PADDED:
            passes.append([])
        passes[-1].append(row)
    return passes


def _run(
    model: PreTrainedModel, rows: list[tuple[int, ...]], layers: tuple[int, ...], places: Int[Tensor, "2 m"]
) -> Float[Tensor, "m w"]:
    """One pass; padding stands on the right, where nothing that is asked for has read it."""
    tokens = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.int64)
    for at, row in enumerate(rows):
        tokens[at, : len(row)] = torch.tensor(row)
    found: dict[int, Tensor] = {}

    def keep(layer: int) -> Any:
        def hook(block: nn.Module, inputs: Any, output: Any) -> None:
            found[layer] = (output[0] if isinstance(output, tuple) else output)[places[0], places[1]]
            if layer == max(layers):
                raise _EnoughError

        return hook

    blocks = blocks_of(model)
    hooks = [blocks[layer - 1].register_forward_hook(keep(layer)) for layer in layers]
    try:
        model.base_model(input_ids=tokens.to(model.device), use_cache=False)
    except _EnoughError:
        pass
    finally:
        for hook in hooks:
            hook.remove()
    return torch.cat([found[layer].to(places.device) for layer in layers], dim=1)


def blocks_of(model: PreTrainedModel) -> nn.ModuleList:
    """The blocks of a decoder, in order."""
    num = model.config.get_text_config().num_hidden_layers
    return next(m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == num)


@lru_cache(maxsize=1)
def _model(settings: ReadingSettings) -> PreTrainedModel:
    """Kept, because labels of several splits are read one after another."""
    return settings.load()


@lru_cache(maxsize=4)
def _tools(settings: ReadingSettings) -> tuple[Any, Any, int]:
    """Tokenizer, prompt, and the context of the model."""
    tokenizer, text = load_tokenizer(settings.model), skeleton(settings.model).config.get_text_config()
    context = getattr(text, "max_position_embeddings", None) or getattr(text, "n_positions", None) or 2**31
    return tokenizer, settings.full_prompt(tokenizer), int(context)
