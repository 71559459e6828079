"""Does a reward model that learned from one kind of problem choose well among solutions of another?

    python jobs/label.py domain=math && python jobs/train.py domain=math
    OMP_NUM_THREADS=1 python benchmarks/studies/math_shift.py --reward runs/math/train/prm

Problems as in training, longer ones, and ones of larger numbers; and problems as in training whose solutions, of four
to six lines, are cut after the fifth, or may have 32 instead of 16. Solutions are the embedded proposer's at
temperature .8, of problems of the validation split. Printed: the share solved by one sample, by the majority of N, by
votes weighted by the reward model (the least of its step scores), by votes weighted by it and the proposer's log p
together (log PRM + .2 log p, summed over steps), and by any of N; and the paired difference of each vote to the
majority (BCa). About five minutes of one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from math_solutions import WING, Solutions

from stepward.core.storage import Folder
from stepward.evaluate import paired_comparison
from stepward.rewards.factory import load_trained

SETTINGS = {
    "as in training": ("default", 16),
    "solutions of at most 5 lines": ("default", 5),
    "solutions of at most 32 lines": ("default", 32),
    "more steps": ("more_steps", 16),
    "larger numbers": ("larger_numbers", 16),
}
ALPHA = 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reward", type=Path, default=Path("runs/math/train/prm"), help="train artifact")
    parser.add_argument("--problems", type=int, default=500, help="problems of each kind")
    parser.add_argument("--samples", type=int, nargs="+", default=[4, 8, 16], help="N, numbers of solutions")
    options = parser.parse_args()
    torch.set_num_threads(1)
    reward = load_trained(Folder(options.reward), WING)
    print("| problems | N | one sample | majority | PRM, vote | minus majority | PRM and log p, vote ", end="")
    print("| minus majority | any |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for name, (family, max_steps) in SETTINGS.items():
        solutions = Solutions(options.problems, max(options.samples), family=family, max_steps=max_steps)
        values = solutions.values(reward)
        both = values["product"] * np.exp(ALPHA * solutions.log_prob)
        for size in options.samples:
            bounds = solutions.bounds(size)
            cells = [f"{bounds[key].mean():.3f}" for key in ("one sample", "majority")]
            for weight in (values["min"], both):
                solved = solutions.vote(weight, size)
                row = paired_comparison(solved, bounds["majority"], rng=np.random.default_rng(0))
                cells += [f"{solved.mean():.3f}", f"{row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}]"]
            print(f"| {name} | {size} | " + " | ".join([*cells, f"{bounds['any'].mean():.3f}"]) + " |", flush=True)


if __name__ == "__main__":
    main()
