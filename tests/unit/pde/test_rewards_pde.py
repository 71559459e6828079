import numpy as np
import pytest
import torch

from pde_world import roots, surrogate
from stepward.core.seeding import Rng
from stepward.core.storage import Folder
from stepward.domains.pde.generators import StructuredGenerator, StructuredSettings
from stepward.domains.pde.rewards import (
    LEARNERS,
    WORST,
    ARMSettings,
    CNNSettings,
    FeatureCriticSettings,
    NearDeterministicSettings,
    PhysicsSettings,
    RandomSettings,
    RankedCandidates,
    RewardFit,
    fit_reward,
    load_reward,
    save_reward,
    score_candidates,
)
from stepward.domains.pde.rewards.ranking_objectives import BradleyTerry, Listwise, Regression, TwoHinge
from stepward.domains.pde.solver import EulerSolver, conserved_from_primitive
from stepward.domains.pde.states import PDE, advance
from stepward.domains.pde.states import roots as initial


def step(states, fields, deterministic=None):
    fields = fields.astype(np.float32)
    plain = fields if deterministic is None else deterministic
    return advance(states, fields, plain, np.arange(len(fields), dtype=np.uint64))


def weights(settings, seed=0):
    torch.manual_seed(seed)
    return {n: t.numpy() for n, t in settings.module().state_dict().items()}


# ── analytical rewards ──


def test_the_arm_is_the_weighted_gap_of_totals():
    states = roots()
    change = np.array([0.1, -0.02, 0.03, -0.4], np.float32)[:, None, None]
    child = step(states, states.fields + change)
    reward = ARMSettings(mass=2, momentum=3, energy=5).build(PDE())
    assert reward.score(states, child) == pytest.approx(-(2 * 0.1 + 3 * (0.02 + 0.03) + 5 * 0.4), abs=1e-5)
    relative = ARMSettings(mass=1, momentum=0, energy=0, relative=True).build(PDE())
    assert relative.score(states, child) == pytest.approx(-0.1 / states.fields[:, 0].mean(axis=(1, 2)), rel=1e-4)


def test_the_arms_squared_energy_is_another_reward():
    states = roots()
    child = step(states, states.fields + np.array([0, 0, 0, 0.1], np.float32)[:, None, None])
    squared = ARMSettings(mass=0, momentum=0, energy=1, energy_form="squared").build(PDE())
    expected = (child.fields[:, 3].astype(float) ** 2 - states.fields[:, 3].astype(float) ** 2).mean(axis=(1, 2))
    assert squared.score(states, child) == pytest.approx(-np.abs(expected), rel=1e-6)


def test_the_arm_sees_negative_density_and_nothing_of_where_things_are():
    states = roots()
    fields = states.fields.copy()
    fields[:, 0, 0, 0] = -3.0
    only = ARMSettings(mass=0, momentum=0, energy=0, negativity=1).build(PDE())
    assert only.score(states, step(states, fields)) == pytest.approx(-3 / 256)
    moved = step(states, np.roll(states.fields, 5, axis=3))
    assert ARMSettings().build(PDE()).score(states, moved) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("settings", [ARMSettings, PhysicsSettings])
def test_a_reward_without_weights_is_an_error(settings):
    names = ("mass", "momentum", "energy", "negativity", "residual", "entropy", "positivity")
    with pytest.raises(ValueError, match="one weight above 0"):
        settings(**{name: 0 for name in names if name in settings.model_fields})


@pytest.mark.parametrize("form", ["step", "flux"])
def test_the_solvers_own_step_has_the_least_residual(form):
    """The step form gives 0 for the solver's own step; the flux form prefers it to wrong ones over a short time."""
    dt = 0.05 if form == "step" else 0.002
    states = roots()
    right = EulerSolver().advance(states.fields, dt)
    scores = []
    for wrong in (0.0, 0.2, 1.0):  # share of the way back to no change at all
        child = step(states, right + wrong * (states.fields - right))
        scores.append(PhysicsSettings(residual_form=form, dt=dt).build(PDE()).score(states, child))
    assert (np.diff(scores, axis=0) < 0).all()
    assert form == "flux" or np.allclose(scores[0], 0, atol=1e-6)


