"""Sampled solutions of generated word problems, and what choosing among them solves: shared by the studies of math."""

from __future__ import annotations

from typing import Any

import numpy as np

from stepward.core.wing import find_wing
from stepward.domains.math import LanguageModelSettings, MathProblems
from stepward.evaluate import best_of_n, majority_vote, oracle_bound, right_at, weighted_vote
from stepward.evaluate.samples.drawing import draw, path_values

WING = find_wing("math")
AGGREGATIONS = ("product", "min", "mean", "last")


class Solutions:
    """N sampled solutions of P validation problems by the embedded proposer.

    Args:
        num_problems: P. num_samples: N.
        family: of generated problems. max_steps: lines after which a solution is dead.
    """

    def __init__(self, num_problems: int, num_samples: int, *, family: str = "default", max_steps: int = 16) -> None:
        source = MathProblems.model_validate({"family": family, "num_validation": num_problems})
        table, _ = source.problems("validation", 0)
        names = table["id"].to_pylist()
        self._samples = draw(
            WING.states(table), names, num_samples, domain=WING.domain,
            proposer=LanguageModelSettings(max_steps=max_steps).build(), seed=0,
        )  # fmt: skip
        self._problem = np.repeat(np.arange(len(names)), num_samples)
        self._rank = np.tile(np.arange(num_samples), len(names))
        self._right = WING.verifier().outcome(self._samples.ends) > 0.5
        assert WING.answers is not None
        self._answers = np.array(WING.answers.texts(self._samples.ends), object)
        self.num_problems, self.num_samples = len(names), num_samples

    def bounds(self, size: int) -> dict[str, np.ndarray]:
        """Whether each problem is solved by its first sample, by the majority of `size`, and by any of these."""
        rows = self._rank < size
        problem, right = self._problem[rows], self._right[rows]
        return {
            "one sample": self._right[self._rank == 0],
            "majority": right_at(majority_vote(problem, self._answers[rows], self.num_problems), right),
            "any": oracle_bound(problem, right, self.num_problems),
        }

    def values(self, reward: Any) -> dict[str, np.ndarray]:
        """Aggregation -> what the reward model makes of every solution."""
        return path_values(self._samples, reward, AGGREGATIONS)

    @property
    def log_prob(self) -> np.ndarray:
        """The proposer's own log probability of every solution."""
        return np.asarray(self._samples.ends.log_prob)

    def vote(self, weight: np.ndarray, size: int) -> np.ndarray:
        """Whether each problem is solved by a weighted vote among its first `size` solutions."""
        rows = self._rank < size
        chosen = weighted_vote(self._problem[rows], self._answers[rows], weight[rows], self.num_problems)
        return right_at(chosen, self._right[rows])

    def best(self, value: np.ndarray, size: int) -> np.ndarray:
        """Whether each problem is solved by the best of its first `size` solutions that state an answer."""
        rows = self._rank < size
        valued = np.where(self._answers[rows] == "", -np.inf, value[rows])
        return right_at(best_of_n(self._problem[rows], valued, self.num_problems), self._right[rows])
