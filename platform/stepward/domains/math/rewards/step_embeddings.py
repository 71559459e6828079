"""Steps as vectors: the mean hidden state of a frozen transformer over the tokens of one line.

A line is embedded by itself, whatever solution it stands in, so equal lines are embedded once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from stepward.core.weights import weights_digest
from stepward.domains.math.rewards.body import ROWS, build_body, context_of, tokenizer_of
from stepward.domains.math.rewards.weights import device_of_choice
from stepward.domains.math.states import text_hashes
from stepward.domains.math.vector_files import VectorFiles

__all__ = ["StepEmbedder", "embedder_of"]


class StepEmbedder:
    """Vectors of texts, with a cache keyed by the text's hash that drops the least recently used.

    Args:
        body: a transformer without head; it is not trained.
        tokenizer: of the same model.
        context: longest input in tokens; of longer texts the end is read.
        max_entries: vectors kept; 50,000 of 768 numbers are 154 MB.
        source: name of the model, under which vectors are kept in files, too; None: they are not.
    """

    def __init__(
        self,
        body: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        context: int,
        max_entries: int = 50_000,
        source: str | None = None,
    ) -> None:
        if max_entries < 1:
            raise ValueError(f"max_entries: expected at least 1, got {max_entries}")
        self.body, self.tokenizer, self.context = body.eval().requires_grad_(False), tokenizer, context
        self.max_entries = max_entries
        self.width: int = body.config.get_text_config().hidden_size
        total = sum(weight.numel() for weight in body.parameters())
        self.num_parameters = total - body.get_input_embeddings().weight.numel()
        self.texts_run = 0
        self._files = None if source is None else VectorFiles("lines", source, context)
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()

    def __call__(self, texts: Sequence[str]) -> Float[np.ndarray, "n c"]:
        """One vector a text; a text without tokens is the zero vector."""
        keys = text_hashes(texts).tolist()
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._kept}
        if self._files is None:
            self._kept.update(zip(new, self._embed(list(new.values())), strict=True))
        else:
            self._kept.update(self._files.completed(new, self._embed))
        rows = np.zeros((len(texts), self.width), np.float32)
        for i, key in enumerate(keys):
            rows[i] = self._kept[key]
            self._kept.move_to_end(key)
        while len(self._kept) > self.max_entries:
            self._kept.popitem(last=False)
        return rows

    def __len__(self) -> int:
        """Vectors kept now."""
        return len(self._kept)

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """Tokens of every text."""
        return [len(row) for row in self._tokens(texts)]

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        if not len(texts):
            return []
        rows: list[list[int]] = self.tokenizer(list(texts), truncation=True, max_length=self.context)["input_ids"]
        return rows

    @torch.inference_mode()
    def _embed(self, texts: list[str]) -> Float[np.ndarray, "n c"]:
        """Means over tokens, by passes of texts of similar length."""
        tokens, vectors = self._tokens(texts), np.zeros((len(texts), self.width), np.float32)
        order = sorted((i for i in range(len(texts)) if tokens[i]), key=lambda i: len(tokens[i]))
        for first in range(0, len(order), ROWS):
            rows = order[first : first + ROWS]
            length = torch.tensor([len(tokens[i]) for i in rows], device=self.body.device)
            width = int(length.max())
            ids = torch.tensor([tokens[i] + [0] * (width - len(tokens[i])) for i in rows], device=self.body.device)
            mask = torch.arange(width, device=self.body.device) < length[:, None]
            states = self.body(input_ids=ids, attention_mask=mask.long()).last_hidden_state
            vectors[rows] = ((states * mask[..., None]).sum(1) / length[:, None]).float().cpu().numpy()
        self.texts_run += len(texts)
        return vectors


@lru_cache(maxsize=2)
def embedder_of(base: str) -> StepEmbedder:
    """The embedder of a base, with its own weights and one cache a process."""
    body = build_body(base, pretrained=True).to(device_of_choice())
    source = weights_digest(base) or base
    return StepEmbedder(body, tokenizer_of(base), context=context_of(base), source=source)
