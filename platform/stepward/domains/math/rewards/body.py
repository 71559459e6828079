"""Transformer bodies of text reward models: a decoder or an encoder without its head, and one scorer on top of either.

Rows hold token ids, with `PADDING` on the right.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from stepward.domains.math.defaults import EMBEDDED
from stepward.domains.math.models import UNREADABLE, load_tokenizer, read_weights

__all__ = ["PADDING", "StepScorer", "build_body", "context_of", "tokenizer_of"]

PADDING = -1
ROWS = 128  # of a forward pass without gradients; more do not fit a cache and make none faster
LEARNED = 8  # of one with gradients on a CPU: texts of one length together, a fifth faster than all of a step at once
LONGEST = 2**20  # tokens, where neither a configuration nor a tokenizer sets a limit
Pool = Literal["last", "first"]


def build_body(base: str, *, pretrained: bool, dtype: str = "float32") -> PreTrainedModel:
    """A model without head, with its own weights or with fresh random ones.

    Args:
        base: "embedded", a folder as `save_pretrained` writes it, or a hub id; safetensors weights only.
        pretrained: whether to read the weights; the configuration is read in any case.
        dtype: precision of all weights.

    Raises:
        ValueError: there is no such model, its weights are pickled, or it is an encoder with a decoder.
    """
    transformers_logging.disable_progress_bar()
    with _folder(base) as source:
        try:
            if pretrained:
                body = read_weights(AutoModel, source, getattr(torch, dtype), new=("pooler.",))
            else:
                body = AutoModel.from_config(_config(base))
        except UNREADABLE as error:
            raise ValueError(
                f"base {base!r}: expected 'embedded', a folder with config.json and *.safetensors, or a hub id with "
                f"these (pickled weights are refused): {str(error).strip().splitlines()[0]}"
            ) from error
    if body.config.is_encoder_decoder:
        raise ValueError(
            f"base {base!r}: expected a decoder or an encoder, got {type(body).__name__}, which is both. Name another."
        )
    if getattr(body, "pooler", None) is not None:
        body.pooler = None  # weights that no score would depend on
    return body.to(getattr(torch, dtype))


@lru_cache(maxsize=4)
def tokenizer_of(base: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a base, read once a process; it cuts long texts on the left, where they are least about now."""
    tokenizer = load_tokenizer(base)
    tokenizer.truncation_side = "left"
    return tokenizer


@lru_cache(maxsize=4)
def context_of(base: str) -> int:
    """Tokens a body can read: the least of what its configuration and its tokenizer allow."""
    config = _config(base)
    limits = [getattr(config.get_text_config(), "max_position_embeddings", None), tokenizer_of(base).model_max_length]
    return min(int(limit) for limit in [*limits, LONGEST] if limit)


@dataclass(frozen=True)
class Rows:
    """n rows of tokens as a scorer reads them: d distinct ones, sorted, and who reads for whom.

    Attributes:
        distinct: the rows, each once.
        which: distinct row of each of the n.
        length: tokens of each distinct row.
        host: distinct row that begins with each, or itself: one pass over the hosts reads all.
    """

    distinct: Int[Tensor, "d t"]
    which: Int[Tensor, " n"]
    length: Int[Tensor, " d"]
    host: Int[Tensor, " d"]


