"""The continuation engine on one GPU, on random weights of two sizes, against `generate` and against its limits.

    python benchmarks/gpu_engine.py --out FOLDER          # 2 to 4 minutes on an H100; ends by itself after --seconds
    python benchmarks/gpu_engine.py --shapes tiny --out FOLDER   # all of it in seconds, on a CPU too

A problem is a prefix of 512 tokens that all share and 60 of its own; each has 8 continuations of 128 tokens. Random
weights never stop by themselves, so every arm makes all 128 tokens at temperature .8. `generate` makes the 8 of one
problem by `num_return_sequences`, problem by problem, as transformers' own examples do; and those of 16 problems in one
batch.

The limit of a decoding step is the larger of two times: bytes that must be read (weights, keys and values of distinct
tokens) over the bandwidth of a copy on this card, and operations over the rate of a large product on this card.

Steering: a linear head on hidden states that the sampling left behind, against scoring the same continuations by a
second pass of the same model, on the kept keys and values of their prefixes.

It needs torch, transformers and pydantic, and neither ray nor mlflow. Results go to FOLDER/gpu_engine.json after every
part, so that what is measured stays if a later part fails.
"""

import argparse
import json
import platform
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel, Qwen2Config

from stepward.domains.math.engine import ContinuationEngine, Continuations, IncrementalScorer, SamplingConfig
from stepward.domains.math.engine.attention import plan_step
from stepward.domains.math.engine.streams import sequence_keys

