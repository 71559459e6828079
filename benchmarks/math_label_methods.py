"""What the ways of labelling cost and how right they are, on partial solutions of the embedded proposer.

    python benchmarks/math_label_methods.py

Truth is the success rate of M = 64 other rollouts a row. Printed: rollouts a row; the root mean square error of the
label beyond what the truth's own noise explains; and, for first-error search, how often "any success" agrees with 16
rollouts of every row, by the number of lines of the solution.
"""

import argparse
from typing import Any

import numpy as np
import torch

from stepward.core.seeding import Rng
from stepward.domains.math import AnswerVerifier, MathDomain, MathMining, MathProblems, math_states
from stepward.domains.math.settings import LanguageModelSettings
from stepward.label import count_successes
from stepward.label.methods import Adaptive, Counts, FirstError, Fixed, Samples

TRUTH, M = 64, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=100, help="problems, about eight rows each")
    options = parser.parse_args()
    torch.set_num_threads(1)
    table, _ = MathProblems(num_train=options.problems).problems("train", 1)
    rows = MathMining().mine(table, seed=1)
    states, names = math_states(rows), rows["id"].to_pylist()
    parts: dict[str, Any] = dict(
        domain=MathDomain(), verifier=AnswerVerifier(), proposer=LanguageModelSettings().build()
    )

    def roll_out(which: np.ndarray, num: int, part: int) -> np.ndarray:
        rng = Rng.from_ids(1, names, f"method {part}").take(which)
        return count_successes(states.take(which), num_rollouts=num, rng=rng, **parts)

    truth = count_successes(states, num_rollouts=TRUTH, rng=Rng.from_ids(1, names, "truth"), **parts) / TRUTH
    noise = (truth * (1 - truth) / (TRUTH - 1)).mean()
    variance = (truth * (1 - truth)).mean() * TRUTH / (TRUTH - 1)
    fixed = Fixed().count(len(rows), M, roll_out, None)
    report("fixed", fixed, fixed.successes / M, truth, noise)
    for width in (0.2, 0.3):
        adaptive = Adaptive(width=width).count(len(rows), 2 * M, roll_out, None)
        share = (adaptive.successes + 0.5) / (adaptive.num_rollouts + 1)
        error = report(f"adaptive, width {width}, at most {2 * M}", adaptive, share, truth, noise)
        print(f"    a fixed number of equal error: {variance / error**2:.1f} rollouts a row")
    paths = states.paths()
    ends = np.array([path[-1] for path in paths])
    solved = AnswerVerifier().outcome(states.take(ends)) == 1
    samples = Samples(paths, solved, rows["multiplicity"].to_numpy()[ends].astype(np.int64))
    searched = FirstError().count(len(rows), M, roll_out, samples)
    spent = np.array(searched.origin) == "rollouts"
    wrong = [path for path, right in zip(paths, solved, strict=True) if not right]
    print(
        f"first_error: {spent.sum() * M / len(rows):.1f} rollouts a row, {spent.mean():.2f} of the rows rolled out; "
        f"in wrong solutions {np.mean([spent[path[:-1]].mean() for path in wrong]):.2f}"
    )
    same = (searched.successes > 0) == (fixed.successes > 0)
    for low, high in ((1, 4), (5, 20)):
        some = [path for path in wrong if low <= len(path) - 1 <= high]
        if some:
            print(
                f"    wrong solutions of {low} to {high} lines ({len(some)}): any success agrees in "
                f"{np.mean([same[path].mean() for path in some]):.3f} of the rows, in all rows of "
                f"{np.mean([same[path].all() for path in some]):.3f}"
            )


def report(name: str, counts: Counts, share: np.ndarray, truth: np.ndarray, noise: float) -> float:
    """Print rollouts a row and the error of the shares, and return the error."""
    error = float(np.sqrt(max(((share - truth) ** 2).mean() - noise, 0.0)))
    print(f"{name}: {counts.num_rollouts.mean():.1f} rollouts a row, error {error:.4f} ({len(share)} rows)", flush=True)
    return error


if __name__ == "__main__":
    main()