class StepScorer(nn.Module):
    """Body and head (linear, SiLU, linear): one logit a row of tokens.

    A causal body reads rows that are beginnings of one another in one pass: a whole solution gives the logits of all
    its steps that stand in the same batch. A bidirectional body takes a pass a row.

    Args:
        body: what `build_body` makes.
        head_width: units between the two layers of the head; none: as many as the body has.
        pool: hidden state the head reads, of the last token of a row or of the first ([CLS]).
        head: another head, from hidden states [n, c] to [n, 1]; none: a fresh one.

    Raises:
        ValueError: the first token of a causal body, which has seen nothing of the rest.
    """

    def __init__(
        self, body: PreTrainedModel, *, head_width: int | None, pool: Pool, head: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.body, self.pool, self.causal = body, pool, is_causal(body)
        if self.causal and pool == "first":
            raise ValueError(
                f"pool='first': expected an encoder, got {type(body).__name__}, which is causal: its first token has "
                "read nothing else. Take pool='last'."
            )
        size = body.config.get_text_config().hidden_size
        self.head = head or nn.Sequential(
            nn.Linear(size, head_width or size), nn.SiLU(), nn.Linear(head_width or size, 1)
        )  # indices name the weights: head.0, head.2
        self.frozen = {f"body.{name}" for name, weight in body.named_parameters() if not weight.requires_grad}
        self.register_state_dict_post_hook(_without_frozen)
        self.register_load_state_dict_post_hook(_frozen_are_there)

    @property
    def num_parameters(self) -> int:
        """Weights of a forward pass: input embeddings are looked up, not multiplied."""
        total = sum(weight.numel() for weight in self.parameters())
        return total - self.body.get_input_embeddings().weight.numel()

    def forward(self, tokens: Int[Tensor, "n t"]) -> Float[Tensor, " n"]:
        """Logits of rows; a row of nothing but padding has logit 0 and no gradient."""
        rows = self.rows(tokens)
        return self.logits_at(self.read(rows)[0], rows)

    def rows(self, tokens: Int[Tensor, "n t"]) -> Rows:
        """What there is to read of rows of tokens, padded on the right."""
        distinct, which = torch.unique(tokens, dim=0, return_inverse=True)
        host = _hosts(distinct) if self.causal else torch.arange(len(distinct), device=tokens.device)
        return Rows(distinct, which, (distinct != PADDING).sum(1), host)

    def logits_at(self, hidden: Float[Tensor, "d c"], rows: Rows) -> Float[Tensor, " n"]:
        """Logits of all rows from hidden states of the distinct ones."""
        logits = self.logits_of(hidden)
        return torch.where(rows.length > 0, logits, logits.new_zeros(()))[rows.which]

    def logits_of(self, hidden: Float[Tensor, "n c"]) -> Float[Tensor, " n"]:
        """Logits from hidden states at step ends, however they were computed."""
        return self.head(hidden.float())[:, 0]

    def read(self, rows: Rows) -> tuple[Float[Tensor, "d c"], list[tuple[Tensor, Tensor]]]:
        """Hidden states that the head reads, from passes over the hosts, which are sorted by length.

        Returns:
            the hidden states, and in training what each pass read: distinct rows [h], and their states [h, t, c].
        """
        length = rows.length
        passes, place = rows.host.unique(return_inverse=True)
        order = length[passes].argsort(stable=True)
        rank = order.argsort()[place]  # where each row's host stands among the passes
        size = (LEARNED if length.device.type == "cpu" else max(len(order), 1)) if torch.is_grad_enabled() else ROWS
        found, whose, reads = [], [], []
        for first in range(0, len(order), size):
            part = passes[order[first : first + size]]
            states = self._pass(rows.distinct[part, : max(int(length[part].max()), 1)])
            if self.training:
                reads.append((part, states))
            mine = ((rank >= first) & (rank < first + size)).nonzero()[:, 0]
            at = (length[mine] - 1).clamp(min=0) if self.pool == "last" else torch.zeros_like(mine)
            found.append(states[rank[mine] - first, at])
            whose.append(mine)
        return torch.cat(found)[torch.cat(whose).argsort()], reads

    def _pass(self, rows: Int[Tensor, "d t"]) -> Float[Tensor, "d t c"]:
        """A causal body has not read the padding when a row ends, so only encoders need a mask; it is nowhere empty."""
        mask = None if self.causal else (rows != PADDING).long().index_fill(1, rows.new_zeros(1).long(), 1)
        extra = {"use_cache": False} if self.causal else {}
        states: Tensor = self.body(input_ids=rows.clamp(min=0).long(), attention_mask=mask, **extra).last_hidden_state
        return states


def _without_frozen(module: Any, weights: dict[str, Tensor], prefix: str, metadata: object) -> None:
    """What is not trained is the base's, and no part of what is kept."""
    for name in module.frozen:
        weights.pop(prefix + name)


def _frozen_are_there(module: Any, keys: Any) -> None:
    keys.missing_keys[:] = [name for name in keys.missing_keys if name not in module.frozen]


@torch.no_grad()
def is_causal(body: PreTrainedModel) -> bool:
    """Whether the hidden state of a token is the same whatever follows; found by trying."""
    was_training = body.training
    tokens = torch.tensor([[3, 1, 2], [3, 2, 1]], device=body.device) % body.config.get_text_config().vocab_size
    states = body.eval()(input_ids=tokens).last_hidden_state
    body.train(was_training)
    return bool(torch.allclose(states[0, 0], states[1, 0], atol=1e-6, rtol=1e-5))


def _hosts(rows: Int[Tensor, "d t"]) -> Int[Tensor, " d"]:
    """For each of the sorted distinct rows, a row that begins with it and is no beginning of another.

    Padding is less than every token, so a row stands right before all rows that begin with it: only neighbours need to
    be compared, and the host is the next row that is not a beginning of its successor.
    """
    begins: Bool[Tensor, " _"] = ((rows[:-1] == rows[1:]) | (rows[:-1] == PADDING)).all(1)
    index = torch.arange(len(rows), device=rows.device)
    alone = torch.cat([~begins, begins.new_ones(min(len(rows), 1))])
    return torch.where(alone, index, len(rows)).flip(0).cummin(0).values.flip(0)


@contextmanager
def _folder(base: str) -> Iterator[str]:
    with as_file(files("stepward.domains.math") / "embedded") as embedded:
        yield str(embedded) if base == EMBEDDED else base


def _config(base: str) -> PreTrainedConfig:
    with _folder(base) as source:
        try:
            return AutoConfig.from_pretrained(source, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"base {base!r}: expected 'embedded', a folder with a config.json, or a hub id: "
                f"{str(error).strip().splitlines()[0]}"
            ) from error
