"""The continuation engine: P prefixes, M continuations each, one call."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Int64, UInt64
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from stepward.domains.math.engine.cache import KVStore
from stepward.domains.math.engine.config import Continuations, EngineStats, SamplingConfig
from stepward.domains.math.engine.fused_llama import FusedLlama, fits_fused
from stepward.domains.math.engine.generic import sample_prefix_by_prefix
from stepward.domains.math.engine.ledger import Ledger
from stepward.domains.math.engine.prefixes import group_nested
from stepward.domains.math.engine.sampler import PackedSampler
from stepward.domains.math.engine.shared_hf import SharedDecoder, supports_shared
from stepward.domains.math.engine.stopping import StopRule, declared_eos
from stepward.domains.math.engine.streams import Uniforms, splitmix_uniforms
from stepward.domains.math.engine.texts import TokenTexts

__all__ = ["Backend", "ContinuationEngine"]

Backend = Literal["auto", "fused", "shared", "generic"]


class ContinuationEngine:
    """Samples continuations of token prefixes from a causal LM.

    What a continuation says depends on its key, its prefix and the weights. The draws are reproducible to the bit; the
    logits are not quite: a matrix product may round its last bits differently when the number of rows or the padded
    length around it changes. The engine keeps the consequences small: float32 softmax, cumulative sums in double
    precision, one uniform a token taken by (key, position). In float32 a token changes with probability about 1e-6
    between two batchings, in bfloat16 about 1e-2: identical batches give identical text, and where byte-identical
    text matters under other batchings, use float32 and fixed blocks of prefixes.

    Args:
        model: any `AutoModelForCausalLM`, put in eval mode (dropout off) and moved to `device` and `dtype` where given.
        tokenizer: needed only by stop rules on text. It may lack a pad token.
        rows: rows to keep busy. **Good values**: 128 for the embedded model on a CPU core, 256-1024 on a GPU.
        backend: `fused` for Llama and Qwen2 on one hand-written forward pass, `shared` for any model of the
            attention interface, `generic` for the rest; `auto` takes the first that fits.
        device: where to run; the model's own by default.
        dtype: precision of weights and cache; the model's own by default. On CPUs float32 is fastest.

    Raises:
        ValueError: a backend which does not fit the model.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        tokenizer: PreTrainedTokenizerBase | None = None,
        rows: int = 128,
        backend: Backend = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if rows < 1:
            raise ValueError(f"expected rows >= 1, got {rows}")
        self.model = model.eval()
        if device is not None or dtype is not None:
            self.model = self.model.to(device=device or model.device, dtype=dtype or model.dtype)
        self.rows = rows
        self.tokenizer = tokenizer
        self.vocab_size = model.get_output_embeddings().weight.shape[0]
        text = model.config.get_text_config()
        limit = getattr(text, "max_position_embeddings", None) or getattr(text, "n_positions", None)
        self.max_positions = 2**31 if limit is None else int(limit)
        self.texts = TokenTexts(tokenizer, self.vocab_size) if tokenizer is not None else None
        self.backend = self._choose(backend)
        self.decoder: Any = {"fused": FusedLlama, "shared": SharedDecoder}.get(self.backend, lambda _: None)(self.model)

    def _choose(self, wanted: Backend) -> Backend:
        """The backend to use, or a ValueError which says what would fit."""
        if wanted not in ("auto", "fused", "shared", "generic"):
            raise ValueError(f"expected backend auto, fused, shared or generic, got {wanted!r}")
        if wanted in ("auto", "fused") and fits_fused(self.model):
            return "fused"
        if wanted in ("auto", "shared") and supports_shared(self.model, context=self.max_positions):
            return "shared"
        if wanted in ("auto", "generic"):
            return "generic"
        raise ValueError(f"backend {wanted!r} does not fit {type(self.model).__name__}; use backend='auto'")

    def eos_token_ids(self) -> tuple[int, ...]:
        """End-of-sequence tokens according to the model, or else to the tokenizer."""
        return declared_eos(self.model, self.tokenizer, self.vocab_size)

    def sample(
        self,
        prefixes: Sequence[Sequence[int]],
        counts: Int64[np.ndarray, " p"],
        *,
        keys: UInt64[np.ndarray, " n"],
        config: SamplingConfig,
        uniforms: Uniforms = splitmix_uniforms,
        common: Sequence[int] = (),
    ) -> Continuations:
        """Sample `counts[i]` continuations of prefix i.

        A prefix as long as the context or longer gives empty continuations with reason `CONTEXT`.

        Args:
            prefixes: token ids, at least one each.
            counts: continuations a prefix; n is their sum.
            keys: the stream of each continuation, prefix-major (`sequence_keys` makes some).
            config: how to draw and when to stop.
            uniforms: the generator behind the streams.
            common: what many prefixes begin with, examples for instance: read once, kept until another call names
                others, and attended to by all rows at once. It costs time where few prefixes begin with it, and changes
                what is said no more than another batching would. The generic backend reads it once a call.

        Raises:
            ValueError: an empty prefix, a token outside the vocabulary, counts or keys of the wrong length.
        """
        plain = [[int(token) for token in prefix] for prefix in prefixes]
        self._check(plain, counts, keys, config)
        eos = self.eos_token_ids() if config.eos_token_ids is None else config.eos_token_ids
        stop = StopRule(
            config,
            eos_token_ids=eos,
            vocab_size=self.vocab_size,
            max_positions=self.max_positions,
            texts=self.texts,
        )
        prefix = np.repeat(np.arange(len(plain)), counts)
        lengths = np.array([len(tokens) for tokens in plain], dtype=np.int64)
        ledger = Ledger(
            prefix=prefix, prefix_lengths=lengths[prefix], keys=keys, uniforms=uniforms, config=config, stop=stop
        )
        stats = self._run(plain, counts, lengths < self.max_positions, ledger, tuple(int(t) for t in common))
        asked = int(lengths[(counts > 0) & (lengths < self.max_positions)].sum())
        return ledger.close(dataclasses.replace(stats, prefix_tokens=asked))

    def _run(
        self,
        prefixes: list[list[int]],
        counts: Int64[np.ndarray, " p"],
        usable: Bool[np.ndarray, " p"],
        ledger: Ledger,
        common: tuple[int, ...],
    ) -> EngineStats:
        begins = np.array([len(p) > len(common) > 0 and tuple(p[: len(common)]) == common for p in prefixes], bool)
        if self.decoder is None:
            shared = common if begins[counts > 0].sum() > 1 else ()
            return sample_prefix_by_prefix(self.model, prefixes, ledger, max_rows=self.rows, common=shared)
        sampler = PackedSampler(self.decoder, self._store, ledger, target_rows=self.rows)
        for trunk, mine in ((common, begins), ((), ~begins)):
            sampler.run(group_nested(prefixes, counts, usable=usable & mine, max_sequences=self.rows), trunk)
        return sampler.stats()

    @functools.cached_property
    def _store(self) -> KVStore:
        """Kept between calls. It grows where rows branch more than was expected."""
        return KVStore(
            self.decoder.shape,
            families=self.rows,
            rows=2 * self.rows,
            device=self.model.device,
            dtype=self.model.dtype,
        )

    def _check(self, prefixes: list[list[int]], counts: np.ndarray, keys: np.ndarray, config: SamplingConfig) -> None:
        blocks = self.model.config.get_text_config().num_hidden_layers
        if max(config.state_layers, default=0) >= blocks:
            raise ValueError(f"expected state_layers in 1..{blocks - 1}, got {config.state_layers}")
        if len(counts) != len(prefixes) or (len(counts) and counts.min() < 0):
            raise ValueError(f"expected {len(prefixes)} counts >= 0, one a prefix, got {counts}")
        if len(keys) != counts.sum():
            raise ValueError(f"expected {counts.sum()} keys, one a continuation, got {len(keys)}")
        for i, prefix in enumerate(prefixes):
            if not prefix:
                raise ValueError(f"expected at least one token a prefix, got none in prefix {i}; begin with BOS or EOS")
            if min(prefix) < 0 or max(prefix) >= self.vocab_size:
                raise ValueError(f"expected tokens in 0..{self.vocab_size - 1}, got others in prefix {i}")
