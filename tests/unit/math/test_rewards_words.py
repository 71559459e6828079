"""The bag-of-words rival: it learns style, and says when there is nothing to learn."""

import numpy as np
import pytest

from stepward.core.wing import Fittable
from stepward.domains.math.rewards.words import StepWords
from stepward.domains.math.states import MathDomain, roots
from stepward.testing.contracts import check_reward


def test_it_tells_words_of_the_last_line_apart():
    rng = np.random.default_rng(0)
    careful = rng.integers(0, 2, 400)
    lines = [f"{'so we get' if c else 'maybe it is'} {rng.integers(9)}+{rng.integers(9)}" for c in careful]
    texts = np.array([f"maybe it is 1\n{line}\n" for line in lines], object)
    asked = np.array([f"q{i % 7}" for i in range(400)], object)
    states = roots(asked, asked).replace(text=texts, num_steps=np.full(400, 2))
    counts = np.full(400, 4.0)
    settings = StepWords(num_features=4096)
    assert isinstance(settings, Fittable)
    weights = settings.fit(states, careful * 3.0 + 0.0, counts, 0)
    reward = settings.reward(weights)
    scores = reward.score(states, states)
    assert scores[careful == 1].min() > 0.8 and scores[careful == 0].max() < 0.2
    assert (reward.charged_tokens(states) > 0).all()
    check_reward(reward, MathDomain(), states.take(np.arange(8)), states.take(np.arange(8)))
    with pytest.raises(ValueError, match="all alike"):
        settings.fit(states, counts, counts, 0)
