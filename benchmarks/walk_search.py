"""Best-first search in lockstep against the usual loop, at equal results.

    OMP_NUM_THREADS=1 python benchmarks/walk_search.py [--problems 1000] [--expansions 50]

Four ways to run the same best-first search on the same problems with the same guide:

* lockstep: `stepward.search`, all problems advance together;
* one child at a time: a loop over problems on plain integers with a heap, each child scored by a call of its own;
* one node at a time: the same loop, the new children of a node scored in one call;
* free scores: the same loop, all scores known beforehand, which no guide can beat.

Prints expansions a CPU-second, the ratios, and whether solved problems and expansions agree. The guide is the trained
network of artifacts/walk/train/prm where it exists, else one with random weights of the same shape; the distance
heuristic, which costs next to nothing, shows what is left when scoring is free.
"""

from __future__ import annotations

import argparse
import heapq
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from stepward.core.artifacts import Artifact
from stepward.core.cost import Cost
from stepward.core.seeding import Rng
from stepward.core.wing import find_wing
from stepward.domains.walk.states import WalkStates
from stepward.search import BestFirst

WING = find_wing("walk")
ENUMERATE = WING.proposers["enumerate"]().build()
Score = Callable[[int, int, list[int], int], list[float]]


def loop(roots: WalkStates, score: Score, expansions: int, *, by_node: bool) -> tuple[np.ndarray, np.ndarray]:
    """Solved and expansions of each problem, searched one after the other on plain integers with a heap."""
    solved, spent = [], []
    for start, target, left in zip(roots.start.tolist(), roots.target.tolist(), roots.steps_left.tolist(), strict=True):
        queue, seen, serial, used, done = [(0.0, 0, start, left)], {(start, left)}, 0, 0, False
        while queue and used < expansions and not done:
            _, _, now, left = heapq.heappop(queue)
            used += 1
            children = []
            for after in (now + 1, now - 1, now * 2, now // 2, now + 3, now - 3):
                if (after, left - 1) not in seen:
                    seen.add((after, left - 1))
                    children.append(after)
            groups = [children] if by_node else [[child] for child in children]
            scores = [value for group in groups if group for value in score(start, target, group, left - 1)]
            for child, value in zip(children, scores, strict=True):
                if child == target:
                    done = True
                elif left > 1:
                    serial += 1
                    heapq.heappush(queue, (-value, serial, child, left - 1))
        solved.append(done)
        spent.append(used)
    return np.array(solved), np.array(spent)


def scorer(reward: Any, max_steps: int) -> Score:
    """Scores of a few numbers by one call of the reward model."""

    def score(start: int, target: int, numbers: list[int], left: int) -> list[float]:
        n = len(numbers)
        states = WalkStates(
            problem=np.zeros(n, np.int64),
            start=np.full(n, start),
            target=np.full(n, target),
            current=np.array(numbers),
            steps_left=np.full(n, left),
            actions=np.zeros((n, max_steps), np.int8),
        )
        return reward.score(states, states).tolist()

    return score


def remembered(score: Score) -> Score:
    """The same scores from a dictionary once they were asked for: what a loop costs when scoring is free."""
    memory: dict[tuple[int, int, int], float] = {}

    def look_up(start: int, target: int, numbers: list[int], left: int) -> list[float]:
        for number in numbers:
            if (target, number, left) not in memory:
                memory[target, number, left] = score(start, target, [number], left)[0]
        return [memory[target, number, left] for number in numbers]

    return look_up


def lockstep(roots: WalkStates, reward: Any, expansions: int) -> tuple[np.ndarray, np.ndarray]:
    """The same by `stepward.search`."""
    found = BestFirst(num_candidates=6)(
        roots,
        domain=WING.domain,
        proposer=ENUMERATE,
        reward=reward,
        budget=Cost.limit(expansions=expansions),
        rng=Rng.from_seed(0, len(roots), "benchmark"),
    )
    return found.best >= 0, found.cost["expansions"]


def prm() -> tuple[Any, str]:
    """The trained network if it has been made, else random weights."""
    artifact = Artifact("artifacts", "walk", "train", "prm")
    if artifact.finished:
        settings = WING.learners["mlp"](**artifact.folder.read_json("reward.json")["settings"])
        return settings.reward(artifact.folder.read_weights("weights.safetensors")), "trained network"
    import torch

    torch.manual_seed(0)
    settings = WING.learners["mlp"]()
    weights = {name: tensor.numpy() for name, tensor in settings.module().state_dict().items()}
    return settings.reward(weights), "network with random weights"


def measure(run: Callable[[], tuple[np.ndarray, np.ndarray]], repeats: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Result and the median CPU seconds of a run."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        solved, spent = run()
        times.append(time.process_time() - start)
    return solved, spent, float(np.median(times))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--problems", type=int, default=1000, help="test problems searched in lockstep")
    options.add_argument("--loop-problems", type=int, default=60, help="of them, problems the loops search")
    options.add_argument("--expansions", type=int, default=50, help="budget a problem")
    arguments = options.parse_args()
    import torch

    torch.set_num_threads(1)
    table, _ = WING.problems().problems("test", 0)
    roots = WING.states(table.slice(0, arguments.problems))
    few = roots.take(np.arange(arguments.loop_problems))
    guides = [prm(), (WING.rewards["distance"]().build(WING.domain), "distance heuristic")]
    for reward, name in guides:
        solved, spent, seconds = measure(lambda r=reward: lockstep(roots, r, arguments.expansions), 3)
        fast = spent.sum() / seconds
        print(f"{name}: best-first, {arguments.expansions} expansions, one core")
        print(f"  lockstep, {len(roots)} problems     {fast:10,.0f} expansions a CPU-second")
        score = scorer(reward, roots.actions.shape[1])
        free = remembered(score)
        loop(few, free, arguments.expansions, by_node=True)
        styles = {
            "one child at a time": (score, False),
            "one node at a time": (score, True),
            "free scores": (free, True),
        }
        for label, (called, by_node) in styles.items():
            one_solved, one_spent, one_seconds = measure(
                lambda c=called, b=by_node: loop(few, c, arguments.expansions, by_node=b), 1
            )
            slow = one_spent.sum() / one_seconds
            same = (one_solved == solved[: len(few)]) & (one_spent == spent[: len(few)])
            print(f"  {label:<25} {slow:10,.0f}   ratio {fast / slow:6.1f}   equal on {same.mean():.1%} of problems")


if __name__ == "__main__":
    main()
