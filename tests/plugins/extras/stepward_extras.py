"""A reward model, a search and a kind of label for a domain of somebody else's: the number walk."""

from typing import Literal

import numpy as np
from pydantic import Field

from stepward.core.config import Config
from stepward.label.judged import JudgedLabels
from stepward.search import Scoring, run_search
from stepward.search.beam import top_per_group


class ParityReward(Config):
    """Even numbers first."""

    kind: Literal["parity"] = "parity"

    def build(self, domain):
        return Parity()


class Parity:
    """1 for an even number, else 0."""

    num_parameters = 0

    def score(self, parents, children):
        return (children.current % 2 == 0).astype(float)


class Curious(Config):
    """Expands the best child of every step, or now and then any other (ε-greedy)."""

    kind: Literal["curious"] = "curious"
    num_candidates: int = Field(6, ge=1, description="children proposed of the current state")
    epsilon: float = Field(0.1, ge=0, le=1, description="share of steps that go anywhere")

    def __call__(self, problems, **parts):
        return run_search(
            problems,
            rule=lambda tree, rng: CuriousRule(tree, rng, self),
            scoring=Scoring(),
            **parts,
        )


class CuriousRule:
    """One node a problem; `rng` holds one stream a problem, so its result depends on no other."""

    def __init__(self, tree, rng, settings):
        self.rng, self.settings = rng, settings
        self.here = tree.open(np.arange(tree.num_problems))

    def select(self, tree, active):
        """Nodes to expand next, of active problems."""
        return self.here[active[tree.problem[self.here]]]

    def num_candidates(self, tree):
        """Children of each."""
        return self.settings.num_candidates

    def update(self, tree, nodes, origin):
        """Go on from one child of each problem; all children that are complete count as solutions."""
        draws = self.rng.uniform(1 + self.settings.num_candidates)
        open_ = tree.open(nodes)
        problem = tree.problem[open_]
        place = np.arange(len(open_)) - np.searchsorted(problem, problem)
        anywhere = draws[problem, 0] < self.settings.epsilon
        value = np.where(anywhere, draws[problem, 1 + place % self.settings.num_candidates], tree.value[open_])
        self.here = top_per_group(open_, problem, value, 1)
        return nodes


class ReachableLabels(JudgedLabels):
    """1 where some walk reaches the target in the steps that are left, found by trying all of them backwards."""

    kind: Literal["reachable"] = "reachable"
    max_abs: int = Field(400, ge=1, description="numbers beyond it count as lost")

    def judge(self, states, settings):
        """One success of one for every state that can still be solved."""
        numbers = np.arange(-self.max_abs, self.max_abs + 1)
        after = np.stack([numbers + 1, numbers - 1, numbers * 2, numbers // 2, numbers + 3, numbers - 3], axis=1)
        inside = np.abs(after) <= self.max_abs
        solved = {}
        for target in np.unique(states.target).tolist():
            reach = [numbers == target]
            for _ in range(int(states.steps_left.max(initial=0))):
                ahead = reach[-1][np.clip(after + self.max_abs, 0, 2 * self.max_abs)] & inside
                reach.append(reach[-1] | ahead.any(axis=1))
            solved[target] = np.stack(reach)
        rows = zip(states.target.tolist(), states.steps_left, states.current, strict=True)
        lost = np.abs(states.current) > self.max_abs
        found = [
            not bad and solved[t][left, now + self.max_abs] for bad, (t, left, now) in zip(lost, rows, strict=True)
        ]
        return np.array(found, float), np.ones(len(states))
