import numpy as np
import pyarrow as pa
import pytest

from pde_world import PROBLEMS, mined, roots
from stepward.core.interfaces import Status
from stepward.domains.pde.data import PDEMining, PDEProblems, pde_states
from stepward.domains.pde.metrics import evaluate
from stepward.domains.pde.readers import FieldBlock, Grid, write_parquet
from stepward.domains.pde.references import keep, trajectories
from stepward.domains.pde.states import PDE, advance, is_finite
from stepward.domains.pde.states import roots as make_roots
from stepward.domains.pde.verifier import ReferenceVerifier


def stepped(states, fields=None):
    fields = states.fields if fields is None else fields
    return advance(states, fields, fields, np.zeros(len(states), np.uint64))


def test_a_rollout_is_complete_at_its_horizon_and_not_before():
    states = roots()
    seen = []
    for _ in range(PROBLEMS.horizon + 1):
        seen.append(PDE().status(states))
        states = stepped(states)
    assert (np.array(seen[:-1]) == Status.OPEN).all() and (seen[-1] == Status.COMPLETE).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_rollout_that_blows_up_is_dead_even_at_the_horizon(bad):
    states = roots().replace(steps=np.full(4, PROBLEMS.horizon))
    fields = states.fields.copy()
    fields[2, 1, 3, 4] = bad
    assert PDE().status(states.replace(fields=fields)).tolist() == [1, 1, Status.DEAD, 1]


def test_infinities_of_both_signs_do_not_cancel():
    fields = np.zeros((2, 1, 4, 4), np.float32)
    fields[0, 0, 0, :2] = np.inf, -np.inf
    assert is_finite(fields).tolist() == [False, True]


def test_siblings_have_keys_of_their_own_and_the_same_candidate_has_the_same():
    states = roots()
    first, second = (advance(states, states.fields, states.fields, np.full(4, tag, np.uint64)) for tag in (1, 2))
    keys = [PDE().keys(s) for s in (states, first, second)]
    assert len(np.unique(np.concatenate(keys))) == 12
    assert np.array_equal(PDE().keys(advance(states, states.fields, states.fields, np.full(4, 1, np.uint64))), keys[1])


def test_initial_fields_must_be_finite():
    fields = np.full((1, 4, 8, 8), np.nan, np.float32)
    with pytest.raises(ValueError, match="finite"):
        make_roots(fields, ["x"], np.zeros(1, np.int64), np.ones(1, np.int64))


def test_the_truth_has_no_error_and_twice_the_truth_an_error_of_one():
    states = pde_states(mined(share=1.0))
    verifier = ReferenceVerifier()
    assert (verifier.outcome(states) == 0).all()
    assert verifier.outcome(states.replace(fields=2 * states.fields)) == pytest.approx(-1, abs=1e-6)


@pytest.mark.parametrize("convention", ["nrmse", "pdebench_nrmse", "well_vrmse"])
def test_outcomes_are_the_published_errors_of_one_frame(convention):
    states = pde_states(mined())
    fields = states.fields + np.linspace(0, 0.1, states.fields.size, dtype=np.float32).reshape(states.fields.shape)
    outcome = ReferenceVerifier(convention).outcome(states.replace(fields=fields))
    expected = evaluate(convention, fields[:, None], states.fields[:, None])
    assert -outcome.mean() == pytest.approx(expected, rel=1e-6)


def test_a_blown_up_rollout_is_minus_infinity_and_spoils_no_other():
    states = pde_states(mined())
    fields = states.fields * np.float32(1.1)
    expected = ReferenceVerifier().outcome(states.replace(fields=fields))
    fields[1] = np.nan
    outcome = ReferenceVerifier().outcome(states.replace(fields=fields))
    assert outcome[1] == -np.inf and np.array_equal(np.delete(outcome, 1), np.delete(expected, 1))


