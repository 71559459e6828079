"""Monte-Carlo labels a CPU-second: batched rollouts against a loop that takes one rollout at a time.

    python benchmarks/walk_labels.py

Two loops are written for comparison, step by step as one would first write them: one with numpy's softmax and choice at
every step, one in pure Python arithmetic. All three label walks of the same problems with M = 64 on one core, and their
labels must agree in distribution: the mean of p̂ − V^π is 0 within 4 standard errors for each.
"""

from __future__ import annotations

import math
import os
import random
import sys
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa

from stepward.core.seeding import Rng
from stepward.domains.walk import SoftmaxSettings, wing
from stepward.domains.walk.data import WalkMining, WalkProblems
from stepward.label import count_successes

M = 64
TARGET = 100.0
ACTIONS = ("+1", "-1", "*2", "/2", "+3", "-3")


def apply_action(number: int, action: str) -> int:
    if action == "+1":
        return number + 1
    if action == "-1":
        return number - 1
    if action == "*2":
        return number * 2
    if action == "/2":
        return number // 2
    return number + 3 if action == "+3" else number - 3


def numpy_action(number: int, target: int, rng: np.random.RandomState) -> str:
    gains = [abs(number - target) - abs(apply_action(number, action) - target) for action in ACTIONS]
    weights = np.exp(np.array(gains))
    return ACTIONS[rng.choice(len(ACTIONS), p=weights / weights.sum())]


def python_action(number: int, target: int, rng: random.Random) -> str:
    distance = abs(number - target)
    weights = [math.exp(distance - abs(apply_action(number, action) - target)) for action in ACTIONS]
    return rng.choices(ACTIONS, weights)[0]


def one_at_a_time(rows: list[dict], choose: Callable, rng: object) -> list[int]:
    """Successes of every row: one rollout after another, one step after another."""
    successes = []
    for row in rows:
        solved = 0
        for _ in range(M):
            number = row["current"]
            for _ in range(row["steps_left"]):
                if number == row["target"]:
                    break
                number = apply_action(number, choose(number, row["target"], rng))
            solved += number == row["target"]
        successes.append(solved)
    return successes


def batched(rows: pa.Table) -> np.ndarray:
    return count_successes(
        wing.states(rows),
        domain=wing.domain,
        proposer=SoftmaxSettings().build(),
        verifier=wing.verifier(),
        num_rollouts=M,
        rng=Rng.from_ids(0, rows["id"].to_pylist(), "label"),
    )


def measure(name: str, rows: pa.Table, label: Callable[[], object]) -> float:
    """Labels a CPU-second, after checking them against exact values."""
    start = time.process_time()
    successes = np.asarray(label())
    speed = len(rows) / (time.process_time() - start)
    value = wing.known.exact(wing.states(rows))
    deviation = (successes / M - value).sum() / np.sqrt((value * (1 - value) / M).sum())
    print(
        f"{name:<28}{speed:>12,.0f} labels/s   mean of p̂ − V^π: {deviation:+.1f} standard errors  ({len(rows):,} rows)"
    )
    if abs(deviation) > 4:
        sys.exit(f"{name}: labels do not agree with exact values")
    return speed


def main() -> None:
    problems = WalkProblems(num_train=500).problems("train", 0)[0]
    rows = WalkMining().mine(problems, 0)
    few = rows.take(np.random.default_rng(0).permutation(len(rows))[:150])
    listed = few.to_pylist()
    batched(few)  # once before, so that nothing is imported in the measured time
    legacy, plain = np.random.RandomState(0), random.Random(0)
    speeds = {
        "numpy": measure("loop, numpy softmax", few, lambda: one_at_a_time(listed, numpy_action, legacy)),
        "python": measure("loop, pure Python", few, lambda: one_at_a_time(listed, python_action, plain)),
        "batched": measure("batched rollouts", rows, lambda: batched(rows)),
    }
    ratio = speeds["batched"] / speeds["numpy"]
    print(f"batched / loop with numpy softmax: {ratio:.0f} x (claim: at least {TARGET:.0f} x)")
    print(f"batched / loop in pure Python:     {speeds['batched'] / speeds['python']:.0f} x")
    if ratio < TARGET:
        sys.exit("the claim does not hold here")


if __name__ == "__main__":
    main()
