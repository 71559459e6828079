"""The file that jobs/data.py makes of a source: its parts, one file of them all, dead letters, and a card in words."""

from __future__ import annotations

import hashlib
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from stepward.core.config import Config, Plain
from stepward.core.data import Joined
from stepward.core.stage import StageSettings
from stepward.core.storage import Folder
from stepward.core.wing import Rejected
from stepward.domains.pde.readers import FieldBlock, read_parquet, write_parquet

__all__ = ["CARD", "DATA", "DEAD", "TrajectorySource"]

DATA, DEAD, CARD = "trajectories.parquet", "dead_letters.parquet", "README.md"


class TrajectorySource(Config, ABC):
    """Base of settings that say where trajectories come from; a `DataSource`."""

    @abstractmethod
    def items(self) -> list[str]:
        """Items of work, in the order of the rows."""

    @abstractmethod
    def blocks(self, item: str, seed: int) -> Iterator[FieldBlock]:
        """The trajectories of an item."""

    def make(self, item: str, seed: int) -> bytes:
        """The trajectories of an item as a Parquet file."""
        return as_parquet(self.blocks(item, seed))

    def join(self, parts: Iterable[bytes], folder: Folder, settings: StageSettings) -> Joined:
        """One file from all parts, one part in memory at a time, with the rows that were left out and a card."""
        found: dict[str, Any] = {"dead": [], "rows": 0, "digest": hashlib.sha256()}

        def blocks() -> Iterator[FieldBlock]:
            for part in parts:
                for block in read_part(part):
                    found["dead"] += block.rejected
                    found["digest"].update(np.ascontiguousarray(block.fields).tobytes())
                    found.update(shape=block.fields.shape[1:], grid=block.grid)
                    found["rows"] += len(block)
                    yield block

        folder.write_bytes(DATA, as_parquet(blocks()))
        folder.write_table(DEAD, dead_letters(found["dead"]))
        folder.write_bytes(CARD, card(self, settings, found).encode())
        return Joined(
            file=DATA,
            rows={"trajectories": found["rows"], "dead_letters": len(found["dead"])},
            digest=found["digest"].hexdigest()[:16],
            facts={"shape": list(found["shape"]), "channels": list(found["grid"].channels)},
        )


def card(source: Config, settings: StageSettings, found: Plain) -> str:
    """What the file is, in words."""
    grid = found["grid"]
    rows = {
        "source": grid.source,
        "trajectories": f"{found['rows']}; {len(found['dead'])} more were left out, see {DEAD}",
        "a row": f"`id`; `fields` [{', '.join(map(str, found['shape']))}]: frames, channels, {', '.join(grid.axes)}",
        "channels": ", ".join(grid.channels),
        "time between frames": f"{grid.dt:g}",
        "cell size": ", ".join(f"{size:g}" for size in grid.spacing),
        "boundary": ", ".join(grid.boundary),
        "parameters": ", ".join(f"{k} = {v:g}" for k, v in grid.parameters.items()) or "none known",
        "seed": str(settings.seed),
        "settings": f"`{source.model_dump(mode='json')}`",
        "licence": "that of the source; of what the project computes, that of the project",
    }
    lines = [
        f"# {settings.domain}: {settings.name}",
        "",
        "| | |",
        "|---|---|",
        *(f"| {k} | {v} |" for k, v in rows.items()),
    ]
    place = f"artifacts/{settings.domain}/data/{settings.name}/{DATA}"
    used = f"python jobs/label.py domain={settings.domain} problems.path={place}"
    return "\n".join(
        [*lines, "", "Of ten rows in a row seven train, one validates and two test.", "", f"    {used}", ""]
    )


def dead_letters(rejected: list[Rejected]) -> pa.Table:
    """Trajectories that were left out, with the sentence that says why."""
    schema = pa.schema([(name, pa.string()) for name in ("id", "error", "content")])
    return pa.Table.from_pylist([asdict(row) for row in rejected], schema=schema)


def as_parquet(blocks: Iterator[FieldBlock]) -> bytes:
    """Blocks as the bytes of a Parquet file."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "part.parquet")
        write_parquet(blocks, path)
        return path.read_bytes()


def read_part(part: bytes) -> Iterator[FieldBlock]:
    """Blocks of such a file."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "part.parquet")
        path.write_bytes(part)
        yield from read_parquet(path)
