"""The true optimum, against trying every walk."""

import numpy as np

from stepward.core.wing import find_wing
from stepward.domains.walk.optimum import NEVER, optimal_steps
from stepward.domains.walk.rewards.simple import exact_value
from stepward.domains.walk.states import roots, successors
from stepward.evaluate.settings import evaluate_settings

WING = find_wing("walk")


def test_least_steps_are_those_found_by_trying_all_walks():
    starts, most = np.array([-37, 0, 5, 23]), 4
    reached = {int(start): {int(start): 0} for start in starts}
    for seen in reached.values():
        for step in range(1, most + 1):
            for number in {int(n) for at in list(seen) for n in successors(np.array([at]))[0]}:
                seen.setdefault(number, step)
    targets = np.arange(-50, 51)
    current, target = (grid.ravel() for grid in np.meshgrid(starts, targets, indexing="ij"))
    found = optimal_steps(current, target, np.full(len(current), most))
    assert found.tolist() == [reached[c].get(t, NEVER) for c, t in zip(current.tolist(), target.tolist(), strict=True)]


def test_the_optimum_is_finite_exactly_where_the_policy_can_arrive_and_is_the_bound_of_an_evaluation():
    rng = np.random.default_rng(0)
    states = roots(rng.integers(-50, 51, 400), rng.integers(-50, 51, 400), 10)
    states = states.replace(current=rng.integers(-1500, 1500, 400), steps_left=rng.integers(0, 11, 400))
    steps = optimal_steps(states.current, states.target, states.steps_left)
    assert ((steps < NEVER) == (exact_value(states) > 0)).all() and (steps < NEVER).any() and (steps == NEVER).any()
    assert evaluate_settings(WING)().bounds == ["optimal"]


def test_a_model_on_raw_numbers_sees_nothing_else_and_knows_only_which_walks_are_over():
    learner = WING.learners["mlp"](inputs="numbers", hidden_width=4, depth=1)
    weights = {name: value.detach().numpy() for name, value in learner.module().state_dict().items()}
    states = roots(np.array([7, 7, 7]), np.array([7, 8, 50]), 1).replace(steps_left=np.array([1, 0, 1]))
    assert learner.encode(states)["features"].shape == (3, 3)
    scores = learner.reward(weights).score(states, states)
    assert scores[:2].tolist() == [1.0, 0.0] and 0 < scores[2] < 1, "50 is out of reach, and arithmetic would say so"
