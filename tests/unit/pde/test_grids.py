"""Time step, constants and boundary of a file reach everything that assumes something of them."""

import numpy as np
import pytest
import torch

from stepward.core.seeding import Rng
from stepward.core.storage import Folder
from stepward.domains.pde.combine import refine
from stepward.domains.pde.data import PDEProblems, pde_states
from stepward.domains.pde.generators import (
    DeterministicGenerator,
    SolverProposer,
    SolverSettings,
    StructuredGenerator,
    StructuredSettings,
)
from stepward.domains.pde.generators.direct import blur
from stepward.domains.pde.initial_conditions import sample_euler
from stepward.domains.pde.readers import FieldBlock, Grid, write_parquet
from stepward.domains.pde.references import grid_of, keep
from stepward.domains.pde.rewards import ARMSettings, CNNSettings, FeatureCriticSettings, PhysicsSettings
from stepward.domains.pde.solver import CONSERVED_CHANNELS, EulerSolver
from stepward.domains.pde.states import PDE, advance
from stepward.domains.pde.surrogates import (
    CorrectedSettings,
    SurrogateFit,
    UNetSettings,
    build_surrogate,
    fit_surrogate,
    load_surrogate,
    save_surrogate,
)
from stepward.domains.pde.verifier import ReferenceVerifier

GAMMA, DT, EXTENT = 5 / 3, 0.03, (1.0, 2.0)


def _file(path, *, boundary=("periodic", "periodic"), gamma=GAMMA, rows=10):
    """Flows of another gas, on another rectangle and at other times than the generated ones."""
    solver = EulerSolver(gamma=gamma, boundary=boundary, extent=EXTENT)
    initial = sample_euler("gaussian", seed=1, indices=range(rows), resolution=16, gamma=gamma)
    fields = solver.simulate(initial, num_steps=2, dt=DT)
    spacing = (EXTENT[0] / 16, EXTENT[1] / 16)
    grid = Grid(path.name, CONSERVED_CHANNELS, ("x", "y"), spacing, DT, boundary, {"gamma": gamma})
    write_parquet([FieldBlock(tuple(f"{path.name}:{row}" for row in range(rows)), fields, grid)], path)
    return pde_states(PDEProblems(path=str(path), horizon=2).problems("train", 0)[0])


def _truth(states):
    following = ReferenceVerifier().truth(states.replace(frame=states.frame + 1))
    return advance(states, following.astype(np.float32), states.fields, np.arange(len(states), dtype=np.uint64))


def _streams(states):
    return Rng.from_seed(0, len(states), "x")


@pytest.mark.parametrize("boundary", [("periodic", "periodic"), ("wall", "periodic"), ("outflow", "wall")])
def test_solver_and_residual_take_what_the_file_says(tmp_path, boundary):
    """The file's own solver is the truth, so a step by its constants has no error and no residual."""
    states = _file(tmp_path / "gas.parquet", boundary=boundary)
    truth = _truth(states)
    step = SolverProposer(SolverSettings()).propose(states, num_candidates=1, rng=_streams(states))
    np.testing.assert_allclose(step.fields, truth.fields, atol=2e-5)
    score = PhysicsSettings(positivity=0).build(PDE()).score(states, truth)
    assert (score > -1e-5).all()
    for wrong in ({"gamma": 1.4}, {"dt": 0.05}):
        assert (PhysicsSettings(positivity=0, **wrong).build(PDE()).score(states, truth) < 100 * score - 1e-3).all()
        other = SolverProposer(SolverSettings(**wrong)).propose(states, num_candidates=1, rng=_streams(states))
        assert np.abs(other.fields - truth.fields).max() > 1e-2


def test_a_batch_of_several_files_takes_each_ones_own(tmp_path):
    one, two = _file(tmp_path / "one.parquet"), _file(tmp_path / "two.parquet", gamma=1.2, boundary=("wall", "wall"))
    both = one.concat([one, two]).take(np.array([0, 7, 1, 8]))
    reward = PhysicsSettings().build(PDE())
    together = reward.score(both, _truth(both))
    apart = [reward.score(part, _truth(part)) for part in (one.take([0, 1]), two.take([0, 1]))]
    np.testing.assert_array_equal(together, np.stack(apart, axis=1).ravel())


def test_nothing_is_assumed_of_trajectories_in_memory(tmp_path):
    states = _file(tmp_path / "gas.parquet")
    name = keep("memory/unknown", np.zeros((2, 4, 16, 16), np.float32))
    unknown = states.replace(reference=np.array([name] * len(states)))
    with pytest.raises(ValueError, match="nobody said what the numbers mean: keep"):
        PhysicsSettings().build(PDE()).score(unknown, _truth(states))
    known = keep("memory/known", np.zeros((2, 4, 16, 16), np.float32), grid_of(str(states.reference[0])))
    kept = states.replace(reference=np.array([known] * len(states)))
    assert (PhysicsSettings().build(PDE()).score(kept, _truth(states)) > -1e-5).all()


