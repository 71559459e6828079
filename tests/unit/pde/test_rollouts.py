import numpy as np
import pytest

from pde_world import PROBLEMS, roots, surrogate
from stepward.core.cost import Cost
from stepward.core.seeding import Rng
from stepward.domains.pde.generators import (
    DeterministicGenerator,
    DropoutGenerator,
    StructuredGenerator,
    StructuredSettings,
)
from stepward.domains.pde.rewards import ARMSettings, NearDeterministicSettings, RandomSettings
from stepward.domains.pde.rollouts import errors_over_time, read_rollouts
from stepward.domains.pde.states import PDE, advance
from stepward.domains.pde.verifier import ReferenceVerifier
from stepward.evaluate.step_log import step_log
from stepward.rewards import Lookahead
from stepward.search import Beam, Particles


class Oracle:
    """Minus the true error: what no search has, to tell what a perfect reward model would give."""

    num_parameters = 0

    def score(self, parents, children):
        return ReferenceVerifier().outcome(children)


def run(search, proposer=None, reward=None, budget=None, **options):
    proposer = proposer or StructuredGenerator(surrogate(), StructuredSettings())
    reward = reward or NearDeterministicSettings().build(PDE())
    budget = budget or Cost.limit(expansions=100)
    parts = {"domain": PDE(), "proposer": proposer, "reward": reward, "budget": budget}
    return search(roots(), rng=Rng.from_seed(0, 4, "run"), keep_tree=True, **parts, **options)


def plain_rollout():
    states, frames = roots(), [roots().fields]
    for _ in range(PROBLEMS.horizon):
        states = DeterministicGenerator(surrogate()).propose(states, num_candidates=1, rng=Rng.from_seed(0, 4, "x"))
        frames.append(states.fields)
    return np.stack(frames, axis=1)


def test_a_beam_of_one_without_chance_is_the_surrogates_own_rollout():
    rollouts = read_rollouts(run(Beam(width=1, num_candidates=1), DeterministicGenerator(surrogate())))
    assert np.allclose(rollouts.fields, plain_rollout(), atol=1e-4)
    assert (rollouts.steps == PROBLEMS.horizon).all() and not rollouts.blew_up.any()


def test_the_nearest_to_deterministic_is_the_deterministic_rollout_where_it_is_among_the_candidates():
    generator = DropoutGenerator(surrogate(), include_deterministic=True)
    rollouts = read_rollouts(run(Beam(width=1, num_candidates=4), generator))
    assert np.allclose(rollouts.fields, plain_rollout(), atol=1e-4)


@pytest.mark.parametrize(
    "search", [Beam(width=1, num_candidates=6), Beam(width=3, num_candidates=6)], ids=["argmax", "beam"]
)
def test_with_a_perfect_reward_a_search_beats_chance_at_every_problem(search):
    verifier = ReferenceVerifier()
    guided, random = (read_rollouts(run(search, reward=r)) for r in (Oracle(), RandomSettings().build(PDE())))
    errors = [errors_over_time(r, roots(), verifier) for r in (guided, random)]
    assert errors[0].shape == (4, PROBLEMS.horizon + 1) and (errors[0][:, 0] == 0).all()
    assert (errors[0][:, -1] < errors[1][:, -1]).all()


def test_lookahead_and_particles_run_through_the_same_engine_and_are_charged():
    policy = DeterministicGenerator(surrogate())
    ahead = Lookahead(NearDeterministicSettings().build(PDE()), policy, PDE(), depth=2, discount=0.5)
    plain, looking = (run(Beam(width=1, num_candidates=3), reward=r) for r in (None, ahead))
    # two more steps of each of three candidates, but one where one is left, and none at the end
    rolled = 3 * (2 + 2 + 1 + 0)
    assert (looking.cost["proposals"] == plain.cost["proposals"] + rolled).all()
    found = run(Particles(num_particles=4, potential="exponential", temperature=0.1))
    assert (found.cost["proposals"] == 4 * PROBLEMS.horizon).all() and np.isfinite(found.value).all()


def test_the_step_log_names_every_candidate_with_its_components():
    result = run(Beam(width=1, num_candidates=3))
    arm, near = ARMSettings().build(PDE()), NearDeterministicSettings().build(PDE())
    log = step_log(result, {"arm": arm, "near": near}).to_pandas()
    assert len(log) == 4 * 3 * PROBLEMS.horizon and np.array_equal(log["score/near"], log.score)
    weighted = sum(
        getattr(ARMSettings(), term) * log[f"score/arm/{term}"] for term in ("mass", "momentum", "energy", "negativity")
    )
    assert np.allclose(log["score/arm"], -weighted, rtol=1e-5)
    chosen = log[log.chosen]
    assert len(chosen) == 4 * PROBLEMS.horizon
    best = log.groupby(["problem", "step"]).score.max().reset_index()
    assert np.allclose(chosen.sort_values(["problem", "step"]).score, best.score)


class Explodes:
    """The candidates of problem 1 are not finite from the third step on."""

    num_parameters = nfe = 0

    def propose(self, states, *, num_candidates, rng):
        parents = states.take(np.repeat(np.arange(len(states)), num_candidates))
        fields = parents.fields.copy()
        fields[(parents.problem == 1) & (parents.steps >= 2)] = np.inf
        return advance(parents, fields, fields, rng.repeat(num_candidates).keys)


def test_a_rollout_that_blows_up_is_recorded_with_its_step():
    result = run(Beam(width=2, num_candidates=2), Explodes(), RandomSettings().build(PDE()))
    rollouts = read_rollouts(result)
    assert rollouts.steps.tolist() == [4, 2, 4, 4] and rollouts.blew_up.tolist() == [False, True, False, False]
    errors = errors_over_time(rollouts, roots(), ReferenceVerifier())
    assert np.isnan(errors[1, 3:]).all() and np.isfinite(np.delete(errors, 1, axis=0)).all()
    assert result.best[1] == -1


def test_a_rollout_that_ran_out_of_budget_did_not_blow_up():
    rollouts = read_rollouts(run(Beam(width=1, num_candidates=2), budget=Cost.limit(expansions=3)))
    assert (rollouts.steps == 3).all() and not rollouts.blew_up.any()


def test_a_search_without_its_tree_cannot_be_read():
    parts = {"domain": PDE(), "proposer": Explodes(), "reward": RandomSettings().build(PDE())}
    result = Beam(width=1)(roots(), rng=Rng.from_seed(0, 4, "x"), budget=Cost.limit(expansions=1), **parts)
    with pytest.raises(ValueError, match="keep_tree"):
        read_rollouts(result)