def test_a_residual_from_a_common_parent_is_that_of_each_alone():
    states = roots().take(np.array([0, 0, 1, 0]))
    child = step(states, states.fields * np.linspace(1, 1.03, 4)[:, None, None, None])
    reward = PhysicsSettings().build(PDE())
    together = reward.score(states, child)
    alone = [reward.score(states.take([i]), child.take([i]))[0] for i in range(4)]
    assert np.array_equal(together, alone)


def test_unphysical_steps_score_worst_and_spoil_no_other():
    states = roots()
    fields = states.fields * np.float32(1.01)
    reward = PhysicsSettings().build(PDE())
    expected = reward.score(states, step(states, fields))
    fields[1, 0] = -1
    parents = states.fields.copy()
    parents[2, 0] = -1
    got = reward.score(states.replace(fields=parents), step(states, fields))
    assert got[1] < expected[1] and got[2] == WORST
    assert np.array_equal(got[[0, 3]], expected[[0, 3]])


def test_positivity_counts_density_and_pressure():
    states = roots()
    primitive = np.ones((4, 4, 16, 16))
    primitive[0, 3, 0, 0] = -2  # pressure
    child = step(states, conserved_from_primitive(primitive))
    reward = PhysicsSettings(residual=0, positivity=1).build(PDE())
    assert reward.score(states, child) == pytest.approx([-2 / 256, 0, 0, 0], abs=1e-6)


def test_entropy_may_rise_and_not_fall():
    """Two gases at rest of unequal pressure have less entropy than their mixture of the same energy."""
    split, mixed = np.ones((4, 4, 16, 16)), np.ones((4, 4, 16, 16))
    split[:, 1:3] = mixed[:, 1:3] = 0
    split[:, 3, :8], split[:, 3, 8:] = 0.5, 1.5
    fields = [conserved_from_primitive(p).astype(np.float32) for p in (split, mixed)]
    states = roots()
    reward = PhysicsSettings(residual=0, positivity=0, entropy=1).build(PDE())
    forward = reward.score(states.replace(fields=fields[0]), step(states, fields[1]))
    backward = reward.score(states.replace(fields=fields[1]), step(states, fields[0]))
    fall = 0.0 - (np.log(0.5) + np.log(1.5)) / 2  # mean of ρ log(p / ρ^γ) at ρ = 1
    assert np.allclose(forward, 0) and backward == pytest.approx(-fall, rel=1e-5)


def test_a_setting_that_has_no_effect_is_an_error():
    with pytest.raises(ValueError, match="coarsen_by has no effect"):
        PhysicsSettings(residual_form="flux", coarsen_by=2)


def test_near_deterministic_is_the_relative_distance():
    states = roots()
    plain = states.fields + 1
    child = step(states, plain + np.float32(0.25), plain)
    assert NearDeterministicSettings().build(PDE()).score(states, child) == pytest.approx(-0.25, rel=1e-5)


def test_random_rewards_belong_to_the_state_and_the_seed():
    states = roots()
    child = step(states, states.fields)
    one, two = (RandomSettings(seed=s).build(PDE()).score(states, child) for s in (0, 1))
    assert len({*one, *two}) == 8 and ((one > 0) & (one < 1)).all()
    assert np.array_equal(RandomSettings().build(PDE()).score(states, child), one)


# ── learned rewards ──

SMALL = {"cnn": CNNSettings(width=8, depth=2), "feature_critic": FeatureCriticSettings(hidden=8)}


def candidates(k=3):
    generator = StructuredGenerator(surrogate(), StructuredSettings())
    children = generator.propose(roots(), num_candidates=k, rng=Rng.from_seed(0, 4, "x"))
    return roots().take(np.repeat(np.arange(4), k)), children


