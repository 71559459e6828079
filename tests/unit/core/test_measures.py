"""Measures of verifiers: what they name is what they give."""

import numpy as np
import pytest

from pde_world import PROBLEMS, roots
from stepward.core.batch import ArrayBatch
from stepward.core.measures import SOLVED, Measure, measure_named, measured, measures_of
from stepward.domains.pde.metrics import CONVENTIONS, per_frame
from stepward.domains.pde.references import trajectories
from stepward.domains.pde.verifier import ReferenceVerifier


class Plain:
    def outcome(self, states):
        return np.array([0.0, 1.0])


STATES = ArrayBatch(problem=np.arange(2))


def test_a_verifier_that_names_no_measure_says_solved_or_not():
    assert measures_of(Plain()) == (SOLVED,) and SOLVED.binary and SOLVED.higher_is_better
    assert measured(Plain(), STATES, STATES)["solved"].tolist() == [0, 1]


def test_a_measure_that_was_not_named_or_is_no_value_a_state_is_an_error():
    class Wrong(Plain):
        measures = (Measure("error", "error"),)

        def measure(self, roots, found):
            return {"error": np.zeros(1)}

    with pytest.raises(ValueError, match=r"Wrong.measure: expected a value a state, shape \(2,\), of each of"):
        measured(Wrong(), STATES, STATES)
    with pytest.raises(ValueError, match=r"Unknown measure 'mse': expected one of \['error'\]"):
        measure_named(Wrong(), "mse")


def test_medians_and_directions():
    values = np.array([1.0, 2.0, 9.0])
    assert (
        Measure("a", "").of_problems(values) == 4 and Measure("a", "", over_problems="median").of_problems(values) == 2
    )
    assert np.isnan(SOLVED.of_problems(values[:0]))
    assert Measure("a", "").beyond(values, 2).tolist() == [False, False, True]
    assert Measure("a", "", higher_is_better=True).beyond(values, 2).tolist() == [True, False, False]


def test_errors_of_fields_are_those_of_the_published_conventions_frame_by_frame():
    first, verifier = roots(), ReferenceVerifier()
    truth = trajectories(first.reference.tolist())
    steps = PROBLEMS.horizon
    noise = np.random.default_rng(0).normal(1, 0.1, (len(first), steps, *first.fields.shape[1:])).astype(np.float32)
    predicted = noise * np.stack([frames[1 : steps + 1] for frames in truth])
    rows = np.repeat(np.arange(len(first)), steps)
    found = first.take(rows).replace(
        frame=np.tile(np.arange(1, steps + 1), len(first)), fields=predicted.reshape(-1, *first.fields.shape[1:])
    )
    values = measured(verifier, first.take(rows), found)
    assert list(values) == [measure.name for measure in measures_of(verifier)] and set(values) > set(CONVENTIONS)
    target = np.stack([frames[1 : steps + 1] for frames in truth])
    for name, column in ((name, values[name]) for name in CONVENTIONS):
        assert np.array_equal(column.reshape(len(first), steps), per_frame(name, predicted, target)), name
    broken = found.replace(fields=np.full_like(found.fields, np.nan))
    assert all(np.isnan(column).all() for column in measured(verifier, first.take(rows), broken).values())


def test_a_binary_measure_has_one_value_a_problem():
    with pytest.raises(ValueError, match="expected one value a problem where it is binary"):
        Measure("right", "", binary=True, per_step=True)
