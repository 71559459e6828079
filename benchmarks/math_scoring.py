"""Scoring the children of a step-by-step search: only their new tokens, against the whole text again, on one core.

    python benchmarks/math_scoring.py

A beam of 8 partial solutions with 4 children each, from the bare question to ten lines, of the embedded model's sizes
and of usual lengths (question 60 tokens, a line 8 to 20). Both arms read the same tokens of the same tree, 32 rows a
pass, with the model's own cache of keys and values in one and without a cache in the other; the hidden states at the
ends of lines agree. Time is CPU time of this process, median of the repeats, in which the arms alternate.
"""

import argparse
import statistics
import time

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from stepward.domains.math.engine import IncrementalScorer
from stepward.domains.math.rewards.body import build_body

BEAM, CHILDREN, QUESTION = 8, 4, 60


def tree(num_steps: int, seed: int) -> list[tuple[list[str], list[str], list[list[int]], list[list[int]]]]:
    """Of every level: names of the children, their parents, their new tokens, their whole text."""
    rng = np.random.default_rng(seed)
    kept = {f"root {i}": rng.integers(2, 434, size=QUESTION).tolist() for i in range(BEAM)}
    levels = [(list(kept), [""] * BEAM, list(kept.values()), list(kept.values()))]
    for depth in range(num_steps):
        parents = [parent for parent in kept for _ in range(CHILDREN)]
        names = [f"{depth}.{i}" for i in range(len(parents))]
        new = [rng.integers(2, 434, size=rng.integers(8, 21)).tolist() for _ in names]
        whole = [kept[parent] + line for parent, line in zip(parents, new, strict=True)]
        levels.append((names, parents, new, whole))
        chosen = rng.choice(len(names), size=BEAM, replace=False)
        kept = {names[i]: whole[i] for i in chosen}
    return levels


@torch.inference_mode()
def again(body: PreTrainedModel, texts: list[list[int]]) -> Tensor:
    """Hidden states at the ends of texts, read as a whole."""
    rows = pad_sequence([torch.tensor(text) for text in texts], batch_first=True)
    states = body(input_ids=rows, use_cache=False).last_hidden_state
    return states[torch.arange(len(texts)), torch.tensor([len(text) - 1 for text in texts])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10, help="lines of a solution")
    parser.add_argument("--repeats", type=int, default=15, help="measurements of each arm")
    options = parser.parse_args()
    torch.set_num_threads(1)
    body = build_body("embedded", pretrained=True).eval()
    ratios: list[float] = []
    last: list[float] = []
    for repeat in range(options.repeats):
        levels, scorer = tree(options.steps, repeat), IncrementalScorer(body)
        spent = np.zeros((len(levels), 2))
        for at, (names, parents, new, whole) in enumerate(levels):
            start = time.process_time()
            ours = scorer.hidden(names, [parent or None for parent in parents], new)
            middle = time.process_time()
            full = again(body, whole)
            spent[at] = middle - start, time.process_time() - middle
            torch.testing.assert_close(ours, full, atol=1e-4, rtol=1e-4)
        ratios.append(float(spent[1:, 1].sum() / spent[1:, 0].sum()))
        last.append(float(spent[-1, 1] / spent[-1, 0]))
    print(
        f"incremental against full scoring: the step to line {options.steps} {statistics.median(last):.1f} x, "
        f"all {options.steps} steps together {statistics.median(ratios):.1f} x"
    )


if __name__ == "__main__":
    main()
