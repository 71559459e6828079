"""vLLM below the proposer, by a stand-in with the call signatures of the real package, which needs a GPU.

The stand-in generates with transformers. It checks what the real one would refuse.
"""

import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from stepward.core.seeding import Rng
from stepward.domains.math import LanguageModelSettings, MathDomain
from stepward.domains.math.engine import ContinuationEngine, FinishReason, SamplingConfig, VLLMEngine, sequence_keys
from stepward.domains.math.states import roots
from stepward.testing import check_proposer
from unit.math.small_models import CONTEXT, small_model, small_tokenizer


@dataclass
class Logprob:
    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


@dataclass
class CompletionOutput:
    index: int
    text: str
    token_ids: list[int]
    cumulative_logprob: float | None
    logprobs: list[dict[int, Logprob]] | None
    finish_reason: str | None = None
    stop_reason: int | str | None = None


@dataclass
class RequestOutput:
    request_id: str
    prompt: str | None
    prompt_token_ids: list[int]
    prompt_logprobs: None
    outputs: list[CompletionOutput]
    finished: bool


@dataclass(kw_only=True)
class SamplingParams:
    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool = False
    max_tokens: int | None = 16
    logprobs: int | None = None
    include_stop_str_in_output: bool = False

    def __post_init__(self) -> None:
        if self.temperature == 0 and self.n > 1:
            raise ValueError(f"n must be 1 when using greedy sampling, got {self.n}.")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, got {self.max_tokens}.")


class LLM:
    def __init__(
        self, model: str, *, tokenizer: str | None = None, trust_remote_code: bool = False, dtype: str = "auto",
        seed: int | None = None, gpu_memory_utilization: float = 0.9, load_format: str = "auto", **kwargs: Any,
    ) -> None:  # fmt: skip
        assert load_format == "safetensors" and not trust_remote_code
        assert set(kwargs) == {"enable_prefix_caching"}
        self.model = AutoModelForCausalLM.from_pretrained(model, use_safetensors=True).eval()
        self.tokenizer = small_tokenizer()

    def generate(
        self, prompts: Any, sampling_params: Any = None, *, use_tqdm: bool = True, lora_request: Any = None,
        priority: list[int] | None = None,
    ) -> list[RequestOutput]:  # fmt: skip
        pairs = zip(prompts, sampling_params, strict=True)
        return [self._answer(i, prompt["prompt_token_ids"], params) for i, (prompt, params) in enumerate(pairs)]

    def _answer(self, number: int, prompt: list[int], params: SamplingParams) -> RequestOutput:
        outputs = [self._say(index, prompt, params) for index in range(params.n)]
        return RequestOutput(str(number), None, prompt, None, outputs[::-1], True)  # as they come, not by index

    @torch.inference_mode()
    def _say(self, index: int, prompt: list[int], params: SamplingParams) -> CompletionOutput:
        assert params.seed is not None and params.logprobs == 0 and len(prompt) < CONTEXT
        generator = torch.Generator().manual_seed(params.seed + index)
        said, places, reason = [], [], "length"
        for _ in range(params.max_tokens or 0):
            logits = self.model(torch.tensor([prompt + said])).logits[0, -1].double()
            if params.temperature:
                token = int(torch.multinomial(torch.softmax(logits / params.temperature, -1), 1, generator=generator))
            else:
                token = int(logits.argmax())
            said.append(token)
            places.append({token: Logprob(float(logits.log_softmax(-1)[token]))})
            text = self.tokenizer.decode(said)
            if token in (params.stop_token_ids or []) or any(stop in text for stop in params.stop or []):
                reason = "stop"
                break
        return CompletionOutput(index, self.tokenizer.decode(said), said, None, places, reason)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    small_model().save_pretrained(tmp_path)
    small_tokenizer().save_pretrained(tmp_path)
    module = types.ModuleType("vllm")
    module.LLM, module.SamplingParams = LLM, SamplingParams  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", module)
    return tmp_path


