"""Log p of steps that others wrote: what the proposer itself counted while it sampled them."""

import numpy as np
import torch

from stepward.core.seeding import Rng
from stepward.domains.math.rewards.log_p import LogP
from stepward.domains.math.states import MathDomain, MathStates, roots
from unit.math.small_models import small_model, small_proposer, small_tokenizer


def test_it_is_what_the_proposer_counted(tmp_path):
    torch.set_num_threads(1)
    small_model().save_pretrained(tmp_path)
    small_tokenizer().save_pretrained(tmp_path)
    questions = np.array(["a+1", "b"], object)
    parents = roots(questions, questions).take(np.repeat([0, 1], 30))
    pairs = []
    for depth in range(2):
        children = small_proposer().propose(
            parents, num_candidates=1, rng=Rng.from_ids(depth, range(len(parents)), "p")
        )
        finished = children.ending == 0  # of an end token there is no text
        pairs.append((parents.take(finished), children.take(finished)))
        parents = pairs[-1][1]
    parents, children = (MathStates.concat([pair[i] for pair in pairs]) for i in (0, 1))
    assert len(children) >= 6 and children.num_steps.max() == 2
    reward = LogP(model={"model": str(tmp_path), "prompt": "{question}\n"}).build(MathDomain())
    expected = (children.log_prob - parents.log_prob) / children.last_tokens
    np.testing.assert_allclose(reward.score(parents, children), expected, atol=1e-4)
    assert (reward.charged_tokens(children) >= children.last_tokens).all()
