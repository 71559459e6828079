"""Reward models without a network: what they say of lines that a small model wrote."""

import numpy as np
import pytest
import torch

from stepward.core.seeding import Rng
from stepward.domains.math.rewards.simple import LengthReward, LikelihoodReward, RandomReward
from stepward.domains.math.states import MathDomain, MathStates, roots
from stepward.testing.contracts import check_reward
from unit.math.small_models import small_proposer

DOMAIN = MathDomain()
SETTINGS = [
    RandomReward(),
    LengthReward(),
    LengthReward(unit="steps"),
    *(LikelihoodReward(of=of, per_token=per_token) for of in ("step", "path") for per_token in (False, True)),
]


@pytest.fixture(scope="module")
def lines() -> tuple[MathStates, MathStates]:
    """Parents and children of the second line of several solutions."""
    torch.set_num_threads(1)
    proposer = small_proposer()
    questions = np.array(["a+1", "b", "ab"], object)
    bare = roots(questions, questions)
    parents = proposer.propose(bare, num_candidates=30, rng=Rng.from_ids(0, range(3), "first"))
    children = proposer.propose(parents, num_candidates=1, rng=Rng.from_ids(0, range(90), "second"))
    going = np.flatnonzero(children.num_tokens > parents.num_tokens)
    assert len(going) > 10
    return parents.take(going), children.take(going)


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: "-".join(map(str, s.model_dump().values())))
def test_reward_contract(settings, lines):
    check_reward(settings.build(DOMAIN), DOMAIN, *lines)


def test_random_numbers_belong_to_question_and_text(lines):
    parents, children = lines
    scores = RandomReward(seed=1).build(DOMAIN).score(parents, children)
    texts = {f"{question}|{text}" for question, text in zip(children.question, children.text, strict=True)}
    assert len(np.unique(scores)) == len(texts)
    assert not np.array_equal(scores, RandomReward(seed=2).build(DOMAIN).score(parents, children))
    question = np.array([f"q{i}" for i in range(4000)], object)
    many = RandomReward().build(DOMAIN).score(roots(question, question), roots(question, question))
    assert abs(many.mean() - 0.5) < 4 / np.sqrt(12 * 4000)  # four standard errors of a uniform mean


def test_length_is_of_the_whole_solution(lines):
    parents, children = lines
    np.testing.assert_array_equal(LengthReward().build(DOMAIN).score(parents, children), -children.num_tokens)
    np.testing.assert_array_equal(
        LengthReward(unit="steps").build(DOMAIN).score(parents, children), -children.num_steps
    )


def test_likelihoods_of_steps_add_up_to_that_of_the_path(lines):
    parents, children = lines

    def score(before: MathStates, after: MathStates, **settings: object) -> np.ndarray:
        return LikelihoodReward(**settings).build(DOMAIN).score(before, after)

    bare = roots(parents.question, parents.reference)
    both = score(bare, parents, of="step") + score(parents, children, of="step")
    np.testing.assert_allclose(both, score(parents, children, of="path"), rtol=1e-12)
    mean = score(parents, children, of="step", per_token=True)
    np.testing.assert_allclose(mean * children.last_tokens, score(parents, children, of="step"), rtol=1e-12)
    assert (mean < 0).all()
