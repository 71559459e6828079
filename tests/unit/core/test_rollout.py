"""The one rollout loop, on walks that can be followed by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepward.core.interfaces import Status
from stepward.core.rollout import complete, continuations, ends, forked, rollout, running
from stepward.core.seeding import Rng
from stepward.domains.walk.proposer import SoftmaxWalker, UniformWalker
from stepward.domains.walk.states import Walk, WalkStates, advance, roots

DOMAIN = Walk()


class PlusOne:
    """Without chance: one up."""

    num_parameters = nfe = 0

    def propose(self, states: WalkStates, *, num_candidates: int, rng: Rng) -> WalkStates:
        assert num_candidates == 1 and len(states) == len(rng)
        assert (DOMAIN.status(states) == Status.OPEN).all(), "what is over is not proposed for"
        return advance(states, np.zeros(len(states), np.int64))


def walks() -> WalkStates:
    """Distances 0, 2, 5 and 1 to a target above, three steps each."""
    return roots(np.array([7, 5, 2, 6]), np.full(4, 7), 3)


def test_rows_leave_when_they_are_over_and_every_step_says_who_took_it() -> None:
    steps = list(rollout(walks(), domain=DOMAIN, proposer=PlusOne(), streams=forked(Rng.from_seed(0, 4, "x"))))
    assert [step.rows.tolist() for step in steps] == [[1, 2, 3], [1, 2], [2]]
    assert [step.rows[step.last].tolist() for step in steps] == [[3], [1], [2]]
    assert [step.children.current.tolist() for step in steps] == [[6, 3, 7], [7, 4], [5]]
    assert all((step.children.current == step.parents.current + 1).all() for step in steps)
    last = ends(walks(), steps)
    assert last.current.tolist() == [7, 7, 5, 7]
    assert last.steps_left.tolist() == [3, 1, 0, 2]


def test_a_limit_of_steps_for_all_or_for_each_row() -> None:
    how = {"domain": DOMAIN, "proposer": PlusOne(), "streams": forked(Rng.from_seed(0, 4, "x"))}
    assert ends(walks(), rollout(walks(), max_steps=1, **how)).current.tolist() == [7, 6, 3, 7]
    each = np.array([2, 0, 2, 2])
    assert ends(walks(), rollout(walks(), max_steps=each, **how)).current.tolist() == [7, 5, 4, 7]
    assert list(rollout(walks(), max_steps=0, **how)) == []


@given(rows=st.lists(st.integers(0, 39), min_size=1, max_size=40, unique=True), runs_on=st.booleans())
def test_a_row_does_not_depend_on_its_batch(rows: list[int], runs_on: bool) -> None:
    generator = np.random.default_rng(0)
    states = roots(generator.integers(-9, 9, 40), generator.integers(-9, 9, 40), 8)
    kind, rng = running if runs_on else forked, Rng.from_seed(0, 40, "x")
    whole = complete(states, domain=DOMAIN, proposer=SoftmaxWalker(), streams=kind(rng))
    some = complete(states.take(rows), domain=DOMAIN, proposer=SoftmaxWalker(), streams=kind(rng.take(rows)))
    assert np.array_equal(whole.take(rows).actions, some.actions)


def test_running_streams_go_on_where_they_stopped() -> None:
    """Uniform actions, one a step, are the numbers that one call would have drawn at once."""
    states, rng = roots(np.zeros(5, np.int64), np.full(5, 10_000), 6), Rng.from_seed(3, 5, "x")
    at_once = rng.take(slice(None)).integers(0, 6, 6)
    last = complete(states, domain=DOMAIN, proposer=UniformWalker(), streams=running(rng))
    assert np.array_equal(last.actions, at_once)


def test_continuations_tell_each_end_once_whatever_is_in_flight() -> None:
    rng = Rng.from_seed(0, 4, "x")
    counts = []
    for in_flight in (1, 7, 1000):
        found = np.zeros(4)
        how = {"domain": DOMAIN, "proposer": SoftmaxWalker(), "rng": rng, "in_flight": in_flight}
        for rows, last in continuations(walks(), 5, **how):
            assert (DOMAIN.status(last) != Status.OPEN).all()
            found += np.bincount(rows, last.current == 7, 4)
            counts.append(len(rows))
        assert sum(counts) == 20
        counts.clear()
        assert found[0] == 5
        first = found if in_flight == 1 else first
        assert np.array_equal(found, first)


class Unfinished(SoftmaxWalker):
    """Claims to complete, and does not."""

    def complete(self, states: WalkStates, *, num_continuations: int, rng: Rng) -> WalkStates:
        return states.take(np.repeat(np.arange(len(states)), num_continuations))


def test_a_completer_that_leaves_rollouts_open_is_refused() -> None:
    with pytest.raises(ValueError, match=r"4 states x 2 rollouts = 8 .* got 8, 6 of them open"):
        list(continuations(walks(), 2, domain=DOMAIN, proposer=Unfinished(), rng=Rng.from_seed(0, 4, "x"), in_flight=9))
