"""An evaluation as items of work that can be done anywhere, in any order, more than once.

A file of `shards/` is an item that is done. What an item holds does not depend on the other items or on their sizes.
"""

from __future__ import annotations

from functools import cached_property

import pyarrow as pa

from stepward.core.artifacts import ArtifactError
from stepward.evaluate.context import Evaluation
from stepward.evaluate.studies import Study, studies_of


class EvaluateWork(Evaluation):
    """The items of one evaluation, and how each is done. Arguments as those of `Evaluation`."""

    @cached_property
    def studies(self) -> list[Study]:
        """What the evaluation holds."""
        return studies_of(self)

    def prepare(self) -> None:
        """Check the inputs, and make what all items need.

        Raises:
            ArtifactError: an input is missing, unfinished or changed; says which arms or guides to leave out.
            ValueError: a study is asked for that these labels or this domain cannot have.
        """
        for role, source in self.inputs().items():
            if not source.finished and role != "label":
                raise ArtifactError(
                    f"{source.url}: expected a finished {source.domain} {source.stage} artifact, because an arm or a "
                    f"guide reads it. Run jobs/{source.stage}.py domain={source.domain} name={source.name}, or "
                    "evaluate fewer arms."
                )
            source.open()
        self.check_pairs()
        for study in self.studies:
            study.prepare()

    def items(self) -> list[str]:
        """All items, so that those that take longest come first and workers end together."""
        return [item for study in reversed(self.studies) for item in study.items()]

    def left(self) -> list[str]:
        """Items that can be done now: those that others build upon, as long as there are any, then the others."""
        before = {item for study in self.studies for item in study.first()}
        missing = self.missing()
        return [item for item in missing if item in before] or missing

    def missing(self) -> list[str]:
        """Items that are not done."""
        done = {name.removeprefix("shards/").rsplit(".", 1)[0] for name in self.folder.files("shards")}
        return [item for item in self.items() if item not in done]

    def do(self, item: str) -> None:
        """Do one item and write its file."""
        kind = item.split("/")[0]
        next(study for study in self.studies if kind in study.kinds).do(item)

    def tables(self) -> dict[str, pa.Table]:
        """Name -> table of everything, from the items."""
        found: dict[str, pa.Table] = {}
        for study in self.studies:
            found |= study.tables(found)
        return found