def test_sums_that_a_boundary_does_not_keep_are_not_asked_of_it(tmp_path):
    walls = _file(tmp_path / "walls.parquet", boundary=("wall", "wall"))
    with pytest.raises(ValueError, match=r"momentum is not conserved where the boundary is wall, .*Set momentum=0"):
        ARMSettings().build(PDE()).score(walls, _truth(walls))
    assert (ARMSettings(momentum=0).build(PDE()).score(walls, _truth(walls)) > -1e-6).all()
    leaves = _file(tmp_path / "leaves.parquet", boundary=("outflow", "outflow"))
    with pytest.raises(ValueError, match="mass and energy are not conserved where the boundary is outflow"):
        ARMSettings(momentum=0).build(PDE()).score(leaves, _truth(leaves))
    with pytest.raises(ValueError, match="entropy may leave"):
        PhysicsSettings(entropy=1.0).build(PDE()).score(leaves, _truth(leaves))
    assert np.isfinite(PhysicsSettings().build(PDE()).score(leaves, _truth(leaves))).all()


def test_data_of_no_gas_have_no_physics(tmp_path):
    states = _file(tmp_path / "gas.parquet")
    grid = Grid("waves", ("u", "v", "w", "speed"), ("x", "y"), (0.1, 0.1), DT, ("periodic",) * 2)
    name = keep("memory/waves", np.zeros((2, 4, 16, 16), np.float32), grid)
    waves = states.replace(reference=np.array([name] * len(states)))
    with pytest.raises(ValueError, match=r"expected the fields of a gas.*got .'u', 'v', 'w', 'speed'"):
        PhysicsSettings().build(PDE()).score(waves, _truth(states))
    with pytest.raises(ValueError, match=r"Proposer 'solver': expected the fields of a gas"):
        SolverProposer(SolverSettings()).propose(waves, num_candidates=1, rng=_streams(waves))


# ── networks ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def _reward(settings):
    weights = {name: tensor.numpy() for name, tensor in settings.module().state_dict().items()}
    return settings.reward(weights)


def test_a_network_that_is_periodic_refuses_walls_by_name(tmp_path):
    walls = _file(tmp_path / "walls.parquet", boundary=("periodic", "wall"))
    generator = DeterministicGenerator(build_surrogate(UNetSettings(width=4)).eval())
    named = r"UNet: expected periodic data, but the boundary of walls.parquet is periodic, wall along x, y. .*replicate"
    with pytest.raises(ValueError, match=named):
        generator.propose(walls, num_candidates=2, rng=_streams(walls))
    for settings in (
        CNNSettings(width=4, depth=1),
        CNNSettings(width=4, depth=1, padding="zeros"),
        FeatureCriticSettings(),
    ):
        with pytest.raises(ValueError, match=r"boundary of walls.parquet .*learner.padding=replicate"):
            _reward(settings).score(walls, _truth(walls))
    assert np.isfinite(_reward(CNNSettings(width=4, depth=1, padding="replicate")).score(walls, _truth(walls))).all()


def test_a_network_with_ends_sees_nothing_of_the_other_side(tmp_path):
    """A change at the first row reaches the last one through circular padding, and not through replicated."""
    torch.manual_seed(0)
    reached = {}
    for padding in ("circular", "replicate"):
        network = build_surrogate(UNetSettings(width=4, padding=padding)).eval()
        torch.nn.init.normal_(network.project.weight, std=0.1)
        fields = torch.rand(1, 4, 64, 64)
        moved = fields.clone()
        moved[:, :, 0] += 1.0
        change = (network(moved) - network(fields)).detach().abs().amax(dim=(0, 1, 3))
        reached[padding] = bool(change[-1] > 0)
        assert change[0] > 0
    assert reached == {"circular": True, "replicate": False}


def test_windows_are_moved_around_a_periodic_square_and_no_other(monkeypatch):
    moves = []
    monkeypatch.setattr(torch, "roll", lambda x, shifts, **kwargs: moves.append(any(shifts)) or x)
    data = np.random.default_rng(0).uniform(1, 2, (4, 3, 4, 8, 8)).astype(np.float32)
    for padding, moved in (("circular", True), ("replicate", False)):
        moves.clear()
        network = build_surrogate(UNetSettings(width=4, padding=padding))
        fit_surrogate(network, data, SurrogateFit(epochs=1, batch_size=4))
        assert moves and any(moves) == moved and network.periodic == moved


def test_candidates_of_a_network_with_ends_are_made_with_ends(tmp_path):
    walls = _file(tmp_path / "walls.parquet", boundary=("wall", "wall"))
    save_surrogate(Folder(str(tmp_path / "s")), network := build_surrogate(UNetSettings(width=4, padding="replicate")),
                   network.settings)  # fmt: skip
    loaded = load_surrogate(str(tmp_path / "s"), "cpu")
    assert not loaded.periodic
    children = StructuredGenerator(loaded, StructuredSettings()).propose(walls, num_candidates=3, rng=_streams(walls))
    assert np.isfinite(children.fields).all()
    assert not build_surrogate(CorrectedSettings(base=UNetSettings(width=4, padding="replicate"))).periodic
    ramp = torch.arange(8.0)[None, None, :, None].expand(1, 1, 8, 8)
    assert blur(ramp, periodic=False)[0, 0, 0, 0] == 0.25 and blur(ramp)[0, 0, 0, 0] == 2.0
    assert blur(ramp, periodic=False).sum() == ramp.sum()
    weights = np.zeros((1, 1, 4, 1))
    weights[0, 0, 3] = 1.0
    assert refine(weights, 4, smooth=True)[0, 0, 0, 0] > 0
    assert refine(weights, 4, smooth=True, periodic=False)[0, 0, 0, 0] == 0
