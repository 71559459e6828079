"""Studies: what an evaluation does and tabulates, each as items of work of its own.

A study is made from an evaluation where its settings ask for it and the domain has what it needs. Its items can be done
anywhere, in any order, more than once; a file of `shards/` is an item that is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import pyarrow as pa

from stepward.evaluate.context import Evaluation
from stepward.evaluate.studies.arms import ArmStudy
from stepward.evaluate.studies.candidates import CandidateStudy
from stepward.evaluate.studies.guides import GuideStudy
from stepward.evaluate.studies.pictures import LogStudy, PicturesOfArm
from stepward.evaluate.studies.rivals import RivalStudy
from stepward.evaluate.studies.shared import SharedSamples

__all__ = ["Study", "studies_of"]


@runtime_checkable
class Study(Protocol):
    """What one kind of question needs of an evaluation.

    Attributes:
        kinds: first parts of the names of its items.
    """

    kinds: tuple[str, ...]

    def prepare(self) -> None:
        """Make what all items need, once, before they are done.

        Raises:
            ValueError: the inputs lack what the study is about.
        """
        ...

    def items(self) -> list[str]:
        """Names of its items, those that take longest first."""
        ...

    def first(self) -> list[str]:
        """Those of them that others build upon."""
        ...

    def do(self, item: str) -> None:
        """Do one item and write its file."""
        ...

    def tables(self, tables: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
        """Name -> table, from its items and from the tables of studies before it."""
        ...


def studies_of(evaluation: Evaluation) -> list[Study]:
    """The studies that an evaluation holds; the trials of its arms come first."""
    settings = evaluation.settings
    asked: dict[type, bool] = {
        ArmStudy: True,
        SharedSamples: settings.samples is not None,
        GuideStudy: settings.values is not None,
        CandidateStudy: bool(settings.ranking_guides()),
        PicturesOfArm: settings.pictures is not None,
        LogStudy: settings.num_logged > 0,
        RivalStudy: True,
    }
    return [study(evaluation) for study, wanted in asked.items() if wanted]