def test_a_frame_beyond_the_reference_is_an_error():
    states = roots()
    with pytest.raises(ValueError, match="Shorten the horizon"):
        ReferenceVerifier().outcome(states.replace(frame=np.full(4, PROBLEMS.num_steps + 1)))


def test_patch_errors_add_up_and_find_the_place():
    states = roots()
    fields = states.fields.copy()
    fields[:, :, 8:, :8] += 1.0
    errors = ReferenceVerifier().patch_errors(states.replace(fields=fields), 8)
    assert errors.shape == (4, 2, 2) and (errors[:, 1, 0] > 0).all()
    assert (errors.reshape(4, 4)[:, [0, 1, 3]] == 0).all()
    with pytest.raises(ValueError, match="divides the grid"):
        ReferenceVerifier().patch_errors(states, 5)


def test_problems_are_the_first_frames_of_their_references_and_splits_share_none():
    tables = {split: PROBLEMS.problems(split, 0)[0] for split in ("train", "validation", "test")}
    names = [name for table in tables.values() for name in table["id"].to_pylist()]
    assert len(set(names)) == len(names) == 16
    first = np.stack([t[0] for t in trajectories(tables["test"]["reference"].to_pylist())])
    assert np.array_equal(pde_states(tables["test"]).fields, first)
    assert not np.array_equal(pde_states(PROBLEMS.problems("test", 1)[0]).fields, first)


def test_a_horizon_beyond_the_frames_is_an_error():
    with pytest.raises(ValueError, match="horizon"):
        PDEProblems(num_steps=4, horizon=5).problems("train", 0)


def test_mining_takes_its_share_of_the_frames_and_gives_the_truth():
    full, some = mined(share=1.0), mined(share=0.5)
    assert len(full) == 8 * PROBLEMS.horizon
    assert set(some["id"].to_pylist()) <= set(full["id"].to_pylist())
    # binomial: 32 states, share 1/2, five standard deviations
    assert abs(len(some) - 16) < 5 * np.sqrt(32 / 4)
    states = pde_states(full)
    assert np.array_equal(states.frame, states.steps) and states.steps.max() == PROBLEMS.horizon - 1
    assert len(np.unique(states.problem)) == 8


def test_on_policy_states_are_those_of_the_surrogates_own_rollout(tmp_path):
    from pde_world import surrogate
    from stepward.core.seeding import Rng
    from stepward.core.storage import Folder
    from stepward.domains.pde.generators import DeterministicGenerator
    from stepward.domains.pde.surrogates import save_surrogate

    save_surrogate(Folder(str(tmp_path)), surrogate(), surrogate().settings)
    problems = PROBLEMS.problems("test", 0)[0]
    states = pde_states(PDEMining(share=1.0, on_policy=str(tmp_path)).mine(problems, 0))
    twice = pde_states(problems)
    for _ in range(2):
        twice = DeterministicGenerator(surrogate()).propose(twice, num_candidates=1, rng=Rng.from_seed(0, 4, "x"))
    assert np.allclose(states.fields[states.steps == 2], twice.fields, atol=1e-5)
    assert np.array_equal(states.fields[states.steps == 0], pde_states(problems).fields)


def test_states_of_a_rule_that_chooses_are_those_it_meets(tmp_path):
    from pde_world import surrogate
    from stepward.core.seeding import Rng
    from stepward.core.storage import Folder
    from stepward.domains.pde.surrogates import save_surrogate

    save_surrogate(Folder(str(tmp_path)), surrogate(), surrogate().settings)
    rule = {
        "kind": "select",
        "generator": {"kind": "structured", "surrogate": str(tmp_path)},
        "reward": {"kind": "arm"},
        "num_candidates": 4,
    }
    problems = PROBLEMS.problems("test", 0)[0]
    mining = PDEMining(share=1.0, policy=rule)
    states = pde_states(mining.mine(problems, 3))
    by_hand = pde_states(problems)
    streams = Rng.from_ids(3, by_hand.reference.tolist(), "on-policy")
    for step in range(2):
        by_hand = mining.policy_settings().build().propose(by_hand, num_candidates=1, rng=streams.fork(step))
    assert np.allclose(states.fields[states.steps == 2], by_hand.fields, atol=1e-5)
    # a part of the problems meets the same states as all of them
    alone = pde_states(mining.mine(problems.slice(1, 1), 3))
    assert np.allclose(alone.fields, states.fields[states.problem == 1], atol=1e-5)
    with pytest.raises(ValueError, match="not both"):
        PDEMining(policy=rule, on_policy=str(tmp_path))
    with pytest.raises(ValueError, match="expected one of"):
        PDEMining(policy={"kind": "no such rule"})


