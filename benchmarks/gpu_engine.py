"""Tokens a second of the continuation engine on a GPU, against `generate`, and against the memory's bandwidth.

    python benchmarks/gpu_engine.py                              # models of the shape of Qwen2.5 0.5B and 7B, bf16
    python benchmarks/gpu_engine.py --shapes tiny --device cpu   # tries everything in seconds, without a GPU

Weights are random: nothing is downloaded, and speed does not depend on what they say. The task is that of labelling
with a long prompt: P prefixes of `--shared` equal tokens (shots, system text) and `--own` tokens each, M continuations
of a prefix, T new tokens each, no end of text. Continuations of random weights share nothing after their first token.

    engine        every continuation of every prefix in one call
    generate      num_return_sequences = M, a prefix a call (`--calls` of them), as it is mostly used
    batched       `generate` on the whole batch at once: all prefixes have one length, so nothing is padded

A step must at least read the weights, and the keys and values of every text: that many bytes over the measured
bandwidth of a copy is the limit that shares are of. Steering: a linear head on the hidden state of every token, taken
while sampling, against a second pass of the same model over the finished texts, whole, and over the new tokens alone
(what a reward model with a cache of its own would read).
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from stepward.domains.math.engine import ContinuationEngine, SamplingConfig, sequence_keys
from stepward.domains.math.engine.fused_llama import FusedLlama

SHAPES: dict[str, dict[str, int]] = {
    "tiny": dict(hidden_size=64, intermediate_size=160, num_hidden_layers=2, num_attention_heads=4,
                 num_key_value_heads=2, vocab_size=512),
    "0.5B": dict(hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14,
                 num_key_value_heads=2, vocab_size=151_936),
    "7B": dict(hidden_size=3584, intermediate_size=18_944, num_hidden_layers=28, num_attention_heads=28,
               num_key_value_heads=4, vocab_size=152_064),
}  # fmt: skip


class Probed(FusedLlama):
    """The engine's decoder with a linear head on the hidden state of every token that is decoded."""

    probe: torch.Tensor
    scores: list[torch.Tensor]

    def _forward(self, *arguments: Any) -> torch.Tensor:
        hidden = super()._forward(*arguments)
        self.scores.append(hidden @ self.probe)
        return hidden


def model_of(shape: str, device: str, dtype: torch.dtype) -> Qwen2ForCausalLM:
    """Random weights; embeddings are tied in the small shapes, as in the originals."""
    torch.manual_seed(0)
    config = Qwen2Config(
        **SHAPES[shape], max_position_embeddings=4096, tie_word_embeddings=shape != "7B", bos_token_id=None,
        eos_token_id=None,
    )  # fmt: skip
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            return Qwen2ForCausalLM(config).eval()
    finally:
        torch.set_default_dtype(before)


def prefixes_of(options: argparse.Namespace, vocabulary: int) -> list[list[int]]:
    """P prefixes that begin alike."""
    rng = np.random.default_rng(0)
    shared = rng.integers(10, vocabulary, options.shared).tolist()
    return [shared + rng.integers(10, vocabulary, options.own).tolist() for _ in range(options.prefixes)]


def seconds(work: Callable[[], object], device: str) -> float:
    """Wall seconds, the device's work included."""
    wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    wait()
    start = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - start


def bandwidth(device: str) -> float:
    """Bytes a second that a copy moves, read and written; the best of five."""
    block = torch.empty(2**30 if device == "cuda" else 2**26, dtype=torch.int8, device=device)
    other = torch.empty_like(block)
    other.copy_(block)
    return 2 * len(block) / min(seconds(lambda: other.copy_(block), device) for _ in range(5))


def bytes_read(shape: str, options: argparse.Namespace, weights: int, rows: int) -> float:
    """Bytes that T steps read at least: the weights a step, a prefix's cache once, and each row's own cache."""
    sizes = SHAPES[shape]
    head = sizes["hidden_size"] // sizes["num_attention_heads"]
    a_token = 2 * 2 * sizes["num_hidden_layers"] * sizes["num_key_value_heads"] * head
    steps, prefix = options.new_tokens, options.shared + options.own
    own = rows * a_token * steps * (steps + 1) / 2
    return weights * steps + options.prefixes * prefix * a_token * steps + own


