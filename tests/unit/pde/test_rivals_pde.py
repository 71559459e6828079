"""The best constant and the one read off the state: what no choice among candidates should lose to."""

import numpy as np
import pytest

from pde_world import PROBLEMS, roots, surrogate
from stepward.core.rivals import Material
from stepward.core.seeding import Rng
from stepward.core.storage import Folder
from stepward.core.wing import find_wing
from stepward.domains.pde.generators import DeterministicGenerator
from stepward.domains.pde.generators.steady import (
    SHARPER,
    BestConstant,
    ReadOffState,
    SteadyGenerator,
    constant,
    rollout_error,
)


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    folder = Folder(str(tmp_path_factory.mktemp("labels")))
    parts = [PROBLEMS.problems(split, 0)[0] for split in ("train", "validation", "test")]
    import pyarrow as pa

    names = [name for name, part in zip(("train", "validation", "test"), parts, strict=True) for _ in range(len(part))]
    folder.write_table("problems.parquet", pa.concat_tables(parts).append_column("split", pa.array(names)))
    return Material(folder, find_wing("pde"), lambda: DeterministicGenerator(surrogate()), "nrmse", 0)


def test_a_constant_of_nothing_is_the_surrogate_and_costs_as_much():
    network, states = surrogate(), roots()
    plain, steady = DeterministicGenerator(network), SteadyGenerator(network, constant(network, 0.0, 0.0))
    found = [p.propose(states, num_candidates=2, rng=Rng.from_seed(0, len(states), "x")) for p in (plain, steady)]
    assert np.array_equal(found[0].fields, found[1].fields)
    assert steady.charged_passes(1) == 1.0


def test_the_best_constant_is_the_best_of_its_grid_on_validation(material):
    fitted = BestConstant().fit(material)
    network, problems = surrogate(), material.problems("validation")
    errors = [rollout_error(SteadyGenerator(network, constant(network, a, 0.0)), problems, "nrmse") for a in SHARPER]
    best = rollout_error(BestConstant().proposer(fitted.weights, material.policy()), problems, "nrmse")
    assert best <= min(errors)
    assert fitted.chosen["sharper"] == SHARPER[int(np.argmin(errors))]


def test_coefficients_read_off_states_explain_training_steps_better_than_a_constant(material):
    """With hardly a penalty, the fit minimises the weighted error of true steps: no constant is better."""
    rival, network = ReadOffState(), surrogate()
    grams, sides, _, num = rival._normal_equations(network, material)
    solved = np.linalg.solve(grams + 1e-9 * np.eye(len(grams)), sides)

    def saved(linear):  # of the weighted error of true steps
        return 2 * sides @ linear - linear @ grams @ linear

    flat = np.zeros_like(solved).reshape(2, -1)
    rows = np.arange(2) * flat.shape[1]
    flat[:, 0] = np.linalg.solve(grams[np.ix_(rows, rows)], sides[rows])
    assert saved(solved) > saved(flat.reshape(-1)) > 0
    fitted = rival.fit(material)
    assert fitted.weights["linear"].shape == (2, 17) and fitted.chosen["training_states"] == num == 8 * 4
    made = rival.proposer(fitted.weights, material.policy())
    assert np.isfinite(rollout_error(made, material.problems("validation"), "nrmse"))
