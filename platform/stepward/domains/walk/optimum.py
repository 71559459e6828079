"""The true optimum of the number walk: the least number of steps from any number to the target.

No guide can solve a problem whose optimum exceeds its steps, and none can solve one in fewer expansions. The value V^π
of the policy that was labelled is no such bound: it says how likely a random walker is to arrive.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Int, Int16

from stepward.domains.walk.states import successors

NEVER = 10_000  # steps where no number within reach leads to the target


def optimal_steps(
    current: Int[np.ndarray, " n"], target: Int[np.ndarray, " n"], steps_left: Int[np.ndarray, " n"]
) -> Int[np.ndarray, " n"]:
    """Least steps to the target, `NEVER` where more than `steps_left` are needed."""
    found, most = np.full(len(current), NEVER), 10 * -(-int(steps_left.max(initial=1)) // 10)
    for goal in np.unique(target):
        rows = np.flatnonzero(target == goal)
        table = _table(int(goal), most)
        radius = (len(table) - 1) // 2
        inside = rows[np.abs(current[rows]) <= radius]
        found[inside] = table[current[inside] + radius]
    return np.where(found <= steps_left, found, NEVER)


@lru_cache(maxsize=512)
def _table(target: int, max_steps: int) -> Int16[np.ndarray, " numbers"]:
    """Least steps from every number within ±R, by dynamic programming over the steps.

    From beyond R = (|target| + 3) · 2^max_steps nothing arrives: a step halves a number at best. R is cut to 2^15,
    which no shortest walk between numbers of a few thousands passes.
    """
    radius = min((abs(target) + 3) * 2**max_steps, 2**15)
    numbers = np.arange(-radius, radius + 1)
    after = successors(numbers)
    inside = np.abs(after) <= radius
    index = np.where(inside, after + radius, 0)
    steps = np.where(numbers == target, 0, NEVER).astype(np.int16)
    for _ in range(max_steps):
        nearest = np.where(inside, steps[index], NEVER).min(axis=1) + 1
        steps = np.minimum(np.minimum(steps, nearest), NEVER).astype(np.int16)
    return steps
