"""Labels a second of the continuation engine against transformers' `generate`, on one core.

    python benchmarks/math_engine.py               # the embedded proposer, and random Llama, Qwen2 and GPT-2 models
    python benchmarks/math_engine.py --model DIR   # another causal LM in place of the embedded one

A label is M continuations of one partial solution, as the label stage mines them. All arms sample the same distribution
(temperature .8, no top-k) of the same model from the same partials: the engine from all of them, `generate` from evenly
spaced ones, because it takes so long. Time is CPU time of this process, median of the repeats, in which the arms
alternate.

The random models have the sizes of the embedded one. Continuations of a prefix share nothing after the first token
there; four tokens out of the vocabulary end a text, in every arm, for a mean length like that of solutions.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from stepward.core.seeding import Rng
from stepward.domains.math import AnswerVerifier, MathDomain, MathMining, MathProblems, MathStates, math_states
from stepward.domains.math.engine import Backend, ContinuationEngine, Continuations, SamplingConfig, sequence_keys
from stepward.domains.math.proposer import LanguageModelProposer
from stepward.domains.math.settings import LanguageModelSettings
from stepward.label import count_successes

TEMPERATURE = 0.8
VOCABULARY = 434


def mined(settings: LanguageModelSettings, num_problems: int) -> MathStates:
    """Open partial solutions of training problems."""
    table, _ = MathProblems(num_train=num_problems).problems("train", 0)
    sampler = settings.model_copy(update={"temperatures": (0.7, 1.0)})
    states = math_states(MathMining(model=sampler).mine(table, seed=0))
    return states.take(states.ending == 0)


def random_partials(num_texts: int) -> list[list[int]]:
    """Nested prefixes of the same lengths as real ones."""
    rng = np.random.default_rng(3)
    texts = [rng.integers(10, VOCABULARY, size=120).tolist() for _ in range(num_texts)]
    return [text[:cut] for text in texts for cut in (50, 67, 84)]


def random_models() -> list[tuple[str, PreTrainedModel, Backend]]:
    """Models of the embedded one's sizes, the Llama on the fused path, the others on that for any decoder."""
    torch.manual_seed(0)
    special = dict(vocab_size=VOCABULARY, bos_token_id=1, eos_token_id=2)
    sizes = dict(hidden_size=128, num_hidden_layers=4, num_attention_heads=4, intermediate_size=352)
    sizes |= dict(max_position_embeddings=512, **special)
    llama = LlamaForCausalLM(LlamaConfig(tie_word_embeddings=True, **sizes))
    qwen = Qwen2ForCausalLM(Qwen2Config(num_key_value_heads=2, **sizes))
    gpt2 = GPT2LMHeadModel(GPT2Config(n_embd=128, n_layer=4, n_head=4, n_positions=512, **special))
    return [("random Llama", llama, "auto"), ("random Qwen2", qwen, "shared"), ("random GPT-2", gpt2, "shared")]


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds."""
    start = time.process_time()
    work()
    return time.process_time() - start


def compare(
    name: str, engine: ContinuationEngine, partials: list[list[int]], eos: tuple[int, ...], options: argparse.Namespace
) -> None:
    """Print labels a CPU-second of the three arms, their ratios, and how full the engine's batch was."""
    times: int = options.continuations
    many = [partials[i] for i in np.linspace(0, len(partials) - 1, options.partials).astype(int)]
    few = many[:: max(1, len(many) // 6)]
    common: dict[str, Any] = dict(
        do_sample=True, temperature=TEMPERATURE, top_k=0, top_p=1.0, max_new_tokens=options.max_new_tokens,
        eos_token_id=list(eos), pad_token_id=0,
    )  # fmt: skip
    config = SamplingConfig(temperature=TEMPERATURE, max_new_tokens=options.max_new_tokens, eos_token_ids=eos)
    counts = np.full(len(partials), times)
    keys = sequence_keys(0, int(counts.sum()))
    made: list[Continuations] = []

    def generate(partial: list[int], num: int) -> None:
        text = torch.tensor([partial])
        engine.model.generate(text, attention_mask=torch.ones_like(text), num_return_sequences=num, **common)

    def rounds() -> tuple[float, float, float]:
        ours = seconds(lambda: made.append(engine.sample(partials, counts, keys=keys, config=config)))
        together = seconds(lambda: [generate(partial, times) for partial in many])
        apart = seconds(lambda: [generate(partial, 1) for partial in few for _ in range(times)])
        return len(partials) / ours, len(many) / together, len(few) / apart

    with torch.inference_mode():
        rates = [statistics.median(arm) for arm in zip(*(rounds() for _ in range(options.repeats)), strict=True)]
    stats = made[0].stats
    print(
        f"{name}: {len(partials)} partials, labels a second: engine ({engine.backend}) {rates[0]:.1f}, "
        f"num_return_sequences {rates[1]:.2f}, one a call {rates[2]:.2f}\n"
        f"    ratios {rates[0] / rates[1]:.1f} x and {rates[0] / rates[2]:.1f} x | occupancy {stats.occupancy:.3f}, "
        f"tokens a continuation {stats.generated_tokens / len(made[0]):.1f}, "
        f"decoded/generated {stats.decoded_tokens / stats.generated_tokens:.2f}, "
        f"prefilled/asked {stats.prefill_tokens / stats.prefix_tokens:.2f}",
        flush=True,
    )


def whole_labels(proposer: LanguageModelProposer, states: MathStates, times: int) -> None:
    """Print labels a CPU-second with everything around the tokens: text, endings and grading."""
    parts: dict[str, Any] = dict(domain=MathDomain(), verifier=AnswerVerifier(), num_rollouts=times)
    rng = Rng.from_seed(0, len(states), "benchmark")
    taken = seconds(lambda: count_successes(states, proposer=proposer, rng=rng, **parts))
    print(f"    with text, endings and grading: {len(states) / taken:.1f} labels a second")


def main() -> None:
    """Run every comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded", help="a folder or id of a causal LM in safetensors")
    parser.add_argument("--continuations", type=int, default=16, help="M, continuations a label")
    parser.add_argument("--problems", type=int, default=200, help="problems; about six partials each")
    parser.add_argument("--partials", type=int, default=48, help="partials of them for num_return_sequences")
    parser.add_argument("--max-new-tokens", type=int, default=160, help="longest continuation")
    parser.add_argument("--repeats", type=int, default=3, help="measurements of each arm")
    options = parser.parse_args()
    torch.set_num_threads(1)
    settings = LanguageModelSettings(model=options.model)
    proposer, states = settings.build(), mined(settings, options.problems)
    compare(options.model, proposer.engine, proposer.encode(states), proposer.engine.eos_token_ids(), options)
    whole_labels(proposer, states, options.continuations)
    chance = random_partials(options.problems // 4)
    for name, model, backend in random_models():
        compare(name, ContinuationEngine(model, backend=backend), chance, (2, 3, 4, 5), options)


if __name__ == "__main__":
    main()
