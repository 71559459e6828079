"""One test for each defect of the published reference implementation, as far as it concerns candidates and rewards.

Untrained decoders: test_latent. Lookahead for some candidates only: test_composing. One file a triplet, memory that
grows with the data: test_rankings.
"""

import numpy as np
import pytest
import torch

from pde_world import PROBLEMS, roots, surrogate
from stepward.core.cost import Cost
from stepward.core.seeding import Rng
from stepward.domains.pde.generators import DropoutGenerator, StructuredGenerator, StructuredSettings
from stepward.domains.pde.rewards import (
    ARMSettings,
    CNNSettings,
    NearDeterministicSettings,
    NoRewardSettings,
    PhysicsSettings,
)
from stepward.domains.pde.states import PDE
from stepward.rewards import Lookahead
from stepward.search import Beam
from stepward.search.greedy import Greedy


def steps(k):
    generator = StructuredGenerator(surrogate(), StructuredSettings())
    children = generator.propose(roots(), num_candidates=k, rng=Rng.from_seed(0, 4, "x"))
    return roots().take(np.repeat(np.arange(4), k)), children


def cnn():
    settings = CNNSettings(width=8, depth=2)
    torch.manual_seed(0)
    return settings.reward({n: t.numpy() for n, t in settings.module().state_dict().items()})


@pytest.mark.parametrize("limit", [1.0, 3.0, 10.0])
def test_a_budget_of_evaluations_stops_the_rollout(limit):
    """`max(remaining, 1)` went on for ever with one candidate; here a round above the budget is taken back."""
    generator = DropoutGenerator(surrogate())
    parts = {"proposer": generator, "reward": NearDeterministicSettings().build(PDE()), "domain": PDE()}
    found = Beam(width=1, num_candidates=4)(
        roots(), budget=Cost.limit(nfe=limit), rng=Rng.from_seed(0, 4, "x"), **parts
    )
    a_round = 5.0  # four candidates and the deterministic output
    rounds = min(np.floor(limit / a_round), PROBLEMS.horizon)
    assert found.cost["nfe"] == pytest.approx(rounds * a_round) and (found.best == -1).all()


def test_a_budget_of_proposals_is_never_exceeded_by_one():
    parts = {"proposer": DropoutGenerator(surrogate()), "reward": NoRewardSettings().build(PDE()), "domain": PDE()}
    found = Beam(width=1, num_candidates=4)(
        roots(), budget=Cost.limit(proposals=7), rng=Rng.from_seed(0, 4, "x"), **parts
    )
    assert (found.cost["proposals"] == 4).all()


def test_lookahead_inside_a_proposer_is_charged_and_bounded_too():
    policy = DropoutGenerator(surrogate())
    ahead = Lookahead(NearDeterministicSettings().build(PDE()), policy, PDE(), depth=1)
    choice = Greedy(DropoutGenerator(surrogate()), ahead, PDE(), 3)
    parts = {"proposer": choice, "reward": NoRewardSettings().build(PDE()), "domain": PDE()}
    for limit, spent in ((5, 0), (12, 4 + 3 * 2)):  # a round: K + 1, and a candidate with its deterministic output
        budget = Cost.limit(nfe=limit)
        found = Beam(width=1, num_candidates=1)(roots(), budget=budget, rng=Rng.from_seed(0, 4, "x"), **parts)
        assert found.cost["nfe"] == pytest.approx(spent)


@pytest.mark.parametrize(
    "make", [ARMSettings().build, PhysicsSettings().build, lambda domain: cnn()], ids=["arm", "physics", "cnn"]
)
def test_rewards_are_not_averaged_over_the_batch(make):
    """`.mean()` over the batch gave every problem the same reward: each row must keep its own."""
    parents, children = steps(3)
    reward = make(PDE())
    together = reward.score(parents, children)
    alone = np.concatenate([reward.score(parents.take([i]), children.take([i])) for i in range(len(children))])
    assert together.shape == (12,) and np.allclose(together, alone, atol=1e-6) and len(np.unique(together)) == 12


def test_candidates_are_proposed_and_scored_in_batches(monkeypatch):
    """The network runs as often for 4 candidates as for 32, on more rows; so does the reward model."""
    reward, counts = cnn(), []
    for k in (4, 32):
        calls = {"surrogate": 0, "reward": 0}
        generator = DropoutGenerator(surrogate())
        forward, scores = surrogate().forward, reward.module.score_map

        def propose(x, draws=None, forward=forward, calls=calls):
            calls["surrogate"] += 1
            return forward(x, draws)

        def score(*inputs, scores=scores, calls=calls):
            calls["reward"] += 1
            return scores(*inputs)

        with monkeypatch.context() as patch:
            patch.setattr(surrogate(), "forward", propose)
            patch.setattr(reward.module, "score_map", score)
            children = generator.propose(roots(), num_candidates=k, rng=Rng.from_seed(0, 4, "x"))
            reward.score(roots().take(np.repeat(np.arange(4), k)), children)
        counts.append(calls)
    assert counts[0] == counts[1] == {"surrogate": 2, "reward": 1}


def test_no_number_is_fetched_candidate_by_candidate(monkeypatch):
    """`.item()` a candidate stops an accelerator each time: how often it is called must not grow with K."""
    counts = []
    for k in (2, 16):
        calls = []
        item = torch.Tensor.item
        with monkeypatch.context() as patch:
            patch.setattr(torch.Tensor, "item", lambda self, calls=calls, item=item: calls.append(1) or item(self))
            choice = Greedy(DropoutGenerator(surrogate()), cnn(), PDE(), k)
            choice.propose(roots(), num_candidates=1, rng=Rng.from_seed(0, 4, "x"))
        counts.append(len(calls))
    assert counts[0] == counts[1] <= 2