def sample(engine: Any, prefixes: list[list[int]], counts: list[int], **config: Any) -> Any:
    keys = sequence_keys(0, sum(counts))
    return engine.sample(prefixes, np.array(counts), keys=keys, config=SamplingConfig(**config))


def test_greedy_continuations_are_those_of_the_own_engine(folder: Path) -> None:
    tokenizer, prefixes, counts = (
        small_tokenizer(),
        [[1, 5, 3, 6], [2, 6], [1] * (CONTEXT - 2), [1] * CONTEXT],
        [2, 1, 1, 2],
    )
    ours = ContinuationEngine(small_model(), tokenizer=tokenizer)
    theirs = VLLMEngine(str(folder), tokenizer=tokenizer, dtype="float32")
    rules: list[dict[str, Any]] = [{}, {"stop_text": lambda row, text: True, "stop_texts": ("\n",)}]
    rules.append({"stop_text": lambda row, text: "a" in text})
    for rule in [*rules, {"eos_token_ids": ()}]:
        options: dict[str, Any] = {"temperature": 0, "max_new_tokens": 12, **rule}
        expected, got = (sample(engine, prefixes, counts, **options) for engine in (ours, theirs))
        assert got.token_lists() == expected.token_lists()
        np.testing.assert_array_equal(got.reasons, expected.reasons)
        np.testing.assert_array_equal(got.prefix, expected.prefix)
        np.testing.assert_allclose(got.log_probs, expected.log_probs, atol=1e-4)
        assert got.stats.generated_tokens == got.lengths.sum()


def test_all_outputs_of_a_request_are_kept_apart(folder: Path) -> None:
    """Every prefix gets as many continuations as it asked for, each from its own seed, in the order of their index."""
    engine = VLLMEngine(str(folder), tokenizer=small_tokenizer(), dtype="float32")
    prefixes, counts = [[1, 6], [2, 6], [3, 6]], [30, 0, 12]
    result = sample(engine, prefixes, counts, temperature=1.0, max_new_tokens=6, eos_token_ids=())
    assert result.prefix.tolist() == [0] * 30 + [2] * 12
    assert (result.lengths == 6).all() and (result.reasons == FinishReason.LENGTH).all()
    assert len({tuple(tokens) for tokens in result.token_lists()[:30]}) > 20
    again = sample(engine, prefixes, counts, temperature=1.0, max_new_tokens=6, eos_token_ids=())
    assert again.token_lists() == result.token_lists()
    llm, key = LLM(str(folder), load_format="safetensors", enable_prefix_caching=True), int(sequence_keys(0, 1)[0])
    params = SamplingParams(seed=key % 2**31 + 7, max_tokens=6, logprobs=0)
    assert llm._say(0, [1, 6], params).token_ids == result.token_lists()[7]


def test_it_serves_below_the_proposer(folder: Path) -> None:
    settings = LanguageModelSettings(
        model=str(folder), engine="vllm", max_steps=4, max_step_tokens=5, temperatures=(1.0,)
    )
    proposer = settings.build()
    own = LanguageModelSettings(model=str(folder), max_steps=4, max_step_tokens=5).build()
    assert proposer.num_parameters == own.num_parameters
    questions = np.array(["a+1", "b", "1+2"], object)
    states = roots(questions, questions)
    check_proposer(proposer, MathDomain(), states, num_candidates=2)
    ends = proposer.complete(states, num_continuations=3, rng=Rng.from_seed(0, 3, "test"))
    assert len(ends) == 9 and "" not in ends.ended()


def test_without_the_package_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ValueError, match=r"pip install 'stepward\[vllm\]'"):
        VLLMEngine(str(tmp_path), tokenizer=small_tokenizer())


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"memory": 0.5}, "no effect"), ({"engine": "vllm"}, "embedded one takes engine=own")],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LanguageModelSettings(**settings)