@pytest.mark.parametrize("kind", sorted(LEARNERS))
def test_learned_rewards_score_rows_and_give_failures_the_worst(kind):
    parents, children = candidates()
    reward = SMALL[kind].reward(weights(SMALL[kind]))
    expected = reward.score(parents, children)
    fields = children.fields.copy()
    fields[5] = np.nan
    got = reward.score(parents, children.replace(fields=fields))
    assert got[5] == WORST and np.allclose(np.delete(got, 5), np.delete(expected, 5), atol=1e-6)
    assert len(np.unique(expected)) == 12


def test_the_anchored_reward_moves_with_the_flow_and_the_sources_form_does_not():
    parents, children = candidates()
    moved = [
        s.replace(fields=np.roll(s.fields, 4, 2), deterministic=np.roll(s.deterministic, 4, 2))
        for s in (parents, children)
    ]
    anchored = SMALL["cnn"]
    source = CNNSettings(width=8, depth=2, inputs="raw", patch=1, padding="zeros")
    for settings, same in ((anchored, True), (source, False)):
        reward = settings.reward(weights(settings))
        assert np.allclose(reward.score(*moved), reward.score(parents, children), atol=1e-5) == same


def test_the_score_is_the_mean_of_its_map_at_every_number_of_scales():
    parents, children = candidates()
    for scales in (1, 2):
        settings = CNNSettings(width=8, depth=2, num_scales=scales)
        reward = settings.reward(weights(settings))
        maps = reward.score_map(parents, children)
        assert maps.shape == (12, 8, 8)
        assert np.allclose(reward.score(parents, children), maps.mean(axis=(1, 2)), atol=1e-6)


def test_a_score_map_is_local():
    """A change of the candidate in one place moves the map within the reach of its convolutions, and only there."""
    parents, children = candidates()
    settings = CNNSettings(width=8, depth=2, patch=1)
    reward = settings.reward(weights(settings))
    fields = children.fields.copy()
    fields[:, :, 8, 8] += 1
    changed = reward.score_map(parents, children.replace(fields=fields)) - reward.score_map(parents, children)
    reach = np.zeros((16, 16), bool)
    reach[6:11, 6:11] = True
    assert (np.abs(changed)[:, ~reach] < 1e-6).all() and (np.abs(changed[:, reach]).max(axis=1) > 1e-4).all()


def test_the_sources_form_has_its_size_and_the_default_the_measured_one():
    source = CNNSettings(inputs="raw", patch=1, padding="zeros", width=64, depth=6).module()
    expected = 8 * 64 * 9 + 64 + 5 * (64 * 64 * 9 + 64) + 65
    assert sum(p.numel() for p in source.parameters()) == expected
    default = sum(p.numel() for p in CNNSettings().module().parameters())
    assert default == pytest.approx(51_000, rel=0.02)


def test_grids_that_do_not_divide_are_named():
    settings = CNNSettings(width=8, depth=1, patch=2, num_scales=4)
    with pytest.raises(ValueError, match="multiples of 16"):
        settings.module()(*torch.zeros(3, 1, 4, 24, 16))


@pytest.mark.parametrize("kind", sorted(LEARNERS))
def test_rewards_come_back_from_storage_and_other_architectures_are_refused(kind, tmp_path):
    parents, children = candidates()
    torch.manual_seed(0)
    module = SMALL[kind].module()
    save_reward(Folder(str(tmp_path)), SMALL[kind], module)
    expected = SMALL[kind].reward(weights(SMALL[kind])).score(parents, children)
    assert np.array_equal(load_reward(str(tmp_path)).score(parents, children), expected)
    Folder(str(tmp_path)).write_json("reward.json", {"kind": kind, "settings": {}, "domain": "pde"})
    with pytest.raises(ValueError, match="another architecture"):
        load_reward(str(tmp_path))
    with pytest.raises(ValueError, match="expected a trained reward model"):
        load_reward(str(tmp_path / "nowhere"))


