"""Labels a second of the continuation engine against transformers' `generate`, on one core.

    python benchmarks/math_engine.py                    # trains a small model on word problems for a minute first
    python benchmarks/math_engine.py --model DIR        # or: any causal LM saved with its tokenizer

A label is M continuations of one partial solution. All arms sample the same distribution (temperature .8, no top-k) of
the
same model from the same partials: the model's own solutions, cut after every line. Time is CPU time of this process.
Three models: the trained one; the same sizes with random weights, where continuations of a prefix share nothing after
the first token (four tokens out of the vocabulary end a text, in every arm, for a mean length like that of solutions);
and random Qwen2 and GPT-2 models on the path for any decoder.
"""

import argparse
import itertools
import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from stepward.domains.math.engine import ContinuationEngine, SamplingConfig, sequence_keys

NAMES = ["Leo", "Eva", "Tom", "Ann", "Max", "Ida", "Ben", "Amy", "Sam", "Zoe"]
THINGS = ["coins", "books", "cards", "pens"]
TEMPERATURE = 0.8
MAX_NEW = 100


def word_problem(rng: random.Random) -> tuple[str, str]:
    """A chained problem of two to four steps: question, and a solution that restates every sentence and computes."""
    people, thing, value = rng.sample(NAMES, 5), rng.choice(THINGS), rng.randint(5, 30)
    question, lines = [f"{people[0]} has {value} {thing}."], []
    for before, who in itertools.pairwise(people):
        amount, sign = rng.randint(1, 12), rng.choice([1, -1])
        sentence = f"{who} has {amount} {'more' if sign > 0 else 'fewer'} than {before}"
        lines.append(f"{sentence}: {value}{'+' if sign > 0 else '-'}{amount}={value + sign * amount}")
        question.append(sentence + ".")
        value += sign * amount
    return f"{' '.join(question)} How many {thing} has {who}?\n", "\n".join(lines) + f"\n#### {value}"


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE with single digits, about the size of the embedded model's."""
    rng = random.Random(0)
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=235, special_tokens=["<pad>", "<s>", "</s>"], show_progress=False)
    raw.train_from_iterator(["".join(word_problem(rng)) for _ in range(1000)], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", bos_token="<s>", eos_token="</s>")


def embedded_size(vocab_size: int) -> LlamaForCausalLM:
    """The architecture of the embedded model, random weights."""
    sizes = dict(hidden_size=128, num_hidden_layers=4, num_attention_heads=4, intermediate_size=352)
    special = dict(bos_token_id=1, eos_token_id=2, pad_token_id=0)
    config = LlamaConfig(
        vocab_size=vocab_size, tie_word_embeddings=True, max_position_embeddings=256, **sizes, **special
    )
    return LlamaForCausalLM(config)


def train_briefly(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, seconds: float) -> None:
    """Enough for the form of a solution and its length, not for arithmetic."""
    rng, start, optimizer = random.Random(1), time.perf_counter(), torch.optim.AdamW(model.parameters(), lr=2e-3)
    while time.perf_counter() - start < seconds:
        texts = [[1, *tokenizer("".join(word_problem(rng)))["input_ids"], 2] for _ in range(16)]
        width = max(map(len, texts))
        tokens = torch.tensor([text + [0] * (width - len(text)) for text in texts])
        loss = model(input_ids=tokens, labels=tokens.masked_fill(tokens == 0, -100)).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    print(f"trained for {seconds:.0f} s, loss {loss.item():.2f} nats a token")


def mine_partials(engine: ContinuationEngine, tokenizer: PreTrainedTokenizerFast, num_problems: int) -> list[list[int]]:
    """Prefixes of the model's own solutions: the question, and the question with each number of finished lines."""
    rng = random.Random(2)
    questions = [[1, *tokenizer(word_problem(rng)[0])["input_ids"]] for _ in range(num_problems)]
    config = SamplingConfig(temperature=TEMPERATURE, max_new_tokens=MAX_NEW)
    ones = np.ones(num_problems, dtype=np.int64)
    solutions = engine.sample(questions, ones, keys=sequence_keys(1, num_problems), config=config)
    return [
        question + solution[:cut]
        for question, solution in zip(questions, solutions.token_lists(), strict=True)
        for cut in [0, *[i + 1 for i, token in enumerate(solution[:-1]) if engine.newlines[token]][:5]]
    ]


def random_partials(vocab_size: int, num_problems: int) -> list[list[int]]:
    """Nested prefixes of the same lengths as real ones."""
    rng = np.random.default_rng(3)
    texts = [rng.integers(10, vocab_size, size=120).tolist() for _ in range(num_problems)]
    return [text[:cut] for text in texts for cut in (50, 67, 84)]


def rate(work: Callable[[], int]) -> float:
    """Labels a CPU-second."""
    start = time.process_time()
    return work() / (time.process_time() - start)


def compare(
    name: str, model: PreTrainedModel, partials: list[list[int]], num_continuations: int, eos: list[int], backend: str
) -> None:
    """Print the three arms and their ratios."""
    few = [partials[i] for i in np.linspace(0, len(partials) - 1, 12).astype(int)]
    options = dict(
        do_sample=True, temperature=TEMPERATURE, top_k=0, top_p=1.0, max_new_tokens=MAX_NEW, eos_token_id=eos,
        pad_token_id=0,
    )  # fmt: skip

    def one_a_call() -> int:
        for partial in few[1::6]:
            for _ in range(num_continuations):
                model.generate(torch.tensor([partial]), attention_mask=torch.ones(1, len(partial)), **options)
        return len(few[1::6])

    def many_a_call() -> int:
        for partial in few:
            mask = torch.ones(1, len(partial))
            model.generate(
                torch.tensor([partial]), attention_mask=mask, num_return_sequences=num_continuations, **options
            )
        return len(few)

    engine = ContinuationEngine(model, backend=backend)
    config = SamplingConfig(temperature=TEMPERATURE, max_new_tokens=MAX_NEW, eos_token_ids=tuple(eos))
    counts = np.full(len(partials), num_continuations)
    keys = sequence_keys(0, int(counts.sum()))
    results = []

    def ours() -> int:
        results.append(engine.sample(partials, counts, keys=keys, config=config))
        return len(partials)

    with torch.inference_mode():
        ours_rate, many_rate, one_rate = rate(ours), rate(many_a_call), rate(one_a_call)
    stats = results[0].stats
    print(
        f"{name:24s} labels/s: engine ({engine.backend}) {ours_rate:.1f}, num_return_sequences {many_rate:.2f}, "
        f"one a call {one_rate:.2f} | ratios {ours_rate / many_rate:.1f}x, {ours_rate / one_rate:.1f}x | "
        f"occupancy {stats.occupancy:.3f}, tokens a continuation {stats.generated_tokens / len(results[0]):.1f}, "
        f"decoded/generated {stats.decoded_tokens / stats.generated_tokens:.2f}, "
        f"prefilled/asked {stats.prefill_tokens / stats.prefix_tokens:.2f}"
    )


def main() -> None:
    """Run every comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a causal LM and its tokenizer; trained briefly when not given")
    parser.add_argument("--continuations", type=int, default=16, help="M, continuations a label")
    parser.add_argument("--problems", type=int, default=100, help="problems; three to four partials each")
    parser.add_argument("--train-seconds", type=float, default=45, help="training time of the default model")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if options.model:
        tokenizer = AutoTokenizer.from_pretrained(options.model)
        model = AutoModelForCausalLM.from_pretrained(options.model)
    else:
        tokenizer = make_tokenizer()
        model = embedded_size(len(tokenizer))
        train_briefly(model, tokenizer, options.train_seconds)
    partials = mine_partials(ContinuationEngine(model, tokenizer=tokenizer), tokenizer, options.problems)
    compare("trained", model, partials, options.continuations, [tokenizer.eos_token_id], "auto")
    compare("trained, modules", model, partials, options.continuations, [tokenizer.eos_token_id], "shared")

    eos, size = [2, 3, 4, 5], len(tokenizer)
    chance = random_partials(size, options.problems // 2)
    compare("random Llama", embedded_size(size), chance, options.continuations, eos, "auto")
    small = dict(vocab_size=size, bos_token_id=1, eos_token_id=2)
    qwen = Qwen2Config(
        hidden_size=128, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2, intermediate_size=352,
        max_position_embeddings=256, **small,
    )  # fmt: skip
    compare("random Qwen2", Qwen2ForCausalLM(qwen), chance, options.continuations, eos, "shared")
    gpt2 = GPT2Config(n_embd=128, n_layer=4, n_head=4, n_positions=256, **small)
    compare("random GPT-2", GPT2LMHeadModel(gpt2), chance, options.continuations, eos, "shared")


if __name__ == "__main__":
    main()
