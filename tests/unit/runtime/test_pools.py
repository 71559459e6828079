"""How items of work are put into tasks of an actor pool."""

import math
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepward.runtime.pools import MAX_ITEMS, TASKS_PER_ACTOR, items_per_task, limited


@pytest.mark.parametrize(("items", "actors", "expected"), [(1, 8, 1), (20, 2, 1), (80, 1, 5), (10_000, 2, MAX_ITEMS)])
def test_few_items_travel_alone_and_many_together(items: int, actors: int, expected: int) -> None:
    assert items_per_task(items, actors) == expected


@given(items=st.integers(1, 5000), actors=st.integers(1, 64))
def test_every_actor_gets_many_tasks_where_there_are_items(items: int, actors: int) -> None:
    tasks = math.ceil(items / items_per_task(items, actors))
    assert tasks >= min(items, TASKS_PER_ACTOR * actors)


HANG = """
import re, sys
from stepward.runtime.pools import limited
with limited(1):
    re.match("(a+)+$", "a" * 64 + "b")  # never ends, and holds the interpreter all the time
"""


def test_a_block_that_hangs_ends_its_process_and_says_where() -> None:
    done = subprocess.run([sys.executable, "-c", HANG], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "line 5 in <module>" in done.stderr


def test_blocks_within_the_limit_end_nothing() -> None:
    for seconds in (0.2, None):
        with limited(seconds):
            pass
    time.sleep(0.4)
