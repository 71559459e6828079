"""Reward models in workers of their own: searches propose on one GPU and score on another, or on a share of one.

A worker of the evaluation keeps the proposer and the search; its trained reward models are stand-ins that send batches
of states to a scorer. A search talks to one scorer from beginning to end, so what the scorer has read of a solution
serves for its next line too. Results are those of workers that score by themselves; so are costs, which are counted
where the search is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from typing import Any

import numpy as np
from jaxtyping import Float
from pydantic import Field

from stepward.core.batch import Batch
from stepward.core.config import Config
from stepward.core.cost import charged_tokens
from stepward.core.interfaces import RewardModel
from stepward.core.storage import Folder
from stepward.core.wing import Wing, find_wing
from stepward.rewards.factory import load_reward
from stepward.runtime.cluster import resources

RESTARTS = 4  # of a scorer that died; what it had read is read again


class ScorerPool(Config):
    """Workers that score for those that search."""

    num_actors: int = Field(0, ge=0, description="scorers; 0: every worker scores by itself")
    cpus_per_actor: float = Field(1.0, gt=0, description="CPUs of a scorer")
    gpus_per_actor: float | None = Field(
        None, ge=0, description="GPUs of a scorer, maybe a fraction; none: 1 or, without GPUs, 0"
    )

    @property
    def gpus(self) -> float:
        """GPUs of a scorer on this cluster."""
        if self.gpus_per_actor is not None:
            return self.gpus_per_actor
        return 1.0 if resources()["GPU"] >= 1 else 0.0

    @property
    def reserved(self) -> dict[str, float]:
        """What the scorers take of the cluster."""
        if not self.num_actors:
            return {}
        return {"CPU": self.num_actors * self.cpus_per_actor, "GPU": self.num_actors * self.gpus}


class Scorer:
    """An actor that holds reward models, each loaded when it is first asked for."""

    def __init__(self, domain: str) -> None:
        self._wing = find_wing(domain)
        self._rewards: dict[str, RewardModel] = {}

    def facts(self, url: str) -> dict[str, object]:
        """What a search must know of the reward model of the artifact at `url`."""
        reward = self._reward(url)
        return {
            "num_parameters": reward.num_parameters,
            "of_complete_states": getattr(reward, "of_complete_states", False),
        }

    def score(self, url: str, parents: Batch, children: Batch) -> tuple[np.ndarray, np.ndarray]:
        """Scores of children, and the tokens that each is charged."""
        return np.asarray(self._reward(url).score(parents, children), np.float64), self.tokens(url, children)

    def tokens(self, url: str, children: Batch) -> np.ndarray:
        """Tokens that reading each child is charged, [n]."""
        return charged_tokens(self._reward(url), self._wing.domain, children)

    def _reward(self, url: str) -> RewardModel:
        if url not in self._rewards:
            self._rewards[url] = load_reward(Folder(url), self._wing)
        return self._rewards[url]


class RemoteReward:
    """A reward model that another worker holds.

    Args:
        scorer: handle of a `Scorer`.
        url: of the train artifact.
    """

    def __init__(self, scorer: Any, url: str) -> None:
        import ray

        self._scorer, self._url = scorer, url
        self._last: tuple[Any, np.ndarray] | None = None
        facts = ray.get(scorer.facts.remote(url))
        self.num_parameters: int = facts["num_parameters"]
        self.of_complete_states: bool = facts["of_complete_states"]

    def score(self, parents: Batch, children: Batch) -> Float[np.ndarray, " n"]:
        """Scores of the other worker."""
        import ray

        scores, tokens = ray.get(self._scorer.score.remote(self._url, parents, children))
        self._last = children, tokens
        return scores

    def charged_tokens(self, children: Batch) -> Float[np.ndarray, " n"]:
        """Tokens as the scorer counts them; of the batch that was scored last they came with the scores."""
        import ray

        if self._last is None or self._last[0] is not children:
            self._last = children, ray.get(self._scorer.tokens.remote(self._url, children))
        return self._last[1]


@contextmanager
def scorers(pool: ScorerPool, domain: str) -> Iterator[list[Any]]:
    """Scorers for as long as the block lasts; an empty list where every worker scores by itself."""
    if not pool.num_actors:
        yield []
        return
    import ray

    remote = ray.remote(Scorer).options(
        num_cpus=pool.cpus_per_actor, num_gpus=pool.gpus, max_restarts=RESTARTS, max_task_retries=RESTARTS
    )
    actors = [remote.remote(domain) for _ in range(pool.num_actors)]
    try:
        yield actors
    finally:
        for actor in actors:
            ray.kill(actor)


def remote_loader(actors: list[Any], first: int) -> Callable[[Folder, Wing], RewardModel]:
    """A stand-in for `load_reward` that takes scorers in turn, beginning with number `first` modulo their count."""
    turns = islice(cycle(actors), first % len(actors), None)
    return lambda folder, wing: RemoteReward(next(turns), folder.url)
