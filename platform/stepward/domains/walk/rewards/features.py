"""What a reward model of the number walk sees of a state: its arithmetic, spelt out for a small network.

All features follow from (current, target, steps left). The value of a state is a rugged function of these numbers (a
remainder decides whether doubling helps), which is why raw numbers alone learn slowly: on numbers, distance and steps
left alone a network reached a sibling rank correlation of .61 after 10 epochs, on these features .85 after 15.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from stepward.domains.walk.states import WalkStates, roots

MAX_STEPS_SEEN = 10  # budgets beyond it look alike
PATH_STEPS = 9
NEAR = 12  # distances up to here are told apart one by one
LARGE = 2**28  # beyond it no step budget brings a number back, and doubling stays within 32 bits


def features(states: WalkStates) -> Float32[np.ndarray, "n num_features"]:
    """One row a state, all values of order 1.

    Numbers and distances (linear and logarithmic), the steps left, remainders; the distance after each of the six
    actions, and after the best second action; the path that always steps closest to the target; the margins of
    `reach`. The rows are a view of feature-major memory, in which every feature is computed as one contiguous line.
    """
    current = np.clip(states.current, -LARGE, LARGE).astype(np.int32)
    target, left = states.target.astype(np.int32), states.steps_left.astype(np.int32)
    after = _successors(current)  # [6, n]
    low, high = reach(current, target, left)
    rows = [
        *_numbers(current, target, left),
        *_remainders(current, target),
        *_distances(target - after),
        *_second_steps(after, target),
        *_greedy_path(current, target, left),
        _clipped(target - low),
        _clipped(high - target),
    ]
    out = np.empty((len(rows), len(current)), np.float32)
    for index, row in enumerate(rows):
        out[index] = row
    return out.T


def numbers(states: WalkStates) -> Float32[np.ndarray, "n 3"]:
    """Current number, target and steps left, of order 1: nothing that says how to get from one to the other."""
    shown = [_clipped(states.current), _clipped(states.target), states.steps_left / np.float32(10)]
    return np.stack(shown, axis=1).astype(np.float32)


def num_features() -> int:
    """Length of a feature vector."""
    return features(roots(np.zeros(1, np.int64), np.ones(1, np.int64), 1)).shape[1]


def reachable(states: WalkStates) -> Bool[np.ndarray, " n"]:
    """False where the target cannot be reached for sure, by `reach`; True may still be wrong."""
    low, high = reach(states.current, states.target, states.steps_left)
    return (low <= states.target) & (states.target <= high)


def reach(
    current: Int[np.ndarray, " n"], target: Int[np.ndarray, " n"], left: Int[np.ndarray, " n"]
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """The least interval that holds every number within `left` steps, by interval arithmetic on the six actions."""
    low, high = np.clip(current, -LARGE, LARGE).astype(np.int32), np.clip(current, -LARGE, LARGE).astype(np.int32)
    for step in range(int(left.max(initial=0))):
        going = left > step
        below = np.minimum(np.minimum(low - 3, low * 2), low >> 1)
        above = np.maximum(np.maximum(high + 3, high * 2), high >> 1)
        low = np.where(going, np.maximum(np.minimum(low, below), -LARGE), low)
        high = np.where(going, np.minimum(np.maximum(high, above), LARGE), high)
    return low, high


def _numbers(current: np.ndarray, target: np.ndarray, left: np.ndarray) -> list[np.ndarray]:
    gap = target - current
    steps = np.minimum(left, MAX_STEPS_SEEN)
    shown = [_clipped(current), _clipped(target), _clipped(gap), np.abs(_clipped(gap)), left / np.float32(10)]
    shown += [_log(gap), _log(current), _log(target)]
    return shown + [steps == k for k in range(MAX_STEPS_SEEN + 1)]


def _remainders(current: np.ndarray, target: np.ndarray) -> list[np.ndarray]:
    gap = target - current
    distance = np.abs(gap)
    shown = [current & 1, target & 1, (current & 3) / np.float32(4), (target & 3) / np.float32(4)]
    for period, wave in _WAVES.items():
        phase = wave[:, gap % period]
        shown += [phase[0], phase[1]] if period > 2 else [phase[0]]
    return shown + [distance == k for k in range(1, NEAR + 1)]


def _distances(gaps: np.ndarray) -> list[np.ndarray]:
    return [*_log(gaps), *np.abs(_clipped(gaps)), *(gaps == 0)]


def _second_steps(after: np.ndarray, target: np.ndarray) -> list[np.ndarray]:
    """For each first action, how near the best second one comes, and whether it hits."""
    nearest = np.abs(_successors(after) - target).min(axis=0)  # [6, n]
    return [*_log(nearest), *(nearest == 0)]


def _greedy_path(current: np.ndarray, target: np.ndarray, left: np.ndarray) -> list[np.ndarray]:
    """Gap and arrival after each step of the path that always moves as close to the target as it can."""
    shown, columns = [], np.arange(len(current))
    for step in range(PATH_STEPS):
        after = _successors(current)
        best = np.abs(after - target).argmin(axis=0)
        moving = (current != target) & (left > step)
        current = np.where(moving, after[best, columns], current)
        shown += [_log(target - current), current == target]
    return shown


def _successors(current: Int[np.ndarray, "*shape"]) -> Int[np.ndarray, 6 * shape]:
    """The numbers after each action, in the order of `ACTIONS`: `states.successors`, feature-major and in 32 bits."""
    return np.stack([current + 1, current - 1, current * 2, current >> 1, current + 3, current - 3])


def _log(numbers: Int[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """sign(x) log(1 + |x|) / 4."""
    return np.copysign(np.log(np.abs(numbers) + np.float32(1)) * np.float32(0.25), numbers, dtype=np.float32)


def _clipped(numbers: Int[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """X / 50 within ±4."""
    return np.clip(numbers, -200, 200) * np.float32(0.02)


# Cosine and sine of the remainder of the gap, for periods that the actions ±1, ±3, ×2 and ÷2 care about.
_WAVES = {
    period: np.stack(
        [np.cos(2 * np.pi * np.arange(period) / period), np.sin(2 * np.pi * np.arange(period) / period)]
    ).astype(np.float32)
    for period in (2, 3, 4, 6)
}