def planted(num, k=6, seed=0):
    """Candidates deterministic + a · bump; the error is |a − .5| of the bump: to be seen in the change alone."""
    rng = np.random.default_rng(seed)
    state, plain = rng.normal(size=(2, num, 4, 8, 8)).astype(np.float32)
    a = rng.uniform(0, 1, (num, k)).astype(np.float32)
    bump = np.zeros((4, 8, 8), np.float32)
    bump[:, 2:5, 2:5] = 1
    patch_errors = np.zeros((num, k, 2, 2), np.float32)
    errors = np.abs(a - 0.5) + 1e-3
    patch_errors[...] = errors[..., None, None]
    return RankedCandidates(state, plain, plain[:, None] + a[..., None, None, None] * bump, errors, patch_errors)


@pytest.mark.parametrize("objective", [BradleyTerry(), TwoHinge(), Listwise(), Regression()], ids=lambda o: o.kind)
def test_every_objective_learns_a_planted_order(objective):
    fit = RewardFit(objective=objective, num_epochs=80, batch_size=8, learning_rate=1e-2)
    found = fit_reward(CNNSettings(width=8, depth=2), planted(24), planted(24, seed=1), fit)
    best = found.history[found.best_epoch - 1]
    # chance is 1/2; 24 states of 15 pairs with 5 free candidates each have a standard error below .05
    assert best["pairs"] > 0.5 + 4 * 0.05
    assert best["pairs"] == max(epoch["pairs"] for epoch in found.history)
    module = CNNSettings(width=8, depth=2).module()
    module.load_state_dict({n: torch.from_numpy(a) for n, a in found.best.items()})
    scores = score_candidates(module, planted(24, seed=1))
    assert scores.shape == (24, 6)


def test_a_score_map_is_learned_patch_by_patch():
    fit = RewardFit(patch_weight=1.0, num_epochs=3, batch_size=8)
    found = fit_reward(CNNSettings(width=8, depth=2), planted(16), planted(8, seed=1), fit)
    assert found.history[-1]["train_loss"] < found.history[0]["train_loss"]


def test_patches_need_labels_and_a_map():
    data = planted(4)
    without = RankedCandidates(data.state, data.deterministic, data.candidates, data.errors)
    for learner, labels in ((CNNSettings(), without), (FeatureCriticSettings(), data)):
        with pytest.raises(ValueError, match="patch_weight"):
            fit_reward(learner, labels, labels, RewardFit(patch_weight=1.0))


def test_errors_that_are_not_finite_are_refused():
    data = planted(4)
    data.errors[2, 1] = np.inf
    with pytest.raises(ValueError, match="finite errors"):
        fit_reward(CNNSettings(), data, data, RewardFit())


def test_the_feature_critic_knows_no_places():
    parents, children = candidates()
    reward = SMALL["feature_critic"].reward(weights(SMALL["feature_critic"]))
    moved = [
        s.replace(fields=np.roll(s.fields, 3, 2), deterministic=np.roll(s.deterministic, 3, 2))
        for s in (parents, children)
    ]
    assert np.allclose(reward.score(*moved), reward.score(parents, children), atol=1e-6)


@pytest.mark.parametrize("settings", [ARMSettings(), PhysicsSettings()], ids=["arm", "physics"])
def test_rewards_of_a_gas_name_what_is_wrong_with_other_data(settings):
    """Burgers' equation has one field."""
    one = initial(np.ones((2, 1, 8, 8), np.float32), ["a", "b"], np.zeros(2, np.int64), np.ones(2, np.int64))
    children = advance(one, one.fields, one.fields, np.arange(2, dtype=np.uint64))
    with pytest.raises(ValueError, match=r"expected the 4 fields .* got 1\..*leave it out"):
        settings.build(PDE()).score(one, children)