def test_a_rollout_that_blew_up_has_no_states_from_there_on(tmp_path):
    from pde_world import surrogate
    from stepward.core.storage import Folder
    from stepward.domains.pde.surrogates import save_surrogate

    save_surrogate(Folder(str(tmp_path)), surrogate(), surrogate().settings)
    wild = {"kind": "noise", "surrogate": str(tmp_path), "schedule": [1e38]}
    states = pde_states(PDEMining(share=1.0, policy=wild).mine(PROBLEMS.problems("test", 0)[0], 0))
    assert np.isfinite(states.fields).all() and states.steps.max() < PROBLEMS.horizon - 1


def file_of_trajectories(path, bad=()):
    grid = Grid(
        path.name, ("density", "momentum_x", "momentum_y", "energy"), ("x", "y"), (1 / 8,) * 2, 0.05, ("periodic",) * 2
    )
    fields = np.random.default_rng(0).uniform(1, 2, (20, 4, 4, 8, 8)).astype(np.float32)
    for row, value in bad:
        fields[row, 1, 0, 0, 0] = value
    ids = tuple(f"{path.name}:{row}" for row in range(20))
    write_parquet([FieldBlock(ids[:12], fields[:12], grid), FieldBlock(ids[12:], fields[12:], grid)], path)
    return fields


def test_a_users_file_is_split_by_place_and_bad_rows_are_rejected(tmp_path):
    path = tmp_path / "mine.parquet"
    fields = file_of_trajectories(path, bad=[(1, np.nan), (13, -1.0)])
    source = PDEProblems(path=str(path), horizon=3)
    table, rejected = source.problems("train", 0)
    assert [row.id.split("#")[1] for row in rejected] == ["1", "13"]
    assert "density, got nan" in rejected[0].error and "positive density" in rejected[1].error
    assert "frame 1" in rejected[1].error
    assert len(table) == 12
    test = pde_states(source.problems("test", 0)[0])
    assert np.array_equal(test.fields, fields[[8, 9, 18, 19], 0])
    assert (ReferenceVerifier().outcome(stepped(test, fields[[8, 9, 18, 19], 1])) == 0).all()


def test_a_file_too_short_for_the_horizon_is_an_error(tmp_path):
    path = tmp_path / "mine.parquet"
    file_of_trajectories(path)
    with pytest.raises(ValueError, match="10 frames or more"):
        PDEProblems(path=str(path), horizon=9).problems("train", 0)
    with pytest.raises(ValueError, match="there is no"):
        PDEProblems(path=str(tmp_path / "none.parquet")).problems("train", 0)


@pytest.mark.parametrize("name", ["euler2d/nothing/16/6/0.05/0/0", "what", "euler2d/kelvin"])
def test_a_name_that_is_none_is_an_error(name):
    with pytest.raises(ValueError, match="Reference"):
        trajectories([name])


def test_trajectories_in_memory_can_be_references():
    name = keep("memory/one", np.ones((3, 1, 4, 4), np.float32))
    assert trajectories([name, name])[1].shape == (3, 1, 4, 4)


def test_no_problems_make_no_states():
    table = PROBLEMS.problems("test", 0)[0].slice(0, 0)
    assert len(pde_states(table)) == 0 and isinstance(table, pa.Table)