def measure(shape: str, options: argparse.Namespace, device: str, speed: float) -> dict[str, Any]:
    """All figures of one shape."""
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    model = model_of(shape, device, dtype)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    prefixes, times, tokens = (
        prefixes_of(options, SHAPES[shape]["vocab_size"]),
        options.continuations,
        options.new_tokens,
    )
    counts, rows = np.full(len(prefixes), times), len(prefixes) * times
    config = SamplingConfig(temperature=0.8, max_new_tokens=tokens, eos_token_ids=())
    keys = sequence_keys(0, rows)
    engine = ContinuationEngine(model, rows=rows, backend="fused")
    sampled: list[Any] = []

    def sample() -> None:
        sampled[:] = [engine.sample(prefixes, counts, keys=keys, config=config)]

    common: dict[str, Any] = dict(
        do_sample=True,
        temperature=0.8,
        top_k=0,
        top_p=1.0,
        max_new_tokens=tokens,
        min_new_tokens=tokens,
        pad_token_id=0,
    )

    def generate(batch: list[list[int]]) -> None:
        text = torch.tensor(batch, device=device)
        model.generate(text, attention_mask=torch.ones_like(text), num_return_sequences=times, **common)

    def read(texts: torch.Tensor, size: int) -> None:
        for first in range(0, len(texts), size):
            model.model(input_ids=texts[first : first + size], use_cache=False)

    found: dict[str, Any] = {"shape": shape, "weights_bytes": weights, "rows": rows}
    with torch.inference_mode():
        sample()  # the first call allocates the cache
        plain = [seconds(sample, device) for _ in range(options.repeats)]
        decoder = engine.decoder
        engine.decoder = Probed(model)
        engine.decoder.probe = torch.randn(SHAPES[shape]["hidden_size"], 1, device=device, dtype=dtype)
        engine.decoder.scores = []
        probed = [seconds(sample, device) for _ in range(options.repeats)]
        engine.decoder = decoder
        new = torch.from_numpy(sampled[0].tokens.astype(np.int64)).to(device)
        whole = torch.cat([torch.tensor(prefixes, device=device).repeat_interleave(times, 0), new], dim=1)
        size = max(1, 2**15 // whole.shape[1])
        again = seconds(lambda: read(whole, size), device)
        cached = seconds(lambda: read(new, max(1, 2**15 // tokens)), device)
        del engine, decoder
        if device == "cuda":
            torch.cuda.empty_cache()
        calls = prefixes[: options.calls]
        generate(calls[:1])
        apart = seconds(lambda: [generate([one]) for one in calls], device) * len(prefixes) / len(calls)
        together = seconds(lambda: generate(prefixes), device)
    total, ours = rows * tokens, float(np.median(plain))
    found |= {
        "engine_tokens_s": total / ours,
        "generate_tokens_s": total / apart,
        "batched_tokens_s": total / together,
        "over_generate": apart / ours,
        "over_batched": together / ours,
        "share_of_bandwidth_limit": bytes_read(shape, options, weights, rows) / speed / ours,
        "steering": {
            "sampling_s": ours,
            "with_hidden_head_s": float(np.median(probed)),
            "second_pass_whole_s": again,
            "second_pass_new_tokens_s": cached,
        },
    }
    return found


def main() -> None:
    """Measure every shape and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=["0.5B", "7B"], choices=sorted(SHAPES))
    parser.add_argument("--prefixes", type=int, default=64, help="P, problems at once")
    parser.add_argument("--continuations", type=int, default=8, help="M, of each")
    parser.add_argument("--shared", type=int, default=512, help="tokens that all prefixes begin with")
    parser.add_argument("--own", type=int, default=60, help="further tokens of a prefix")
    parser.add_argument("--new-tokens", type=int, default=128, help="T, tokens of a continuation")
    parser.add_argument("--calls", type=int, default=4, help="prefixes that `generate` is timed on, one a call")
    parser.add_argument("--repeats", type=int, default=3, help="measurements of the engine; the median counts")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--out", type=Path, help="folder for gpu_engine.json")
    options = parser.parse_args()
    name = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    speed = bandwidth(options.device)
    print(f"{name}, torch {torch.__version__}; a copy moves {speed / 1e12:.2f} TB/s", flush=True)
    found = []
    for shape in options.shapes:
        one = measure(shape, options, options.device, speed)
        found.append(one)
        steering = one["steering"]
        print(
            f"{shape}: tokens/s: engine {one['engine_tokens_s']:,.0f}, generate {one['generate_tokens_s']:,.0f} "
            f"({one['over_generate']:.1f} x), batched {one['batched_tokens_s']:,.0f} ({one['over_batched']:.1f} x); "
            f"{one['share_of_bandwidth_limit']:.1%} of the bandwidth limit\n"
            f"    steering: sampling {steering['sampling_s']:.2f} s, with a head on hidden states "
            f"{steering['with_hidden_head_s']:.2f} s, a second pass {steering['second_pass_whole_s']:.2f} s whole, "
            f"{steering['second_pass_new_tokens_s']:.2f} s over the new tokens alone",
            flush=True,
        )
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        settings = {key: str(value) for key, value in vars(options).items()}
        report = {"device": name, "torch": torch.__version__, "bandwidth": speed, "settings": settings, "shapes": found}
        (options.out / "gpu_engine.json").write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
