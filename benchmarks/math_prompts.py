"""Continuations of prompts that begin with the same examples: that beginning read once, against once a problem.

    python benchmarks/math_prompts.py                # random weights of a small Qwen2
    python benchmarks/math_prompts.py --model DIR    # a model of yours, in bfloat16 with --dtype bfloat16

A prompt has 570 tokens, the first 524 of them common to all problems: five examples, say. Every arm makes M
continuations of 48 tokens without stops, at temperature .8. `generate` makes those of one problem at a time by
`num_return_sequences`, on a few of the problems. Time is CPU time of this process, median of the repeats, in which the
arms alternate; the common beginning is read anew in every measurement.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from stepward.domains.math.engine import ContinuationEngine, SamplingConfig, sequence_keys

COMMON, OWN, NEW, TEMPERATURE = 524, 46, 48, 0.8


def small_model() -> PreTrainedModel:
    """Random weights: 8 layers of width 384."""
    torch.manual_seed(0)
    sizes = dict(hidden_size=384, num_hidden_layers=8, num_attention_heads=6, num_key_value_heads=2)
    return Qwen2ForCausalLM(Qwen2Config(**sizes, intermediate_size=1536, vocab_size=8192, bos_token_id=None)).eval()


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds."""
    start = time.process_time()
    work()
    return time.process_time() - start


def compare(model: PreTrainedModel, problems: int, times: int, options: argparse.Namespace) -> None:
    """Print continuations a CPU-second of the three arms and their ratios."""
    rng = np.random.default_rng(0)
    common = rng.integers(10, 8000, COMMON).tolist()
    prefixes = [common + rng.integers(10, 8000, OWN).tolist() for _ in range(problems)]
    counts, config = np.full(problems, times), SamplingConfig(TEMPERATURE, max_new_tokens=NEW, eos_token_ids=())
    keys, engine = sequence_keys(0, problems * times), ContinuationEngine(model, rows=options.rows)
    made: dict[int, Any] = {}

    def ours(beginning: list[int]) -> None:
        engine._store.clear_trunk(())
        made[len(beginning)] = engine.sample(prefixes, counts, keys=keys, config=config, common=beginning)

    def theirs() -> None:
        for prefix in prefixes[: options.calls]:
            text = torch.tensor([prefix])
            arguments: dict[str, Any] = dict(do_sample=True, temperature=TEMPERATURE, top_k=0, pad_token_id=0)
            arguments |= dict(max_new_tokens=NEW, min_new_tokens=NEW, num_return_sequences=times)
            model.generate(text, attention_mask=torch.ones_like(text), **arguments)

    rounds = [
        (seconds(lambda: ours(common)), seconds(lambda: ours([])), seconds(theirs) * problems / options.calls)
        for _ in range(options.repeats)
    ]
    once, each, generate = (problems * times / statistics.median(arm) for arm in zip(*rounds, strict=True))
    same = np.mean([a == b for a, b in zip(made[COMMON].token_lists(), made[0].token_lists(), strict=True)])
    print(
        f"M = {times}: continuations a CPU-second: read once {once:.2f}, read for every problem {each:.2f}, generate "
        f"{generate:.2f}\n    ratios {once / each:.2f} x and {once / generate:.1f} x | prefilled "
        f"{made[COMMON].stats.prefill_tokens} tokens against {made[0].stats.prefill_tokens}, same texts {same:.3f}",
        flush=True,
    )


def main() -> None:
    """One continuation a problem, and eight."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a folder or id of a causal LM in safetensors")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--problems", type=int, default=64, help="at one continuation each; an eighth of it at eight")
    parser.add_argument("--rows", type=int, default=64, help="rows of the engine's batch")
    parser.add_argument("--calls", type=int, default=2, help="problems that `generate` is timed on")
    parser.add_argument("--repeats", type=int, default=3, help="measurements of each arm")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = small_model()
    if options.model:
        model = AutoModelForCausalLM.from_pretrained(options.model, use_safetensors=True, trust_remote_code=False)
    model = model.to(getattr(torch, options.dtype)).eval()
    for problems, times in ((options.problems, 1), (options.problems // 8, 8)):
        compare(model, problems, times, options)


if __name__ == "__main__":
    main()
