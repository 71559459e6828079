"""What every section needs to know of an evaluation: its arms, searches, seeds, and how to say them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from stepward.core.config import Plain
from stepward.report.figures import Look, looks
from stepward.report.sources import Sources
from stepward.report.tables import distinct
from stepward.report.text import count
from stepward.search.registry import build_search


@dataclass(frozen=True)
class Setting:
    """An evaluation as its manifest tells it."""

    identity: dict[str, Any]
    facts: dict[str, Any]
    seed: int
    num_problems: int

    @property
    def guides(self) -> dict[str, Plain]:
        """Settings of all guides by name."""
        return dict(self.identity["guides"])

    @property
    def styles(self) -> dict[str, Look]:
        """One look a guide, the same in every figure."""
        return looks(self.guides)

    @property
    def main(self) -> str:
        """The search of the frontier: the first; or the arms that were written out."""
        return str(self.facts.get("main") or next(iter(self.identity["searches"])))

    @property
    def trained(self) -> list[str]:
        """Names of the guides that were trained."""
        return [name for name, guide in self.guides.items() if guide["kind"] == "trained"]

    @property
    def primary(self) -> str:
        """The guide that the experiment is about: the first trained one."""
        return (self.trained or list(self.guides))[0]

    @property
    def references(self) -> list[str]:
        """Names of the guides that the primary one is compared with."""
        return [name for name in self.identity["references"] if name != self.primary]

    def search_words(self, search: str) -> str:
        """A search with the settings that decide its result."""
        plan = self.identity["searches"].get(search)
        if plan is None:
            return "each arm as it was written out"
        built = build_search(plan["search"])
        words = [plan["search"]["kind"].replace("_", "-")]
        branching = getattr(built, "num_candidates", None)
        if branching is not None:
            words.append(f"{branching} children a node")
        if hasattr(built, "deduplicate"):
            words.append("states deduplicated" if built.deduplicate else "states not deduplicated")
        proposer = plan["proposer"] or self.identity["proposer"] or "that was labelled"
        proposer = proposer["kind"] if isinstance(proposer, dict) else proposer
        return ", ".join([*words, f"proposer {proposer}"])

    def sample_words(self) -> str:
        """Number and split of the problems and the seed, as captions say them."""
        return f"n = {count(self.num_problems)} {self.identity['split']} problems, seed {self.seed}"


def setting(sources: Sources) -> Setting:
    """The setting of the evaluation, or `MissingError`."""
    manifest = sources.evaluate.open()
    trials = sources.evaluate.table("tables/trials.parquet")
    return Setting(manifest.identity, manifest.facts, manifest.seed, len(distinct(trials, "problem_id")))


def evaluate_table(sources: Sources, name: str) -> pa.Table:
    """A table of the evaluation, or `MissingError`."""
    return sources.evaluate.table(f"tables/{name}.parquet")
