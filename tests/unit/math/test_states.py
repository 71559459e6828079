"""States of solutions: what they are made of, what a search sees of them, and their way through a table."""

import numpy as np
import pyarrow as pa
import pytest

from stepward.core.interfaces import Status
from stepward.domains.math.states import (
    Ending,
    MathDomain,
    MathStates,
    math_states,
    prefix_keys,
    roots,
    short_texts,
    state_columns,
)


def objects(*values: str) -> np.ndarray:
    return np.array(values, dtype=object)


@pytest.fixture
def states() -> MathStates:
    base = roots(objects("q", "q", "r"), objects("1", "1", "2"))
    return base.replace(
        problem=np.array([0, 0, 1]),
        text=objects("x\n", "x\n#### 1", "x\n"),
        num_steps=np.array([1, 2, 1]),
        num_tokens=np.array([4, 7, 4]),
        last_tokens=np.array([4, 3, 4]),
        log_prob=np.array([-1.5, -2.25, -0.125]),
        ending=np.array([Ending.OPEN, Ending.ANSWERED, Ending.OUT_OF_STEPS], np.int8),
    )


def test_status_tells_finished_from_dead_and_open(states: MathStates) -> None:
    assert MathDomain().status(states).tolist() == [Status.OPEN, Status.COMPLETE, Status.DEAD]
    every = states.take(np.zeros(len(Ending), np.int64)).replace(ending=np.array(list(Ending), np.int8))
    assert MathDomain().status(every).tolist() == [Status.OPEN, Status.COMPLETE] + [Status.DEAD] * 4


def test_keys_stand_for_text_and_ending_within_a_problem(states: MathStates) -> None:
    keys = MathDomain().keys(states)
    assert len(set(keys.tolist())) == 3  # rows 0 and 2 have one text but not one future
    same = states.replace(log_prob=states.log_prob - 1, num_tokens=states.num_tokens + 1)
    assert np.array_equal(MathDomain().keys(same), keys)


def test_prefix_keys_tell_questions_apart(states: MathStates) -> None:
    keys = prefix_keys(states)
    assert keys[0] != keys[2]
    assert prefix_keys(states.replace(question=objects("q", "q", "q")))[2] == keys[0]


def test_a_table_gives_the_states_back(states: MathStates) -> None:
    names = {"problem_id": ["p0", "p0", "p1"], "question": states.question, "answer": states.reference}
    table = pa.table({**{k: pa.array(v, pa.string()) for k, v in names.items()}, **state_columns(states)})
    again = math_states(table)
    for name in ("problem", "question", "reference", "text", "num_steps", "num_tokens", "last_tokens", "ending"):
        assert getattr(again, name).tolist() == getattr(states, name).tolist(), name
    assert again.log_prob.tolist() == states.log_prob.tolist()


def test_problems_are_solutions_without_a_line() -> None:
    table = pa.table({"id": ["a", "b"], "question": ["q", "r"], "answer": ["1", "2"]})
    states = math_states(table)
    assert states.problem.tolist() == [0, 1] and states.text.tolist() == ["", ""]
    assert (MathDomain().status(states) == Status.OPEN).all()


def test_short_texts_for_drawings(states: MathStates) -> None:
    lines = objects("Leo is 9 coins ahead of Eva: 19+9=28\n", "a: 1\n#### 28", "")
    assert short_texts(states.replace(text=lines)) == ["19+9=28", "#### 28", "?"]


def test_lone_surrogates_in_a_text_are_no_trouble() -> None:
    """A JSON file may hold half of a UTF-16 pair; hashing must not fail on it."""
    assert len(prefix_keys(roots(objects("\ud800"), objects("1")))) == 1
