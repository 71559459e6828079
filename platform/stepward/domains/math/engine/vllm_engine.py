"""Continuations from vLLM, for models and GPUs where its kernels are worth an installation of their own.

It takes the place of `ContinuationEngine` below a proposer. All n outputs of a request are kept, in their order; the
stop rules are applied again to what comes back, so that texts end where they would have ended in the other engine. vLLM
draws its own random numbers: seeds are taken from the keys, but equal text is not promised from one batch to another.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt64
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerBase

from stepward.domains.math.engine.config import Continuations, EngineStats, FinishReason, SamplingConfig
from stepward.domains.math.engine.stopping import StopRule, declared_eos
from stepward.domains.math.engine.texts import TokenTexts

__all__ = ["VLLMEngine"]

SEEDS = 2**31  # vLLM adds the number of the output to a seed


class VLLMEngine:
    """Samples continuations of token prefixes by ``vllm.LLM``.

    Args:
        source: a folder with safetensors weights, or a hub id.
        tokenizer: the model's own.
        dtype: precision of weights and cache.
        memory: share of the GPU's memory that vLLM may take.

    Raises:
        ValueError: vLLM is not installed.
    """

    backend = "vllm"

    def __init__(
        self, source: str, *, tokenizer: PreTrainedTokenizerBase, dtype: str = "bfloat16", memory: float = 0.9
    ) -> None:
        self._vllm = import_vllm()
        with torch.device("meta"):  # sizes without weights: parameters, vocabulary, context
            config = AutoConfig.from_pretrained(source, trust_remote_code=False)
            self.model = AutoModelForCausalLM.from_config(config)
        self.tokenizer = tokenizer
        self.vocab_size = int(self.model.get_output_embeddings().weight.shape[0])
        self.max_positions = int(getattr(config.get_text_config(), "max_position_embeddings", None) or 2**31)
        self.texts = TokenTexts(tokenizer, self.vocab_size)
        self._llm = self._vllm.LLM(
            model=source,
            dtype=dtype,
            trust_remote_code=False,
            load_format="safetensors",
            gpu_memory_utilization=memory,
            enable_prefix_caching=True,
        )

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
        common: Sequence[int] = (),
    ) -> Continuations:
        """Sample `counts[i]` continuations of prefix i; see `ContinuationEngine.sample`.

        vLLM finds by itself what is `common`.
        """
        start = time.perf_counter()
        if config.state_layers:
            raise ValueError("engine='vllm' gives no hidden states: take engine='own', or leave state_layers out")
        if len(keys) != int(counts.sum()):
            raise ValueError(f"expected {int(counts.sum())} keys, one a continuation, got {len(keys)}")
        lengths = np.array([len(prefix) for prefix in prefixes], dtype=np.int64)
        asked = np.flatnonzero((counts > 0) & (lengths < self.max_positions))
        first = np.cumsum(counts) - counts
        requests = [{"prompt_token_ids": [int(token) for token in prefixes[int(i)]]} for i in asked]
        parameters = [self._parameters(config, int(counts[i]), int(keys[first[i]]), int(lengths[i])) for i in asked]
        answers = self._llm.generate(requests, parameters, use_tqdm=False) if len(asked) else []
        outputs: dict[int, Any] = {}
        for i, answer in zip(asked, answers, strict=True):
            several = sorted(answer.outputs, key=lambda output: output.index)
            if len(several) == 1:  # greedy: all of them say the same
                several = several * int(counts[i])
            if len(several) != counts[i]:
                raise ValueError(f"vLLM: expected {counts[i]} outputs of a request, got {len(several)}")
            outputs |= {int(first[i]) + at: output for at, output in enumerate(several)}
        prefix = np.repeat(np.arange(len(prefixes)), counts)
        return self._collect(outputs, prefix, lengths[prefix], config, start, int(lengths[asked].sum()))

    def _parameters(self, config: SamplingConfig, num: int, key: int, prefix_length: int) -> object:
        return self._vllm.SamplingParams(
            n=num if config.temperature > 0 else 1,
            temperature=config.temperature,
            top_p=config.top_p,
            seed=key % SEEDS,
            max_tokens=min(config.max_new_tokens, self.max_positions - prefix_length),
            stop=list(config.stop_texts) or None,
            include_stop_str_in_output=True,
            stop_token_ids=list(self._eos(config)),
            ignore_eos=config.eos_token_ids is not None,  # then those of the model itself do not count
            logprobs=0,
        )

    def _eos(self, config: SamplingConfig) -> tuple[int, ...]:
        return self.eos_token_ids() if config.eos_token_ids is None else config.eos_token_ids

    def _collect(
        self,
        outputs: dict[int, Any],
        prefix: Int64[np.ndarray, " n"],
        prefix_lengths: Int64[np.ndarray, " n"],
        config: SamplingConfig,
        start: float,
        prompted: int,
    ) -> Continuations:
        """Tokens, likelihoods and reasons of all outputs, cut where the stop rules end them."""
        width = max((len(output.token_ids) for output in outputs.values()), default=0)
        tokens = np.full((len(prefix), width), -1, dtype=np.int32)
        log_probs = np.zeros((len(prefix), width), dtype=np.float32)
        made = np.zeros(len(prefix), dtype=np.int64)
        for row, output in outputs.items():
            made[row] = num = len(output.token_ids)
            tokens[row, :num] = output.token_ids
            log_probs[row, :num] = [
                place[token].logprob for token, place in zip(output.token_ids, output.logprobs, strict=True)
            ]
        lengths, reasons = self._cut(tokens, made, prefix_lengths, config)
        kept = np.arange(width) < lengths[:, None]
        stats = EngineStats(
            generated_tokens=int(lengths.sum()),
            decoded_tokens=int(made.sum()),
            prefill_tokens=prompted,
            prefix_tokens=prompted,
            steps=0,
            occupancy=0.0,
            seconds=time.perf_counter() - start,
        )
        tokens, log_probs = np.where(kept, tokens, -1), np.where(kept, log_probs, np.float32(0.0))
        return Continuations(prefix, tokens, log_probs, lengths, reasons, stats)

    def _cut(
        self,
        tokens: np.ndarray,
        made: Int64[np.ndarray, " n"],
        prefix_lengths: Int64[np.ndarray, " n"],
        config: SamplingConfig,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Length and reason of every output, as if the rules had been asked after each token."""
        stop = StopRule(
            config,
            eos_token_ids=self._eos(config),
            vocab_size=self.vocab_size,
            max_positions=self.max_positions,
            texts=self.texts,
        )
        lengths, reasons = made.copy(), np.full(len(made), FinishReason.RUNNING, dtype=np.int8)
        reasons[prefix_lengths >= self.max_positions] = FinishReason.CONTEXT
        for length in range(1, tokens.shape[1] + 1):
            rows = np.flatnonzero((reasons == FinishReason.RUNNING) & (made >= length))
            if len(rows):
                reasons[rows] = stop(rows, prefix_lengths[rows], tokens[rows], np.full(len(rows), length))
                over = rows[reasons[rows] != FinishReason.RUNNING]
                lengths[over] = length
        left = np.flatnonzero(
            reasons == FinishReason.RUNNING
        )  # they ended: by a stop text, or a token that is left out
        stopped = self.texts.newlines[tokens[left, made[left] - 1]] & bool(config.stop_texts)
        reasons[left] = np.where(stopped, FinishReason.STOP, FinishReason.EOS)
        return lengths, reasons


def import_vllm() -> Any:
    """The package, or an error that says how to get it."""
    try:
        return importlib.import_module("vllm")
    except ImportError as error:
        raise ValueError(
            f"engine='vllm': expected the package vllm, which is not installed here ({error}). Install it on a machine "
            "with a GPU (pip install 'stepward[vllm]'), or take engine='own'."
        ) from error
