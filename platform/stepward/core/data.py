"""Data that a domain makes or converts before anything else: what jobs/data.py asks of a source."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from stepward.core.stage import StageSettings
from stepward.core.storage import Folder

__all__ = ["DataSource", "Joined"]


@dataclass(frozen=True)
class Joined:
    """What was made of all parts.

    Attributes:
        file: the data, within the artifact.
        rows: name -> number, what was made first; ``dead_letters`` those that could not be used.
        digest: of the content.
        facts: of the manifest; ``shape`` of a row is shown.
    """

    file: str
    rows: dict[str, int]
    digest: str
    facts: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
class DataSource(Protocol):
    """Settings that say where data come from, one item of work at a time."""

    def items(self) -> list[str]:
        """Names of the items of work, in the order of the rows."""
        ...

    def make(self, item: str, seed: int) -> bytes:
        """One item's part, as a file; a function of (settings, item, seed) alone."""
        ...

    def join(self, parts: Iterable[bytes], folder: Folder, settings: StageSettings) -> Joined:
        """Write one file from all parts, in the order of the items, into the folder of the artifact, with dead letters
        and a card beside it; one part in memory at a time.
        """
        ...
