"""Tables of exact values: made where they are asked for, once, and within their memory."""

import numpy as np
import pytest

from stepward.domains.walk import wing
from stepward.domains.walk.exact import ExactValues
from stepward.domains.walk.rewards import simple
from stepward.domains.walk.states import roots


def states(num: int, targets: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return (
        generator.integers(-300, 301, num),
        generator.integers(-300, 301, targets)[generator.integers(0, targets, num)],
        generator.integers(0, 11, num),
    )


def test_only_targets_that_are_asked_for_get_a_table_and_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    fill = ExactValues._fill
    monkeypatch.setattr(
        ExactValues, "_fill", lambda self, table, target: (made.append(target), fill(self, table, target))
    )
    tables, one = ExactValues(300, 10), states(500, 20)
    first = tables.value(*one)
    assert sorted(made) == sorted(set(one[1].tolist()))
    assert np.array_equal(tables.value(*one), first)
    assert len(made) == len(set(made))


def test_batches_of_one_job_share_the_tables_whatever_targets_they_hold() -> None:
    """Largest targets differ from batch to batch; what they are read from must not."""
    simple.exact_values.cache_clear()
    for most in (300, 299, 201, 287):
        wing.known.exact(roots(np.array([3]), np.array([most]), 10))
    assert simple.exact_values.cache_info().misses == 1


def test_little_memory_changes_no_value() -> None:
    one = states(2000, 100)
    whole = ExactValues(300, 10)
    size = whole._tables[0].nbytes
    small = ExactValues(300, 10, table_bytes=7 * size + size // 2)
    assert small.capacity == 7
    assert small._tables.nbytes <= 7.5 * size
    expected = whole.value(*one)
    assert 0.1 < expected.mean() < 0.9
    assert np.array_equal(small.value(*one), expected)
    again = states(300, 5, seed=1)
    assert np.array_equal(small.value(*again), whole.value(*again)), "tables that gave way are made anew"
    assert np.array_equal(small.value(*one), expected)
