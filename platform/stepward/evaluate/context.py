"""What the parts of an evaluation share: its settings, inputs, problems, guides and proposers, each made once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cached_property, partial

import pyarrow as pa
import pyarrow.compute as pc

from stepward.core.artifacts import Artifact
from stepward.core.rivals import Material
from stepward.core.wing import Wing
from stepward.evaluate.proposers import Proposers
from stepward.evaluate.rivals import Rivals
from stepward.evaluate.settings import EvaluateSettings
from stepward.rewards.factory import Guides, Loader, learner_of
from stepward.rewards.guides import reached


class Evaluation:
    """One evaluation of a domain.

    Args:
        settings: of the evaluation.
        shard_size: problems an item; results do not depend on it.
        load: reads trained reward models; none: `load_reward`.
    """

    def __init__(self, settings: EvaluateSettings, shard_size: int, load: Loader | None = None) -> None:
        self.settings, self.shard_size, self._load = settings, shard_size, load
        self.wing: Wing = settings.wing
        self.folder = settings.artifact("evaluate").folder
        self.labels = settings.artifact("label", settings.labels)

    def inputs(self) -> dict[str, Artifact]:
        """Every artifact that is read, by role; they need not be finished, but for the labels."""
        settings, used = self.settings, self.settings.used_guides()
        trained = self.guides.artifacts(used)
        arms = [arm.proposer for family in settings.families().values() for arm in family.values()]
        proposers = [self.proposers.settings(proposer) for proposer in (None, *arms)]
        others = settings.named_artifacts(list(reached(used, settings.guides).values()), proposers, unfinished=True)
        return {"label": self.labels} | {f"train/{found.name}": found for found in trained.values()} | others

    def check_pairs(self) -> None:
        """Raise ValueError for an arm whose trained guides cannot score the steps of its proposer."""
        settings, pairs = self.settings, [(None, guide) for guide in self.settings.guides if self.settings.samples]
        pairs += [(arm.proposer, arm.guide) for family in settings.families().values() for arm in family.values()]
        for proposer, guide in pairs:
            for name, trained in self.guides.artifacts([guide]).items():
                check = getattr(learner_of(trained.folder, self.wing), "check_proposer", None)
                if check is not None:
                    try:
                        check(self.proposers.settings(proposer))
                    except ValueError as error:
                        raise ValueError(f"guide {name!r}: {error}") from None

    @cached_property
    def problems(self) -> pa.Table:
        """The problems, in the order of the label artifact."""
        table = self.labels.folder.read_table("problems.parquet")
        chosen = table.filter(pc.equal(table["split"], self.settings.split))
        if not len(chosen):
            raise ValueError(f"{self.labels.url}: expected problems of split {self.settings.split!r}, found none.")
        chosen = chosen.slice(0, self.settings.num_problems or len(chosen)).combine_chunks()
        counts = Counter(chosen["id"].to_pylist())
        again = [name for name, times in counts.items() if times > 1]
        if again:
            raise ValueError(
                f"{self.labels.url}: expected one problem an id, got {len(again)} twice or more, first {again[0]!r}. "
                "Pairs of arms and intervals over problems would be wrong: give every problem an id of its own."
            )
        return chosen

    @cached_property
    def guides(self) -> Guides:
        """The guides as reward models."""
        settings = self.settings
        return Guides(
            settings.guides,
            store=settings.store,
            wing=self.wing,
            proposers=lambda kind: self.proposers(kind),
            load=self._load,
            rivals=self.rivals.reward,
        )

    @cached_property
    def rivals(self) -> Rivals:
        """The trivial rivals of the domain."""

        def material() -> Material:
            settings = self.settings
            policy = partial(getattr, self.proposers, "policy")
            return Material(self.labels.folder, self.wing, policy, settings.measure, settings.seed)

        return Rivals(self.wing, self.folder, material)

    @cached_property
    def proposers(self) -> Proposers:
        """The proposers of the arms, and the policy that was labelled."""
        settings, policy = self.settings, self.labels.manifest().identity["proposer"]
        return Proposers(
            self.wing,
            policy,
            settings.proposers,
            default=settings.proposer,
            store=settings.store,
            rivals=self.rivals.proposer,
        )

    def rows(self, piece: str) -> pa.Table:
        """The problems of a piece."""
        first, end = map(int, piece.split("-"))
        return self.problems.slice(first, end - first).combine_chunks()

    def gathered(self, items: Iterable[str]) -> pa.Table:
        """The files of items as one table."""
        tables = [self.folder.read_table(f"shards/{item}.parquet") for item in items]
        return pa.concat_tables(tables, promote_options="default")


def pieces(num: int, size: int) -> list[str]:
    """`num` rows cut into pieces "first-end" of `size`."""
    return [f"{first}-{first + size}" for first in range(0, num, size)]
