"""Monte-Carlo labels against the truth, and their independence of the batch."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stepward.core import rollout
from stepward.core.seeding import Rng
from stepward.domains.walk import SoftmaxSettings, wing
from stepward.domains.walk.data import WalkMining, WalkProblems
from stepward.domains.walk.policy import MAX_TARGET, REACH, SoftmaxPolicy
from stepward.domains.walk.states import WalkStates, roots
from stepward.label import count_successes


@pytest.fixture(scope="module")
def partials() -> pa.Table:
    problems = WalkProblems(num_train=100).problems("train", 0)[0]
    return WalkMining(per_problem=20).mine(problems, 0)


def label(rows: pa.Table, num_rollouts: int, **options: int) -> np.ndarray:
    return count_successes(
        wing.states(rows),
        domain=wing.domain,
        proposer=SoftmaxSettings().build(),
        verifier=wing.verifier(),
        num_rollouts=num_rollouts,
        rng=Rng.from_ids(0, rows["id"].to_pylist(), "label"),
        **options,
    )


def test_labels_agree_with_exact_values(partials: pa.Table) -> None:
    """successes ~ Binomial(M, V^π): mean p̂ − V^π and mean squared z-score within 4 standard errors."""
    M = 64
    share, value = label(partials, M) / M, wing.known.exact(wing.states(partials))
    variance = value * (1 - value) / M
    assert abs((share - value).sum()) < 4 * np.sqrt(variance.sum())
    inner = (value > 0.01) & (value < 0.99)
    assert inner.sum() > 1000
    squares = (share - value)[inner] ** 2 / variance[inner]
    kurtosis = (
        2 + (1 - 6 * value * (1 - value))[inner] / (M * value * (1 - value))[inner]
    )  # variance of z² of a binomial
    assert abs(squares.mean() - 1) < 4 * np.sqrt(kurtosis.sum()) / inner.sum()
    assert np.array_equal(share[value == 1], np.ones((value == 1).sum()))
    assert np.array_equal(share[value == 0], np.zeros((value == 0).sum()))


def test_wilson_intervals_cover_exact_values(partials: pa.Table) -> None:
    """95 % intervals hold V^π for 95 % of the rows, within 4 standard errors (SE .0049 for 2,000 rows) and the 1 % of
    their own known error (Brown, Cai, DasGupta 2001, Statistical Science 16, figure 5)."""
    M, z = 256, 1.959964
    share, value = label(partials, M) / M, wing.known.exact(wing.states(partials))
    centre = (share + z**2 / (2 * M)) / (1 + z**2 / M)
    half = z / (1 + z**2 / M) * np.sqrt(share * (1 - share) / M + z**2 / (4 * M**2))
    inner = (value > 0) & (value < 1)
    covered = (np.abs(value - centre) <= half)[inner].mean()
    assert abs(covered - 0.95) < 4 * np.sqrt(0.95 * 0.05 / inner.sum()) + 0.01


@settings(max_examples=15)
@given(order=st.permutations(range(60)), cuts=st.sets(st.integers(1, 59), max_size=3), in_flight=st.integers(50, 500))
def test_labels_do_not_depend_on_the_batch(
    partials: pa.Table, order: list[int], cuts: set[int], in_flight: int
) -> None:
    few = partials.slice(0, 60)
    expected = label(few, 8)
    shuffled = few.take(order)
    edges = [0, *sorted(cuts), 60]
    parts = [label(shuffled.slice(a, b - a), 8, in_flight=in_flight) for a, b in itertools.pairwise(edges)]
    assert np.array_equal(np.concatenate(parts), expected[order])


def test_rollouts_are_independent(partials: pa.Table) -> None:
    """Counts of one row with other streams vary as a binomial does: repeated streams would give 0 or M only."""
    row = partials.filter(pa.array((np.abs(wing.known.exact(wing.states(partials)) - 0.5) < 0.1).tolist())).slice(0, 1)
    many = pa.concat_tables([row.set_column(0, "id", pa.array([f"{i}"])) for i in range(400)])
    value = float(wing.known.exact(wing.states(row))[0])
    counts = label(many, 32)
    expected = 32 * value * (1 - value)
    assert abs(counts.var() - expected) < 4 * expected * np.sqrt(2 / 400)


class _NoProposer:
    num_parameters = nfe = 0

    def propose(self, states: WalkStates, *, num_candidates: int, rng: Rng) -> WalkStates:
        raise AssertionError("nothing is left to propose")


def test_finished_states_need_no_rollout() -> None:
    """On the target: M successes; out of steps elsewhere: none."""
    states = roots(np.array([5, 5]), np.array([5, 6]), 10).replace(steps_left=np.array([3, 0]))
    counts = count_successes(
        states, domain=wing.domain, proposer=_NoProposer(), verifier=wing.verifier(), num_rollouts=7,
        rng=Rng.from_seed(0, 2, "x"),
    )  # fmt: skip
    assert counts.tolist() == [7, 0]


class _Half:
    def outcome(self, states: WalkStates) -> np.ndarray:
        return np.full(len(states), 0.5)


def test_outcomes_other_than_zero_and_one_are_refused(partials: pa.Table) -> None:
    with pytest.raises(ValueError, match=r"expected outcomes 0 .* or 1 .*got \[0\.5\]"):
        count_successes(
            wing.states(partials), domain=wing.domain, proposer=SoftmaxSettings().build(), verifier=_Half(),
            num_rollouts=4, rng=Rng.from_seed(0, len(partials), "x"),
        )  # fmt: skip


def test_rollouts_without_an_end_are_refused(partials: pa.Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "MAX_STEPS", 3)
    with pytest.raises(ValueError, match=r"complete or dead within 3 steps.*step budget"):
        label(partials, 4)


@settings(max_examples=40)
@given(offset=st.integers(-REACH - 60, REACH + 60), target=st.integers(-60, 60), temperature=st.floats(0.2, 5))
@example(offset=-REACH, target=3, temperature=1.0)
@example(offset=REACH - 1, target=3, temperature=1.0)
@example(offset=REACH, target=3, temperature=1.0)
@example(offset=0, target=MAX_TARGET + 1, temperature=1.0)
def test_the_policy_table_gives_the_actions_of_the_formula(offset: int, target: int, temperature: float) -> None:
    """Inside, outside and at the edges of the table: inversion of the cumulated distribution."""
    policy = SoftmaxPolicy(temperature)
    uniform = (np.arange(100) + 0.5) / 100
    here, goal, uniform = np.repeat([target + offset, target], 100), np.full(200, target), np.tile(uniform, 2)
    cumulated = policy.probabilities(here, goal).cumsum(axis=1)
    expected = (uniform[:, None] > cumulated[:, :-1]).sum(axis=1)
    assert np.array_equal(policy.actions(here, goal, uniform), expected)