TEMPERATURE = 0.8
SHAPES: dict[str, dict[str, Any]] = {  # of Qwen2.5
    "0.5B": dict(
        hidden_size=896, num_hidden_layers=24, num_attention_heads=14, num_key_value_heads=2, intermediate_size=4864,
        vocab_size=151936, tie_word_embeddings=True,
    ),
    "7B": dict(
        hidden_size=3584, num_hidden_layers=28, num_attention_heads=28, num_key_value_heads=4, intermediate_size=18944,
        vocab_size=152064, tie_word_embeddings=False,
    ),
    "tiny": dict(
        hidden_size=64, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, intermediate_size=96,
        vocab_size=500, tie_word_embeddings=True,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Work:
    """What is sampled: `prefixes` problems, `times` continuations each, of `new` tokens."""

    prefixes: int
    times: int
    new: int
    shared: int
    own: int

    def tokens(self, vocabulary: int) -> list[list[int]]:
        """Prefixes that begin alike."""
        rng = np.random.default_rng(0)
        shots = rng.integers(10, vocabulary, self.shared).tolist()
        return [shots + rng.integers(10, vocabulary, self.own).tolist() for _ in range(self.prefixes)]

    @property
    def made(self) -> int:
        """Tokens sampled."""
        return self.prefixes * self.times * self.new


class Report:
    """Results by part, on screen and in a file; a part that fails is noted, and the next one begins."""

    def __init__(self, folder: Path, seconds: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self.limit, self.start = folder / "gpu_engine.json", seconds, time.perf_counter()
        self.results: dict[str, Any] = {}

    def part(self, name: str, work: Callable[[], dict[str, Any]]) -> None:
        """Run a part, unless time is over."""
        begun = time.perf_counter()
        if begun - self.start > self.limit:
            self.results[name] = {"skipped": f"after {self.limit:.0f} s"}
        else:
            try:
                with torch.inference_mode():
                    self.results[name] = work()
            except Exception as error:
                self.results[name] = {"error": repr(error), "trace": traceback.format_exc()}
            self.results[name]["part_seconds"] = round(time.perf_counter() - begun, 2)
        self.path.write_text(json.dumps(self.results, indent=1))
        shown = {key: value for key, value in self.results[name].items() if key != "trace"}
        print(f"{name}: " + ", ".join(f"{key} {_short(value)}" for key, value in shown.items()), flush=True)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def seconds(work: Callable[[], object], *, repeats: int = 1) -> float:
    """Wall seconds of one run, the shortest of the repeats, with the card idle before and after."""
    best = float("inf")
    for _ in range(repeats):
        _wait()
        start = time.perf_counter()
        work()
        _wait()
        best = min(best, time.perf_counter() - start)
    return best


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def ceilings(device: str, tiny: bool) -> dict[str, Any]:
    """Bytes a second of a copy, read and written; operations a second of a large product in bfloat16."""
    count, side = (2**22, 256) if tiny else (2**32, 8192)
    source, target = (torch.empty(count, dtype=torch.uint8, device=device) for _ in range(2))
    left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    copy, product = (lambda: target.copy_(source)), (lambda: left @ right)
    times = []
    for work in (copy, product):
        work()
        times.append(seconds(lambda work=work: [work() for _ in range(10)], repeats=3) / 10)  # type: ignore[misc]
    name = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or "CPU"
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    return {"card": name, "bytes_a_second": 2 * count / times[0], "flops_a_second": 2 * side**3 / times[1], **versions}


def make_model(shape: dict[str, Any], device: str, dtype: torch.dtype) -> PreTrainedModel:
    """Random weights, on the device from the beginning."""
    torch.manual_seed(0)
    config = Qwen2Config(**shape, max_position_embeddings=32768, bos_token_id=1, eos_token_id=2)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa")
    return model.to(device).eval()


def agreement(shape: dict[str, Any], device: str) -> dict[str, Any]:
    """Greedy tokens of the engine in float32 against those of `generate`: all of them must agree."""
    model = make_model({**shape, "num_hidden_layers": 3}, device, torch.float32)
    prefixes = [row[: 50 + 7 * i] for i, row in enumerate(Work(4, 1, 32, 60, 40).tokens(shape["vocab_size"]))]
    config = SamplingConfig(temperature=0, max_new_tokens=32, eos_token_ids=())
    keys = sequence_keys(0, len(prefixes))
    ours = ContinuationEngine(model, rows=16).sample(prefixes, np.ones(len(prefixes), int), keys=keys, config=config)
    theirs = [generate(model, [prefix], 1, 32, do_sample=False)[0, len(prefix) :].tolist() for prefix in prefixes]
    same = [a == b for mine, other in zip(ours.token_lists(), theirs, strict=True) for a, b in zip(mine, other)]  # noqa: B905
    return {"same_greedy_tokens": float(np.mean(same))}


def generate(model: PreTrainedModel, prefixes: list[list[int]], times: int, new: int, **options: Any) -> Tensor:
    """Transformers' own sampling, without stops."""
    text = torch.tensor(prefixes, device=model.device)
    options = {"do_sample": True, "temperature": TEMPERATURE, "top_k": 0, "top_p": 1.0} | options
    if not options["do_sample"]:
        options = {"do_sample": False}
    lengths = dict(max_new_tokens=new, min_new_tokens=new, num_return_sequences=times)
    return model.generate(text, attention_mask=torch.ones_like(text), pad_token_id=0, **lengths, **options)


def draw(
    engine: ContinuationEngine, work: Work, *, new: int | None = None, layers: tuple[int, ...] = ()
) -> Continuations:
    """The engine's continuations."""
    config = SamplingConfig(
        temperature=TEMPERATURE, max_new_tokens=new or work.new, eos_token_ids=(), state_layers=layers
    )
    counts = np.full(work.prefixes, work.times)
    keys = sequence_keys(0, int(counts.sum()))
    return engine.sample(work.tokens(engine.vocab_size), counts, keys=keys, config=config)


def limit_of_a_step(engine: ContinuationEngine, work: Work, ceiling: dict[str, Any]) -> dict[str, float]:
    """Seconds that a step must take, by bandwidth and by arithmetic."""
    model, shape = engine.model, engine.decoder.shape
    looked_up = 0 if model.config.tie_word_embeddings else model.get_input_embeddings().weight.numel()
    weights = sum(weight.numel() for weight in model.parameters()) - looked_up
    width = model.dtype.itemsize
    a_token = 2 * shape.num_layers * shape.num_heads * shape.head_dim * width
    rows = work.prefixes * work.times
    cached = work.shared + work.prefixes * work.own + rows * work.new / 2
    moved = weights * width + a_token * cached
    return {
        "bandwidth_step": moved / ceiling["bytes_a_second"],
        "arithmetic_step": 2 * weights * rows / ceiling["flops_a_second"],
    }


def sampling(engine: ContinuationEngine, work: Work, ceiling: dict[str, Any]) -> dict[str, Any]:
    """Tokens a second, with the reading of prompts and without, and the share of the limit."""
    draw(engine, work, new=4)
    prompts = seconds(lambda: draw(engine, work, new=1), repeats=2)
    total = seconds(lambda: draw(engine, work), repeats=2)
    step = (total - prompts) / (work.new - 1)
    limits = limit_of_a_step(engine, work, ceiling)
    return {
        "tokens_a_second": work.made / total,
        "decoded_tokens_a_second": work.prefixes * work.times / step,
        "prompt_seconds": prompts,
        "step_ms": 1e3 * step,
        "bandwidth_step_ms": 1e3 * limits["bandwidth_step"],
        "arithmetic_step_ms": 1e3 * limits["arithmetic_step"],
        "share_of_bandwidth": limits["bandwidth_step"] / step,
        "share_of_limit": max(limits.values()) / step,
    }


def generating(model: PreTrainedModel, work: Work) -> dict[str, Any]:
    """Tokens a second of `generate`, problem by problem and 16 problems at once."""
    prefixes = work.tokens(model.config.vocab_size)
    generate(model, prefixes[:1], work.times, 4)
    one = seconds(lambda: [generate(model, [prefix], work.times, work.new) for prefix in prefixes[:2]])
    many = prefixes[:16]
    together = seconds(lambda: generate(model, many, work.times, work.new))
    return {
        "problem_by_problem_tokens_a_second": 2 * work.times * work.new / one,
        "together_tokens_a_second": len(many) * work.times * work.new / together,
    }


def steering(engine: ContinuationEngine, work: Work) -> dict[str, Any]:
    """Seconds of sampling, of sampling with states and a head, and of a second pass over what was sampled."""
    layer = engine.decoder.shape.num_layers * 2 // 3
    head = np.random.default_rng(0).normal(size=engine.model.config.hidden_size).astype(np.float32)
    alone, with_states = [], []
    for _ in range(3):
        alone.append(seconds(lambda: draw(engine, work)))
        with_states.append(seconds(lambda: draw(engine, work, layers=(layer,)).states[:, 0] @ head))
    sampled, prefixes = draw(engine, work), work.tokens(engine.vocab_size)
    scorer = IncrementalScorer(engine.model.model, max_bytes=2**36)
    names = [str(i) for i in range(work.prefixes)]
    first = seconds(lambda: [scorer.hidden([n], [None], [p]) for n, p in zip(names, prefixes, strict=True)])
    texts, size = sampled.token_lists(), 64

    def second_pass() -> None:
        for at in range(0, len(texts), size):
            rows = range(at, min(at + size, len(texts)))
            scorer.hidden([f"c{i}" for i in rows], [names[sampled.prefix[i]] for i in rows], [texts[i] for i in rows])

    again = seconds(second_pass)
    return {
        "sampling_seconds": min(alone),
        "spread": max(alone) / min(alone) - 1,
        "states_cost": min(with_states) / min(alone) - 1,
        "second_pass_cost": again / min(alone),
        "second_pass_prompts_seconds": first,
    }


def graph(engine: ContinuationEngine, work: Work, folder: Path) -> dict[str, Any]:
    """What a step costs when Python launches every kernel, and when the card replays a recorded step."""
    store, rows = engine._store, work.prefixes * work.times
    family = np.repeat(np.arange(work.prefixes), work.times)
    length = np.full(rows, work.new // 2)
    store.reserve(prefix=work.shared + work.own, suffix=work.new, rows=rows)
    plan = plan_step(store, family, np.full(rows, work.shared + work.own), length)
    token = torch.ones(rows, dtype=torch.int64, device=store.device)
    step = lambda: engine.decoder.decode(store, plan, token, token + work.shared + work.own + work.new // 2, None)  # noqa: E731
    step()
    eager = seconds(lambda: [step() for _ in range(10)], repeats=2) / 10
    activities = [torch.profiler.ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profile:
        step()
        _wait()
    order = "self_cuda_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
    name = f"profile_{engine.model.config.hidden_size}.txt"
    (folder / name).write_text(profile.key_averages().table(sort_by=order, row_limit=30))
    found: dict[str, Any] = {"eager_step_ms": 1e3 * eager}
    if torch.cuda.is_available():
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            step()
        torch.cuda.current_stream().wait_stream(side)
        recorded = torch.cuda.CUDAGraph()
        with torch.cuda.graph(recorded):
            step()
        found |= {"replayed_step_ms": 1e3 * seconds(recorded.replay, repeats=10)}
    return found


def main() -> None:
    """Measure every size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for gpu_engine.json and profiles")
    parser.add_argument("--shapes", nargs="+", default=["0.5B", "7B"], choices=sorted(SHAPES), help="sizes to measure")
    parser.add_argument("--seconds", type=float, default=300, help="begin no part after so many seconds")
    options = parser.parse_args()
    tiny = options.shapes == ["tiny"]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not tiny:
        parser.error("no GPU found: take --shapes tiny to try the script on a CPU")
    report = Report(options.out, options.seconds)
    work = Work(6, 4, 12, 40, 10) if tiny else Work(64, 8, 128, 512, 60)
    report.part("ceilings", lambda: ceilings(device, tiny))
    report.part("agreement", lambda: agreement(SHAPES[options.shapes[0]], device))
    for name in options.shapes:
        model = make_model(SHAPES[name], device, torch.bfloat16)
        engine = ContinuationEngine(model, rows=work.prefixes * work.times)
        for times in (work.times, 1):
            some = replace(work, times=times)
            report.part(f"{name} engine M={times}", partial(sampling, engine, some, report.results["ceilings"]))
        report.part(f"{name} graph", partial(graph, engine, work, options.out))
        report.part(f"{name} steering", partial(steering, engine, work))
        del engine
        _free()
        report.part(f"{name} generate", partial(generating, model, work))
        del model
        _free()
    print(table(report.results))


def _free() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def table(results: dict[str, Any]) -> str:
    """One row a size."""
    columns = ("model", "engine tokens/s", "generate", "ratio", "together", "step ms", "limit ms", "share", "states")
    lines = ["", "| " + " | ".join((*columns, "second pass")) + " |", "|---" * 10 + "|"]
    for key, ours in results.items():
        name, _, kind = key.partition(" engine M=")
        if not kind or "step_ms" not in ours or kind == "1":
            continue
        theirs, steer = results.get(f"{name} generate", {}), results.get(f"{name} steering", {})
        one, all_of = (theirs.get(f"{k}_tokens_a_second", float("nan")) for k in ("problem_by_problem", "together"))
        limit = max(ours["bandwidth_step_ms"], ours["arithmetic_step_ms"])
        extra = (steer.get(k, float("nan")) for k in ("states_cost", "second_pass_cost"))
        values = (ours["tokens_a_second"], one, ours["tokens_a_second"] / one, all_of, ours["step_ms"], limit)
        shown = [f"{v:,.1f}" for v in values] + [f"{v:.1%}" for v in (ours["share_of_limit"], *extra)]
        lines.append(f"| {name} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
